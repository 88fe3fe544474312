"""Event files through TensorFlow's file systems: gs://, s3://, hdfs:// and the like, and the local one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, BinaryIO, ParamSpec, TypeVar, cast

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _raise_os_errors(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """TensorFlow's errors as OSError, which is what `EventFiles` promises."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        import tensorflow as tf

        try:
            return function(*args, **kwargs)
        except tf.errors.OpError as error:
            raise OSError(error.message) from error

    return call


class TensorFlowFiles:
    """`introspect.report.events.EventFiles` on `tf.io`; checksums are computed in C++."""

    def join(self, directory: str, name: str) -> str:
        import tensorflow as tf

        return cast(str, tf.io.gfile.join(directory, name))

    @_raise_os_errors
    def list_names(self, directory: str) -> list[str]:
        import tensorflow as tf

        try:
            return list(tf.io.gfile.listdir(directory))
        except tf.errors.NotFoundError:
            return []

    @_raise_os_errors
    def create(self, directory: str, name: str) -> _RecordFile:
        import tensorflow as tf

        tf.io.gfile.makedirs(directory)
        return _RecordFile(tf.io.TFRecordWriter(tf.io.gfile.join(directory, name)))

    @_raise_os_errors
    def read(self, directory: str, name: str) -> BinaryIO:
        import tensorflow as tf

        return cast(BinaryIO, tf.io.gfile.GFile(tf.io.gfile.join(directory, name), "rb"))


class _RecordFile:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    @_raise_os_errors
    def write(self, record: bytes) -> None:
        self._writer.write(record)

    @_raise_os_errors
    def flush(self) -> None:
        self._writer.flush()

    @_raise_os_errors
    def close(self) -> None:
        self._writer.close()
