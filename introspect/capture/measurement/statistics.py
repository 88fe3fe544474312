"""Small TensorFlow functions that turn a tensor into a row of numbers, on the device where the tensor is.

A row is `(1 where it exists, largest magnitude, sum of squares over that squared, share of zeros, 0 where all are
finite, 1 where some are infinite, 2 where some are NaN)` in float64: the squares of small float32 gradients would
underflow by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Statistics:
    """One row, read."""

    norm: float
    zero_fraction: float
    finite: bool


def read_row(row: Sequence[float]) -> Statistics | None:
    """None where the value did not exist: its branch did not run."""
    exists, largest, squares, zeros, odd = map(float, row)
    if not exists:
        return None
    if odd:
        return Statistics(math.nan if odd > 1 else math.inf, zeros, False)
    if largest == 0:
        return Statistics(0.0, 1.0, True)
    return Statistics(largest * math.sqrt(squares), min(zeros, math.nextafter(1.0, 0.0)), True)


SAFE = (1e-24, 1e37)
"""Half a sum of float32 squares in this range has lost nothing to underflow, overflow or a value that is not finite."""


def describe_tensor(tensor: Any, count_zeros: bool = True) -> Any:
    """Row `[5]` of a real or complex tensor of any shape; inside a tf.function.

    One pass for the squares and one for the zeros, as a rule; what falls out of `SAFE` takes some more.
    """
    import tensorflow as tf

    wide = widen(tensor)
    half = tf.nn.l2_loss(wide)
    safe = tf.logical_and(half > SAFE[0], half < SAFE[1])
    one = tf.ones([], tf.float64)
    largest, squares, odd = tf.cond(
        safe, lambda: (one, 2 * tf.cast(half, tf.float64), tf.zeros([], tf.float64)), lambda: describe_odd(wide)
    )
    return tf.stack([one, largest, squares, zeros_of(wide) if count_zeros else tf.zeros([], tf.float64), odd])


def widen(tensor: Any) -> Any:
    """A vector of float32, or of float64 where the tensor is so precise; magnitudes of complex numbers."""
    import tensorflow as tf

    flat = tf.reshape(tensor, [-1])
    flat = tf.abs(flat) if flat.dtype.is_complex else flat
    return flat if flat.dtype in (tf.float32, tf.float64) else tf.cast(flat, tf.float32)


def zeros_of(wide: Any) -> Any:
    """Share of zeros, float64."""
    import tensorflow as tf

    count = tf.cast(tf.maximum(tf.size(wide, tf.int64), 1), tf.float64)
    return tf.cast(tf.reduce_sum(tf.cast(tf.equal(wide, 0), tf.float32)), tf.float64) / count


def describe_odd(wide: Any) -> tuple[Any, Any, Any]:
    """(largest magnitude, squares over its square, 0, 1 or 2) of very small, very large, zero or odd values."""
    import tensorflow as tf

    sizes = tf.abs(wide)
    largest = tf.reduce_max(tf.concat([sizes, tf.zeros([1], wide.dtype)], 0))
    unknown = tf.reduce_any(tf.math.is_nan(wide))
    endless = tf.reduce_any(tf.math.is_inf(wide))
    plain = tf.logical_not(tf.logical_or(unknown, endless))
    scaled = sizes / tf.where(tf.logical_and(plain, largest > 0), largest, tf.ones_like(largest))
    squares = tf.reduce_sum(tf.square(scaled))
    odd = tf.where(unknown, tf.constant(2, tf.float64), tf.cast(endless, tf.float64))
    return tf.cast(largest, tf.float64), tf.cast(squares, tf.float64), odd


def make_dense_reader(dtype: Any, count_zeros: bool = True) -> Any:
    """Concrete function `tensor -> [1, 5]`."""
    import tensorflow as tf

    return trace(lambda tensor: describe_tensor(tensor, count_zeros)[tf.newaxis], [tf.TensorSpec(None, dtype)])


def make_sparse_reader(dtype: Any, index_dtype: Any, rows: int, width: int, jit: bool) -> Any:
    """Concrete function `(values, indices) -> [1, 5]` of IndexedSlices; equal rows are added, absent ones are zeros.

    XLA cannot find the distinct rows, so there the whole gradient is made dense for a moment.
    """
    import tensorflow as tf

    def read(values: Any, indices: Any) -> Any:
        values = tf.reshape(values, [-1, width])
        indices = tf.reshape(indices, [-1])
        if jit:
            return describe_tensor(tf.math.unsorted_segment_sum(values, indices, rows))[tf.newaxis]
        distinct, places = tf.unique(indices)
        row = describe_tensor(tf.math.unsorted_segment_sum(values, places, tf.size(distinct)))
        held = tf.cast(tf.size(distinct), tf.float64)
        zeros = (row[3] * held + (rows - held)) / rows
        return tf.concat([row[:3], zeros[tf.newaxis], row[4:]], 0)[tf.newaxis]

    return trace(read, [tf.TensorSpec(None, dtype), tf.TensorSpec(None, index_dtype)])


def make_keeper() -> Any:
    """Concrete function `(old rows, new rows) -> rows`: a pass of a loop in which a value did not exist keeps the old."""
    import tensorflow as tf

    spec = tf.TensorSpec([None, 5], tf.float64)
    return trace(lambda old, new: tf.where(new[:, :1] > 0, new, old), [spec, spec])


def trace(function: Callable[..., Any], specs: list[Any]) -> Any:
    import tensorflow as tf

    return tf.function(function, autograph=False).get_concrete_function(*specs)


@cache
def comparer(dtype: Any) -> Any:
    """Concrete function `(before, after) -> float64 [11]`: rows of the weights and of the change, whether any differ.

    Bits are compared, so that a NaN that stays is no change.
    """
    import tensorflow as tf

    wide = {tf.float64: tf.float64, tf.complex64: tf.complex64, tf.complex128: tf.complex128}.get(dtype, tf.float32)

    def compare(before: Any, after: Any) -> Any:
        own = describe_tensor(tf.cast(before, wide), False)
        change = describe_tensor(tf.cast(after, wide) - tf.cast(before, wide), False)
        moved = tf.logical_and(change[2] > 0, tf.equal(change[4], 0))
        differs = tf.cond(moved, lambda: moved, lambda: tf.reduce_any(tf.not_equal(bits_of(before), bits_of(after))))
        return tf.concat([own, change, tf.cast(differs, tf.float64)[tf.newaxis]], 0)

    return trace(compare, [tf.TensorSpec(None, dtype), tf.TensorSpec(None, dtype)])


def bits_of(tensor: Any) -> Any:
    """The tensor as integers of its size."""
    import tensorflow as tf

    sizes = {1: tf.uint8, 2: tf.uint16, 4: tf.int32, 8: tf.int64}
    return tf.bitcast(tensor, sizes[min(tensor.dtype.size, 8)])
