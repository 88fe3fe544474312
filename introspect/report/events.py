"""Event files as TensorBoard reads them: where they lie, their records, their steps."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Protocol

from introspect.errors import RecordError

WRITER = "introspect"
_HEADER = struct.Struct("<QI")
_CRC_BYTES = 4
_STEP_FIELD = 0x10
_SUMMARY_FIELD = 0x2A
_RECORD_LIMIT = 1 << 40
_STEP_LIMIT = 1 << 53
_HEAD_BYTES = 32
"""Enough of an event for its wall time and step."""


class EventFile(Protocol):
    """A file of records that is being written."""

    def write(self, record: bytes) -> None:
        """Append one record with its checksums."""

    def flush(self) -> None:
        """Make what was written visible to readers."""

    def close(self) -> None:
        """Flush and close."""


class EventFiles(Protocol):
    """A file system for event files. Its methods raise OSError; it is picklable."""

    def join(self, directory: str, name: str) -> str:
        """The path of a name in a directory."""

    def list_names(self, directory: str) -> list[str]:
        """Names in the directory; none where it does not exist."""

    def create(self, directory: str, name: str) -> EventFile:
        """A new file of records; the directory is made where it is missing."""

    def read(self, directory: str, name: str) -> BinaryIO:
        """An existing file, to be read with `read` and `seek`."""


class LocalFiles:
    """The machine's own file system, without TensorFlow."""

    def join(self, directory: str, name: str) -> str:
        return os.path.join(directory, name)

    def list_names(self, directory: str) -> list[str]:
        try:
            return os.listdir(directory)
        except FileNotFoundError:
            return []

    def create(self, directory: str, name: str) -> EventFile:
        if "://" in directory:
            raise OSError("only TensorFlow's file systems reach it, and TensorFlow is not in use here")
        from tensorboard.summary.writer.record_writer import RecordWriter

        os.makedirs(directory, exist_ok=True)
        file: EventFile = RecordWriter(open(os.path.join(directory, name), "xb"))  # noqa: SIM115
        return file

    def read(self, directory: str, name: str) -> BinaryIO:
        return open(os.path.join(directory, name), "rb")


def list_event_files(files: EventFiles, directory: str) -> list[str]:
    """Names of the directory's event files, oldest first."""
    return sorted(name.rstrip("/") for name in files.list_names(directory) if ".tfevents." in name)


def name_event_file(earlier: list[str], serial: int) -> str:
    """A name that sorts after all `earlier` ones: TensorBoard's Python reader never goes back to an earlier file."""
    now = int(time.time())
    for name in earlier:
        stamp = name.partition(".tfevents.")[2].partition(".")[0]
        if stamp.isdecimal():
            now = max(now, int(stamp) + 1)
    return f"events.out.tfevents.{now:010d}.{socket.gethostname()}.{os.getpid()}.{serial}.{WRITER}"


def read_last_step(files: EventFiles, directory: str) -> int:
    """The greatest step in the newest event file that has one, or -1.

    Damage ends a file, as it does for TensorBoard.
    """
    for name in reversed(list_event_files(files, directory)):
        with files.read(directory, name) as file:
            last = max(_read_steps(file), default=-1)
        if last >= 0:
            return last
    return -1


def _read_steps(file: BinaryIO) -> Iterator[int]:
    at = 0
    while len(header := file.read(_HEADER.size)) == _HEADER.size:
        (length, _) = _HEADER.unpack(header)
        step = _parse_step(file.read(min(length, _HEAD_BYTES)))
        if step is not None:
            yield step
        if length > _RECORD_LIMIT:
            return
        at += _HEADER.size + length + _CRC_BYTES
        file.seek(at)


def _parse_step(head: bytes) -> int | None:
    """`Event.step` (field 2, a varint; left out where it is 0), which stands after `wall_time` (field 1, 8 bytes)."""
    if len(head) < 11 or head[0] != 0x09:
        return None
    if head[9] == _SUMMARY_FIELD:
        return 0
    if head[9] != _STEP_FIELD:
        return None
    step = 0
    for shift, byte in enumerate(head[10:20]):
        step |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return step if step < _STEP_LIMIT else None
    return None


def make_first_event() -> bytes:
    """The event that each file begins with."""
    from tensorboard.compat.proto import event_pb2

    event = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
    event.source_metadata.writer = WRITER
    return _serialize(event)


def make_event(step: int, values: list[Any]) -> bytes:
    """One event with these `Summary.Value` messages."""
    from tensorboard.compat.proto import event_pb2

    event = event_pb2.Event(wall_time=time.time(), step=step)
    event.summary.value.extend(values)
    return _serialize(event)


def _serialize(event: Any) -> bytes:
    data: bytes = event.SerializeToString()
    return data


def make_text_value(tag: str, data: bytes, plugin: str, *, blob: bool) -> Any:
    """A DT_STRING tensor of shape [1]: a blob sequence of one, or a tensor.

    Of rank 1 even for one string: TensorBoard's Rust server refuses blobs of rank 0.
    """
    from tensorboard.compat.proto import summary_pb2, types_pb2

    value = summary_pb2.Summary.Value(tag=tag)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE if blob else summary_pb2.DATA_CLASS_TENSOR
    value.tensor.dtype = types_pb2.DT_STRING
    value.tensor.tensor_shape.dim.add(size=1)
    value.tensor.string_val.append(data)
    return value


def make_float_value(tag: str, data: bytes, shape: tuple[int, ...], plugin: str) -> Any:
    """A DT_FLOAT tensor of little-endian bytes."""
    from tensorboard.compat.proto import summary_pb2, types_pb2

    value = summary_pb2.Summary.Value(tag=tag)
    value.metadata.plugin_data.plugin_name = plugin
    value.metadata.data_class = summary_pb2.DATA_CLASS_TENSOR
    value.tensor.dtype = types_pb2.DT_FLOAT
    for size in shape:
        value.tensor.tensor_shape.dim.add(size=size)
    value.tensor.tensor_content = data
    return value


def refuse_writing(path: str, error: Exception) -> RecordError:
    """The error of an event file that cannot be written."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return RecordError(f"reports cannot be written to {path}: {reason}; choose another log directory")
