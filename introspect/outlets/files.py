"""Writing a file so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import os
import tempfile

from introspect.errors import IntrospectError


def write_file(path: str, content: str | bytes) -> None:
    """Write `content` (text as UTF-8, newlines as they are) beside `path`, then rename it into place.

    A device, a pipe or an open stream (`/dev/stdout`) is written to as it is, and stays what it is.

    Raises:
        IntrospectError: the file cannot be written; `path` is then as it was.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        put_bytes(path, data)
    except OSError as error:
        raise IntrospectError(f"cannot write {path!r}: {error.strerror or error}") from error


def put_bytes(path: str, data: bytes) -> None:
    """As `write_file`, but for OSError where the file cannot be written."""
    if is_stream(path):
        append_to(path, data)
    else:
        replace_file(os.path.realpath(path), data)


def is_stream(path: str) -> bool:
    """Whether `path` is no ordinary file, or names one that a process holds open."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(path)))
    if folder == "/dev" or folder.startswith("/proc/"):
        return True
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def append_to(path: str, data: bytes) -> None:
    """Write `data` behind what is there."""
    with open(os.open(path, os.O_WRONLY | os.O_APPEND), "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def replace_file(target: str, data: bytes) -> None:
    """Put `data` in place of `target`, which keeps its permissions if it is there."""
    if os.path.isdir(target):
        raise IsADirectoryError(0, "it is a directory")
    handle, temporary = tempfile.mkstemp(prefix=".introspect-", dir=os.path.dirname(target))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, choose_mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def choose_mode(target: str) -> int:
    """The permissions of the file that is there, else those that `open` would give."""
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
