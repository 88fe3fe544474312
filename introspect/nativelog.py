"""Keep what C++ writes to file descriptor 2 off the terminal, and what it writes to 1 out of the report."""

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


@contextlib.contextmanager
def divert_native_output() -> Iterator[None]:
    """Send descriptor 1 where standard error goes: what a library or another program prints is no part of the report.

    Does nothing where a stream is closed or not the process's own, as under a test runner.
    """
    stream = sys.stdout
    if stream is not sys.__stdout__ or stream is None or sys.stderr is not sys.__stderr__ or sys.stderr is None:
        yield
        return
    stream.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
