"""Keep what C++ writes to file descriptor 2 off the terminal; Python's own standard error goes on."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silence_native_log() -> Iterator[None]:
    """Send descriptor 2 nowhere, and `sys.stderr` to where it went before.

    TensorFlow logs lines there at import whatever TF_CPP_MIN_LOG_LEVEL says (seen on 2.21). Does nothing where
    standard error is not the process's own, as under a test runner.
    """
    stream = sys.stderr
    if stream is not sys.__stderr__ or stream is None:
        yield
        return
    stream.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(os.dup(kept), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = stream
        os.dup2(kept, 2)
        os.close(kept)
