"""Small models of many kinds, with one batch for each; Keras 3 and tf_keras build them alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

ROWS = 8
RANDOM = np.random.default_rng(5)
FLOATS = RANDOM.random((ROWS, 4), dtype="float32")
TARGET = RANDOM.random((ROWS, 1), dtype="float32")
WORDS = RANDOM.integers(0, 12, (ROWS, 5))
IMAGES = RANDOM.random((ROWS, 6, 6, 2), dtype="float32")

Built = tuple[Any, Any, Any]
"""(model, x, y)."""


def perceptron(keras: Any) -> Built:
    layers = [keras.layers.Dense(6, activation="relu", name="hid"), keras.layers.Dense(1, name="out")]
    return keras.Sequential([keras.Input((4,)), *layers]), FLOATS, TARGET


def recurrent(keras: Any) -> Built:
    """Sparse gradients and while loops."""
    words = keras.Input((5,), dtype="int32")
    hidden = keras.layers.LSTM(4, name="lstm")(keras.layers.Embedding(12, 3, name="words")(words))
    return keras.Model(words, keras.layers.Dense(1, name="out")(hidden)), WORDS, TARGET


def convolution(keras: Any) -> Built:
    """Statistics, and gradients that a fused op yields several of."""
    parts = [keras.layers.Conv2D(3, 3, name="conv"), keras.layers.BatchNormalization(name="norm")]
    tail = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, name="out")]
    return keras.Sequential([keras.Input((6, 6, 2)), *parts, *tail]), IMAGES, TARGET


def tied(keras: Any) -> Built:
    """One embedding read twice: the slices of both are joined."""
    words = keras.Input((5,), dtype="int32")
    table = keras.layers.Embedding(12, 3, name="words")
    one, two = table(words[:, :3]), table(words[:, 2:])
    flat = keras.layers.Flatten()(keras.layers.Concatenate(axis=1)([one, two]))
    return keras.Model(words, keras.layers.Dense(1, name="out")(flat)), WORDS, TARGET


def language(keras: Any) -> Built:
    """An embedding that is the output's matrix too: its slices are made dense, and added to a product's gradient."""

    class Language(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="language")
            self.words = keras.layers.Embedding(12, 4, name="words")
            self.mix = keras.layers.Dense(4, name="mix")

        def call(self, words: Any) -> Any:
            import tensorflow as tf

            hidden = self.mix(self.words(words))
            return tf.matmul(hidden, tf.convert_to_tensor(self.words.embeddings), transpose_b=True)

    return Language(), WORDS, np.eye(12, dtype="float32")[WORDS]


def shared(keras: Any) -> Built:
    """A layer in two places, a regularizer; in Keras 3 dropout, whose seed is a variable."""
    start = keras.Input((4,))
    layer = keras.layers.Dense(4, activation="tanh", kernel_regularizer="l2", name="twice")
    inner = layer(layer(start))
    if keras.__name__ == "keras":
        inner = keras.layers.Dropout(0.5, seed=7)(inner)
    return keras.Model(start, keras.layers.Dense(1, name="out")(inner)), FLOATS, TARGET


def attention(keras: Any) -> Built:
    """Einsum and softmax."""
    words = keras.Input((5,), dtype="int32")
    hidden = keras.layers.Embedding(12, 4, name="words")(words)
    hidden = keras.layers.MultiHeadAttention(2, 2, name="look")(hidden, hidden)
    hidden = keras.layers.LayerNormalization(name="norm")(hidden)
    return keras.Model(words, keras.layers.Dense(1, name="out")(keras.layers.Flatten()(hidden))), WORDS, TARGET


def dead(keras: Any) -> Built:
    """Units that are 0 on every input."""
    low = keras.initializers.Constant(-100.0)
    layers = [
        keras.layers.Dense(6, activation="relu", bias_initializer=low, name="hid"),
        keras.layers.Dense(1, name="out"),
    ]
    return keras.Sequential([keras.Input((4,)), *layers]), FLOATS, TARGET


ZOO: dict[str, Callable[[Any], Built]] = {
    build.__name__: build for build in (perceptron, recurrent, convolution, tied, language, shared, attention, dead)
}
