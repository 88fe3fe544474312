"""Layers that compute in their own way, each trained, then frozen too late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.models import Built, freeze
from tests.oracle import Asked, randomize

pytestmark = pytest.mark.tf

layers = keras.layers


def around(
    make: Callable[[], Any], *shape: int | None, integers: bool = False, spread: Any = None
) -> Callable[[], Built]:
    """The layer that `make` gives, named b, in front of a dense head; `spread` maps the input before it."""

    def build() -> Built:
        inputs = keras.Input(shape, dtype="int32" if integers else "float32")
        h = inputs if spread is None else spread(inputs)
        h = make()(h)
        h = h[0] if isinstance(h, (list, tuple)) else h
        h = layers.Dense(3, activation="tanh", name="a", trainable=False)(
            layers.Flatten()(h) if len(h.shape) > 2 else h
        )
        model = keras.Model(inputs, layers.Dense(1, name="c")(h), name="net")
        randomize(model)
        model.compile(keras.optimizers.Adam(0.05), "mse")
        generator = np.random.default_rng(3)
        size = (4, *(n or 5 for n in shape))
        x = generator.integers(0, 5, size=size) if integers else generator.normal(size=size)
        x = x.astype("int32" if integers else "float32")
        y = generator.normal(size=(4, 1)).astype("float32")
        return model, tf.data.Dataset.from_tensor_slices((x, y)).batch(4)

    return build


def attend(x: Any) -> Any:
    return layers.MultiHeadAttention(2, 3, name="b")(x, x)


def attend_grouped(x: Any) -> Any:
    return layers.GroupQueryAttention(2, 4, 2, name="b")(x, x)


def attend_simply(kind: Any) -> Callable[[Any], Any]:
    return lambda x: kind(use_scale=True, name="b")([x, x])


class Loop(layers.Layer):
    """A while loop of its own over one weight."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1], shape[-1]), name="w")

    def call(self, x: Any) -> Any:
        return tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(h @ self.w)), [0, x])[1]


class OpenLoop(Loop):
    """A while loop whose number of turns depends on the data."""

    def call(self, x: Any) -> Any:
        turns = 2 + tf.cast(tf.reduce_sum(x) > 0, tf.int32)
        return tf.while_loop(lambda i, h: i < turns, lambda i, h: (i + 1, tf.tanh(h @ self.w)), [0, x])[1]


class Scan(Loop):
    """keras.ops.scan over time."""

    def call(self, x: Any) -> Any:
        def step(h: Any, part: Any) -> Any:
            h = keras.ops.tanh(part @ self.w + h)
            return h, h

        steps = keras.ops.transpose(x, (1, 0, 2))
        return keras.ops.scan(step, keras.ops.zeros_like(x[:, 0]), steps)[0]


class Branch(Loop):
    """tf.cond on the data; only one branch holds the weight."""

    def call(self, x: Any) -> Any:
        return tf.cond(tf.reduce_sum(x) > -1e9, lambda: tf.tanh(x @ self.w), lambda: x)


class Switch(Loop):
    """switch_case with the weight in two of three branches."""

    def call(self, x: Any) -> Any:
        index = tf.cast(tf.reduce_sum(x) > -1e9, tf.int32)
        return tf.switch_case(index, [lambda: x, lambda: x @ self.w, lambda: x @ tf.transpose(self.w)])


class MapEach(Loop):
    """tf.map_fn: a TensorList filled in a loop."""

    def call(self, x: Any) -> Any:
        return tf.map_fn(lambda row: tf.linalg.matvec(self.w, row), x)


class Vectorized(Loop):
    """tf.vectorized_map: a while loop turned into batch ops."""

    def call(self, x: Any) -> Any:
        return tf.vectorized_map(lambda row: tf.tanh(tf.linalg.matvec(self.w, row)), x)


class OwnFunction(Loop):
    """A tf.function of its own around the computation."""

    @tf.function
    def compute(self, x: Any) -> Any:
        return tf.tanh(x @ self.w)

    def call(self, x: Any) -> Any:
        return self.compute(x)


class Recomputed(Loop):
    """tf.recompute_grad around the computation."""

    def call(self, x: Any) -> Any:
        return tf.recompute_grad(lambda h: tf.tanh(h @ self.w))(x)


class Counting(Loop):
    """Counts its calls and keeps a running mean of its input, whatever its flag says not to."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.calls = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros", name="calls")
        self.mean = self.add_weight(shape=(shape[-1],), trainable=False, initializer="zeros", name="mean")

    def call(self, x: Any, training: bool = False) -> Any:
        if training and self.trainable:
            self.calls.assign_add(1)
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(x, axis=0))
        return (x - self.mean) @ self.w


class OddPython(Loop):
    """A py_function with differentiable ops inside."""

    def call(self, x: Any) -> Any:
        y = tf.py_function(lambda a, b: tf.tanh(a @ b), [x, self.w], tf.float32)
        y.set_shape(x.shape)
        return y


class Rematerialized(layers.Layer):
    """A layer under RematScope; in mode "full" Keras 3.15 on TensorFlow runs none that is handed `training`, as Dense is."""

    def __init__(self, mode: str, inner: Callable[[], Any], **names: Any) -> None:
        super().__init__(**names)
        with keras.RematScope(mode=mode):
            self.inner = inner()

    def call(self, x: Any) -> Any:
        return self.inner(x)


def cells_of_layers() -> dict[str, Cell]:
    dense = lambda **k: layers.Dense(4, name="b", **k)  # noqa: E731
    seq, image, volume = (6, 2), (6, 6, 2), (4, 4, 4, 1)
    table: dict[str, Any] = {
        "Dense": around(dense, 3),
        "Dense, no bias": around(lambda: dense(use_bias=False), 3),
        "EinsumDense": around(lambda: layers.EinsumDense("ab,bc->ac", 4, bias_axes="c", name="b"), 3),
        "Embedding": around(lambda: layers.Embedding(6, 3, name="b"), 4, integers=True),
        "Embedding, mask": around(
            lambda: keras.Sequential([layers.Embedding(6, 3, mask_zero=True), layers.LSTM(3)], name="b"),
            4,
            integers=True,
        ),
        "Conv1D": around(lambda: layers.Conv1D(2, 3, name="b"), *seq),
        "Conv2D": around(lambda: layers.Conv2D(2, 3, padding="same", strides=2, name="b"), *image),
        "Conv3D": around(lambda: layers.Conv3D(2, 2, name="b"), *volume),
        "Conv2D, groups": around(lambda: layers.Conv2D(2, 3, groups=2, name="b"), *image),
        "Conv1DTranspose": around(lambda: layers.Conv1DTranspose(2, 3, name="b"), *seq),
        "Conv2DTranspose": around(lambda: layers.Conv2DTranspose(2, 3, name="b"), *image),
        "Conv3DTranspose": around(lambda: layers.Conv3DTranspose(1, 2, name="b"), *volume),
        "DepthwiseConv1D": around(lambda: layers.DepthwiseConv1D(3, name="b"), *seq),
        "DepthwiseConv2D": around(lambda: layers.DepthwiseConv2D(3, name="b"), *image),
        "SeparableConv1D": around(lambda: layers.SeparableConv1D(2, 3, name="b"), *seq),
        "SeparableConv2D": around(lambda: layers.SeparableConv2D(2, 3, name="b"), *image),
        "SimpleRNN": around(lambda: layers.SimpleRNN(3, name="b"), *seq),
        "LSTM": around(lambda: layers.LSTM(3, name="b"), *seq),
        "LSTM, dropout": around(lambda: layers.LSTM(3, dropout=0.1, recurrent_dropout=0.1, name="b"), *seq),
        "LSTM, unrolled": around(lambda: layers.LSTM(3, unroll=True, name="b"), *seq),
        "LSTM, any length": around(lambda: layers.LSTM(3, name="b"), None, 2),
        "GRU": around(lambda: layers.GRU(3, name="b", return_sequences=True), *seq),
        "GRU, not reset after": around(lambda: layers.GRU(3, reset_after=False, name="b"), *seq),
        "RNN of cells": around(lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], name="b"), *seq),
        "Bidirectional": around(lambda: layers.Bidirectional(layers.LSTM(3), name="b"), *seq),
        "Bidirectional, sum": around(lambda: layers.Bidirectional(layers.GRU(3), merge_mode="sum", name="b"), *seq),
        "TimeDistributed": around(lambda: layers.TimeDistributed(layers.Dense(3), name="b"), *seq),
        "ConvLSTM1D": around(lambda: layers.ConvLSTM1D(2, 2, name="b"), 3, 5, 1),
        "ConvLSTM2D": around(lambda: layers.ConvLSTM2D(2, 2, name="b"), 3, 4, 4, 1),
        "MultiHeadAttention": around(lambda: attend, *seq),
        "GroupedQueryAttention": around(lambda: attend_grouped, *seq),
        "Attention": around(lambda: attend_simply(layers.Attention), *seq),
        "AdditiveAttention": around(lambda: attend_simply(layers.AdditiveAttention), *seq),
        "PReLU": around(lambda: layers.PReLU(name="b"), 3),
        "LayerNormalization": around(lambda: layers.LayerNormalization(name="b"), 3),
        "RMSNormalization": around(lambda: layers.RMSNormalization(name="b"), 3),
        "GroupNormalization": around(lambda: layers.GroupNormalization(2, name="b"), 4),
        "BatchNormalization": around(lambda: layers.BatchNormalization(name="b"), 3),
        "BatchNormalization, images": around(lambda: layers.BatchNormalization(name="b"), *image),
        "SpectralNormalization": around(lambda: layers.SpectralNormalization(layers.Dense(3), name="b"), 3),
        "Dropout": around(
            lambda: keras.Sequential([layers.Dense(5), layers.Dropout(0.2), layers.GaussianDropout(0.1)], name="b"), 3
        ),
        "noise": around(
            lambda: keras.Sequential([layers.GaussianNoise(0.1), layers.AlphaDropout(0.1), layers.Dense(3)], name="b"),
            3,
        ),
        "SpatialDropout": around(
            lambda: keras.Sequential([layers.SpatialDropout1D(0.3), layers.Conv1D(2, 2)], name="b"), *seq
        ),
        "pooling": around(
            lambda: keras.Sequential(
                [layers.Conv2D(2, 2), layers.MaxPooling2D(), layers.AveragePooling2D(2), layers.GlobalMaxPooling2D()],
                name="b",
            ),
            8,
            8,
            1,
        ),
        "upsampling": around(
            lambda: keras.Sequential([layers.Conv2D(2, 2), layers.UpSampling2D(interpolation="bilinear")], name="b"),
            *image,
        ),
        "Lambda": around(
            lambda: keras.Sequential([layers.Dense(4), layers.Lambda(lambda x: x * x + 1.0)], name="b"), 3
        ),
        "while loop": around(lambda: Loop(name="b"), 3),
        "while loop, open end": around(lambda: OpenLoop(name="b"), 3),
        "scan": around(lambda: Scan(name="b"), *seq),
        "cond": around(lambda: Branch(name="b"), 3),
        "switch_case": around(lambda: Switch(name="b"), 3),
        "map_fn": around(lambda: MapEach(name="b"), 3),
        "vectorized_map": around(lambda: Vectorized(name="b"), 3),
        "own tf.function": around(lambda: OwnFunction(name="b"), 3),
        "recompute_grad": around(lambda: Recomputed(name="b"), 3),
        "RematScope": around(
            lambda: Rematerialized("full", lambda: layers.LayerNormalization(name="inner"), name="b"), 3
        ),
        "RematScope, activations": around(
            lambda: Rematerialized("activations", lambda: layers.Dense(4, activation="tanh", name="inner"), name="b"), 3
        ),
        "own statistics": around(lambda: Counting(name="b"), 3),
    }
    cells = {name: Cell(build) for name, build in table.items()}
    bare = around(lambda: layers.BatchNormalization(scale=False, center=False, name="b"), 3)
    cells["BatchNormalization, bare"] = Cell(bare, after=Asked(rules=("INT102",), kinds={"b/*": "statistics"}))
    cells["py_function"] = Cell(around(lambda: OddPython(name="b"), 3), Asked(opaque=True))
    return cells


CELLS = cells_of_layers()


@pytest.mark.parametrize("name", CELLS)
def test_layer(name: str) -> None:
    """Healthy twice, then stale."""
    assert CELLS[name].run() == []


def preprocessing() -> dict[str, Callable[[], Any]]:
    norm = layers.Normalization(name="norm")
    norm.adapt(np.random.default_rng(1).normal(size=(8, 3)).astype("float32"))
    return {
        "Normalization": lambda: norm,
        "Rescaling": lambda: layers.Rescaling(0.5, 1.0),
        "Discretization, CategoryEncoding": lambda: keras.Sequential(
            [layers.Discretization([-1.0, 0.0, 1.0]), layers.CategoryEncoding(4, output_mode="multi_hot")]
        ),
        "RandomRotation": lambda: keras.Sequential(
            [layers.Reshape((3, 1, 1)), layers.RandomRotation(0.3), layers.RandomContrast(0.2), layers.Flatten()]
        ),
        "Hashing": lambda: keras.Sequential([layers.Hashing(4), layers.Rescaling(0.25)]),
    }


@pytest.mark.parametrize("name", list(preprocessing()))
def test_preprocessing(name: str) -> None:
    """In front of a layer that is trained, then frozen too late."""
    keras.backend.clear_session()
    make = preprocessing()[name]
    cell = Cell(
        around(lambda: layers.Dense(4, name="b"), 3, integers=name == "Hashing", spread=lambda x: make()(x)),
        act=freeze("b"),
    )
    assert cell.run() == []
