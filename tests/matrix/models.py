"""Small models and data that the tables of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.oracle import randomize

Built = tuple[Any, Any]
"""(compiled model, data)"""


def make_data(rows: int = 4, width: int = 3, outputs: int = 1, batch: int | None = None) -> tf.data.Dataset:
    """One set of random rows in batches of `batch`; all in one batch without it."""
    generator = np.random.default_rng(7)
    x = generator.normal(size=(rows, width)).astype("float32")
    y = generator.normal(size=(rows, outputs)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch or rows)


def dense_model(width: int = 3, outputs: int = 1, normalize: bool = False, **first: Any) -> Any:
    """Three dense layers named a, b, c; `normalize` puts a BatchNormalization behind a."""
    inputs = keras.Input((width,))
    h = keras.layers.Dense(4, activation="tanh", name="a", **first)(inputs)
    if normalize:
        h = keras.layers.BatchNormalization(name="norm")(h)
    h = keras.layers.Dense(4, activation="tanh", name="b")(h)
    model = keras.Model(inputs, keras.layers.Dense(outputs, name="c")(h), name="net")
    randomize(model)
    return model


def freeze(*names: str) -> Callable[[Any, Any], None]:
    """Set `trainable = False` on layers, and do not compile."""
    return _set_flags(names, False)


def unfreeze(*names: str) -> Callable[[Any, Any], None]:
    """Set `trainable = True` on layers, and do not compile."""
    return _set_flags(names, True)


def _set_flags(names: tuple[str, ...], value: bool) -> Callable[[Any, Any], None]:
    def act(model: Any, data: Any) -> None:
        for name in names:
            find_layer(model, name).trainable = value

    return act


def find_layer(model: Any, name: str) -> Any:
    """The layer of this name at any depth."""
    return next(layer for layer in model._flatten_layers() if layer.name == name)
