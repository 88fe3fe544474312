"""Which int8 layers of Keras give back, in an eager step, a gradient of another type than what went in: Keras itself is asked."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from introspect.capture.frames import explain_error
from introspect.capture.framework import descends
from introspect.capture.trace.guard import save_keras, save_random

KINDS = ("Dense", "EinsumDense")


def find_eager_clashes(layers: Iterable[Any], paths: dict[int, str]) -> tuple[tuple[str, str], ...]:
    """(path, what is raised where an op before it computes its gradient of values too) of each such layer."""
    found = ((paths[id(layer)], _try_kind(*asked)) for layer in layers if (asked := _describe(layer)) is not None)
    return tuple((path, error) for path, error in found if error)


def _describe(layer: Any) -> tuple[str, str] | None:
    """(class, policy that it was quantized from) of a layer of Keras' own in int8. Seen on Keras 3.13 to 3.15."""
    if not type(layer).__module__.startswith("keras.src.") or getattr(layer, "quantization_mode", None) != "int8":
        return None
    kind = next((kind for kind in KINDS if descends(layer, ("keras",), (kind,))), None)
    policy = str(getattr(layer.dtype_policy, "name", "")).partition("_from_")[2]
    return (kind, policy) if kind is not None and policy and layer.compute_dtype != layer.variable_dtype else None


@cache
def _try_kind(kind: str, policy: str) -> str:
    import tensorflow as tf

    restores = (*save_random(), *save_keras())
    try:
        with tf.device("CPU"):
            return _differentiate(kind, policy)
    finally:
        for restore in restores:
            restore()


def _differentiate(kind: str, policy: str) -> str:
    import keras
    import tensorflow as tf

    shape = ("ab,bc->ac", (1,)) if kind == "EinsumDense" else (1,)
    layer = getattr(keras.layers, kind)(*shape, kernel_initializer="ones", dtype=policy)
    layer.build((None, 1))
    layer.quantize("int8")
    try:
        with tf.GradientTape() as tape:
            value = tf.ones((1, 1), layer.compute_dtype)
            tape.watch(value)
            loss = tf.reduce_sum(layer(tf.tanh(value)))
        tape.gradient(loss, value)
    except Exception as error:
        return explain_error(error)
    return ""
