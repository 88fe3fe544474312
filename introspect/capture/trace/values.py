"""Arrays that Python was given for tensors of a step that is followed, and which remember of which tensors they are made.

A target network is copied through numpy in an eager step: `target.set_weights(net.get_weights())`. Where such an array
goes back into the step, the graph holds its value and what that is made of.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import numpy as np

from introspect.graph.ops import THROUGH_NUMPY

CONVERSIONS = ("array", "asarray", "ascontiguousarray", "copy")
"""numpy's functions that make a plain array of any."""

VALUELESS = "OSU"
"""Kinds of arrays that hold objects or texts: what those are made of, they know themselves."""

Made = frozenset[tuple[Any, str]]
"""(weak reference to a graph, name of a tensor in it)"""


class RememberedArray(np.ndarray):
    """An array and the tensors that it is made of; arithmetic, slices and numpy's own functions hand them on.

    Python's numbers forget them, and so do the functions of CONVERSIONS without `keep_memory`: what is made of those is
    a constant of the graph.
    """

    made_of: Made = frozenset()

    def __array_finalize__(self, source: Any) -> None:
        self.made_of = getattr(source, "made_of", frozenset())

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        targets: tuple[Any, ...] = kwargs.get("out") or ()
        if targets:
            kwargs["out"] = tuple(map(strip, targets))
        plain = getattr(ufunc, method)(*map(strip, inputs), **{key: strip(value) for key, value in kwargs.items()})
        made = join((*inputs, *kwargs.values()))
        for target in inputs[:1] if method == "at" else targets:
            note(target, made)
        return targets[0] if len(targets) == 1 else mark(plain, made)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return mark(super().__array_function__(function, types, args, kwargs), join((*args, *kwargs.values())))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, strip(value))
        note(self, join((value,)))

    def __tf_tensor__(self, dtype: Any = None, name: str | None = None) -> Any:
        """What TensorFlow takes the array for. Seen on TensorFlow 2.19 to 2.21."""
        import tensorflow as tf

        value = tf.constant(strip(self), dtype, name=name)
        graph = tf.compat.v1.get_default_graph()
        for holder, tensor in sorted(self.made_of, key=lambda made: made[1]):
            if value.shape.num_elements() and holder() is graph and not tf.executing_eagerly():
                value = add_origin(value, graph.get_tensor_by_name(tensor))
        return value


def has_value(argument: Any) -> bool:
    """Whether an argument is a tensor or an array."""
    import tensorflow as tf

    return isinstance(argument, (tf.Tensor, np.ndarray))


def remember(value: Any, tensor: Any) -> Any:
    """The array of a tensor's value; scalars and texts as they are."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in VALUELESS:
        return value
    return mark(value, frozenset({(weakref.ref(tensor.graph), tensor.name)}))


def keep_origin(make: Callable[..., Any]) -> Callable[..., Any]:
    """`tf.constant` for arrays that remember; `make` is what it calls."""

    def make_constant(value: Any, dtype: Any, shape: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, RememberedArray) and shape is None:
            return value.__tf_tensor__(dtype)
        return make(value, dtype, shape, *args, **kwargs)

    return make_constant


def keep_memory(convert: Callable[..., Any], recall: Callable[[Any], Any]) -> Callable[..., Any]:
    """One of CONVERSIONS whose array remembers; `recall` gives the remembering array of a tensor, and others as they are.

    TensorFlow itself is given plain arrays.
    """

    @wraps(convert)
    def convert_array(*args: Any, **kwargs: Any) -> Any:
        if not args or sys._getframe(1).f_globals.get("__name__", "").startswith("tensorflow."):
            return convert(*args, **kwargs)
        value = recall(args[0])
        array, made = convert(value, *args[1:], **kwargs), join((value,))
        return mark(array, made) if made and array.dtype.kind not in VALUELESS else array

    return convert_array


def add_origin(value: Any, origin: Any) -> Any:
    """The same value, made by an op that takes what Python made it of; no gradient goes through it, as none does in Python."""
    import tensorflow as tf
    from tensorflow.core.framework import attr_value_pb2

    with tf.name_scope("numpy"):
        given = tf.stop_gradient(origin)
        given.op._set_attr(THROUGH_NUMPY, attr_value_pb2.AttrValue(b=True))
        if given.shape != value.shape:
            given = tf.fill(value.shape, tf.reshape(given, [-1])[0])
        return tf.where(False, tf.cast(given, value.dtype), value)


def join(parts: Iterable[Any]) -> Made:
    """What values, and the lists and tuples among them, are made of."""
    found: set[tuple[Any, str]] = set()
    for part in parts:
        if isinstance(part, (list, tuple)):
            found |= join(part)
        else:
            found |= getattr(part, "made_of", frozenset())
    return frozenset(found)


def mark(value: Any, made: Made) -> Any:
    """The value, and the arrays in it, as made of these tensors."""
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(mark(part, made) for part in value)
    if not isinstance(value, np.ndarray):
        return value
    marked = value.view(RememberedArray)
    marked.made_of = made
    return marked


def note(array: Any, made: Made) -> None:
    """An array was written with what is made of these tensors."""
    if isinstance(array, RememberedArray):
        array.made_of |= made


def strip(value: Any) -> Any:
    """The array, or those in a tuple, without memory."""
    if isinstance(value, tuple):
        return tuple(map(strip, value))
    return value.view(np.ndarray) if isinstance(value, RememberedArray) else value
