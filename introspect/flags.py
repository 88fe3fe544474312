"""`introspect.trace_flags`: keep a record of who set which flag where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def trace_flags() -> Iterator[None]:
    """Record the file and line of each `trainable = …` on layers and variables, of each `compile` and of each trace.

    Reports of models made while it is entered or later then tell where a flag was set and where the step was compiled
    before. May be nested and holds for all threads; nothing that Keras does changes, and its classes are put back on
    exit. Setting an attribute of a layer costs a fraction of a microsecond more meanwhile.

    Raises:
        BackendError: Keras or TensorFlow is not installed.
        VersionError: Keras or TensorFlow is not one of the versions that this was tried on.
    """
    from introspect.capture.live.flags import start_recording, stop_recording

    start_recording()
    try:
        yield
    finally:
        stop_recording()
