"""Whether a float8 layer of Keras can be trained eagerly: Keras itself is asked, with a layer of one weight."""

from __future__ import annotations

from functools import cache
from typing import Any

from introspect.capture.frames import explain_error
from introspect.capture.framework import descends
from introspect.capture.trace.guard import save_keras, save_random


def find_eager_error(layers: list[Any]) -> str:
    """What Keras raises where it differentiates such a layer of these eagerly; "" where it does not, or there is none."""
    return _try_layer() if any(map(_is_float8, layers)) else ""


def _is_float8(layer: Any) -> bool:
    """Whether it is Keras' own layer, quantized so. Seen on Keras 3.13 to 3.15."""
    own = type(layer).__module__.startswith("keras.src.") and descends(layer, ("keras",), ("Dense", "EinsumDense"))
    return own and getattr(layer, "quantization_mode", None) == "float8"


@cache
def _try_layer() -> str:
    """In eager mode TensorFlow counts the layer's scales as variables of its custom gradient, and Keras does not."""
    import tensorflow as tf

    restores = (*save_random(), *save_keras())
    try:
        with tf.device("CPU"):
            return _differentiate()
    finally:
        for restore in restores:
            restore()


def _differentiate() -> str:
    import keras
    import tensorflow as tf

    layer = keras.layers.Dense(1, kernel_initializer="zeros", dtype="float32")
    layer.build((None, 1))
    layer.quantize("float8")
    try:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(tf.zeros((1, 1)), training=True))
        tape.gradient(loss, [variable.value for variable in layer.trainable_variables])
    except Exception as error:
        return explain_error(error)
    return ""
