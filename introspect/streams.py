"""Standard output and standard error of the command line: either may be closed, full, or read by nobody any more."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from introspect.errors import IntrospectError


def show(text: str) -> None:
    """Print `text` on standard output as it is; what the stream's encoding lacks becomes an escape.

    Raises:
        IntrospectError: standard output is closed or cannot be written to.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    _send(text.encode(encoding, "backslashreplace").decode(encoding))


def show_utf8(content: str | bytes) -> None:
    """Print what a program reads on standard output, in UTF-8 whatever the terminal's encoding is.

    Raises:
        IntrospectError: standard output is closed or cannot be written to.
    """
    _send(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))


def say(line: str) -> None:
    """Print one line on standard error, if it is there and takes it."""
    stream = sys.stderr
    if stream is None:
        return
    try:
        print(line, file=stream, flush=True)
    except OSError:
        _forsake(stream)


def is_watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def flush() -> None:
    """Send what was printed on standard output; the interpreter would do it at its exit, and complain."""
    stream = sys.stdout
    if stream is not None:
        try:
            stream.flush()
        except OSError:
            _forsake(stream)


def _send(content: str | bytes) -> None:
    stream = sys.stdout
    if stream is None:
        raise IntrospectError("cannot write to standard output: it is closed; write to a file with -o")
    try:
        if isinstance(content, str):
            stream.write(content)
        elif (raw := getattr(stream, "buffer", None)) is not None:
            stream.flush()
            raw.write(content)
        else:
            stream.write(content.decode("utf-8"))
        stream.flush()
    except BrokenPipeError:  # the reader has gone (`| head`)
        _forsake(stream)
    except OSError as error:
        _forsake(stream)
        raise IntrospectError(f"cannot write to standard output: {error.strerror or error}") from error


def _forsake(stream: TextIO) -> None:
    """Lead a stream nowhere: the interpreter flushes once more at exit and must find an open file that takes all."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
