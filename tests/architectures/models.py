"""Models of keras.applications without weights, as small as they permit, with a head of three classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CLASSES = 3
ROWS = 4


@dataclass(frozen=True)
class Architecture:
    """One base, and how much of it a fine-tune unfreezes.

    Attributes:
        name: its name in keras.applications.
        side: pixels of its square input.
        last: how many layers at the end of the base are unfrozen.
    """

    name: str
    side: int
    last: int

    def base(self) -> Any:
        """The base without its top, made once in a process: its variables are shared by all models around it."""
        return make_base(self.name, self.side)

    def data(self) -> tf.data.Dataset:
        """One batch."""
        return make_images(self.side)


@cache
def make_base(name: str, side: int) -> Any:
    """Built once; Keras' own initial values, at which a deep model neither dies nor overflows."""
    keras.utils.set_random_seed(3)
    return getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))


def make_images(side: int) -> tf.data.Dataset:
    """One batch of noise with labels."""
    generator = np.random.default_rng(7)
    x = generator.uniform(0.0, 255.0, size=(ROWS, side, side, 3)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, np.arange(ROWS) % CLASSES)).batch(ROWS)


def set_flags(base: Any, value: bool) -> None:
    """Set all flags of a base. `base.trainable = value` alone does nothing where the base's own flag has that value."""
    for layer in base._flatten_layers():
        layer.trainable = value


def unfreeze_last(base: Any, count: int) -> None:
    """Freeze a base but for its last layers."""
    set_flags(base, True)
    for layer in base.layers[:-count]:
        layer.trainable = False


def add_head(features: Any) -> Any:
    """The head of every guide: pooling, dropout, a dense layer."""
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    return keras.layers.Dense(CLASSES, activation="softmax", name="head")(keras.layers.Dropout(0.2)(pooled))


def nest(base: Any, **call: Any) -> Any:
    """A functional model that holds the base as one layer."""
    inputs = keras.Input(base.input_shape[1:])
    return keras.Model(inputs, add_head(base(inputs, **call)), name="nested")


def extend(base: Any) -> Any:
    """A functional model that goes on from the base's output: the base's layers are its own."""
    return keras.Model(base.input, add_head(base.output), name="flat")


def stack(base: Any) -> Any:
    """A Sequential around the base."""
    head = keras.layers.Dense(CLASSES, activation="softmax", name="head")
    return keras.Sequential([base, keras.layers.GlobalAveragePooling2D(), head], name="stacked")


def compile_model(model: Any) -> None:
    """Adam: it moves a variable however small its gradient is."""
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
