"""Every way in which Keras 3 compiles and feeds a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.models import Built, dense_model, freeze, make_data, unfreeze
from tests.oracle import Asked, fit_once, randomize

pytestmark = pytest.mark.tf


def plain(
    optimizer: Any = "adam", data: Any = None, normalize: bool = True, **compile_arguments: Any
) -> Callable[[], Built]:
    """The dense model with its first layer frozen."""

    def build() -> Built:
        model = dense_model(normalize=normalize)
        model.get_layer("a").trainable = False
        model.compile(optimizer() if callable(optimizer) else optimizer, **{"loss": "mse", **compile_arguments})
        return model, data() if callable(data) else make_data()

    return build


def unrolled() -> Built:
    model, _ = plain(steps_per_execution=3)()
    model.unrolled_steps_per_execution = 3
    return model, make_data(rows=6, batch=2)


def under_policy(name: str, **arguments: Any) -> Callable[[], Built]:
    def build() -> Built:
        keras.config.set_dtype_policy(name)
        try:
            return plain(**arguments)()
        finally:
            keras.config.set_dtype_policy("float32")

    return build


def two_heads(**arguments: Any) -> Callable[[], Built]:
    def build() -> Built:
        inputs = keras.Input((3,), name="x")
        h = keras.layers.Dense(4, activation="tanh", name="a", trainable=False)(inputs)
        h = keras.layers.Dense(4, activation="tanh", name="b")(h)
        outputs = {name: keras.layers.Dense(1, name=name)(h) for name in ("left", "right")}
        model = keras.Model(inputs, outputs)
        randomize(model)
        model.compile("sgd", **arguments)
        x = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
        y = {"left": x[:, :1], "right": x[:, 1:2]}
        return model, tf.data.Dataset.from_tensor_slices((x, y)).batch(4)

    return build


class Penalty(keras.layers.Layer):
    """Adds a loss of its own, from its input and its weight."""

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(shape[-1],), initializer="ones", name="w")

    def call(self, x: Any) -> Any:
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x * self.w)))
        return x


def own_losses() -> Built:
    inputs = keras.Input((3,))
    h = keras.layers.Dense(4, activation="tanh", name="a", trainable=False)(inputs)
    h = keras.layers.Dense(4, activation="tanh", name="b", activity_regularizer="l2")(h)
    model = keras.Model(inputs, keras.layers.Dense(1, name="c")(Penalty(name="penalty")(h)))
    randomize(model)
    model.compile("adam", "mse")
    return model, make_data()


def only_own_losses() -> Built:
    inputs = keras.Input((3,))
    h = keras.layers.Dense(4, activation="tanh", name="a", trainable=False)(inputs)
    h = keras.layers.Dense(4, activation="tanh", name="b")(h)
    model = keras.Model(inputs, Penalty(name="penalty")(h))
    randomize(model)
    model.compile("adam")
    return model, make_data()


def regularized() -> Built:
    inputs = keras.Input((3,))
    h = keras.layers.Dense(4, activation="tanh", name="a", kernel_regularizer="l2", trainable=False)(inputs)
    h = keras.layers.Dense(4, activation="tanh", name="b", kernel_regularizer="l1", bias_regularizer="l2")(h)
    h = keras.layers.Dense(4, name="o", kernel_regularizer=keras.regularizers.OrthogonalRegularizer())(h)
    model = keras.Model(inputs, keras.layers.Dense(1, name="c")(h))
    randomize(model)
    model.compile("adam", "mse")
    return model, make_data()


def constrained() -> Built:
    inputs = keras.Input((3,))
    h = keras.layers.Dense(4, activation="tanh", name="a", kernel_constraint="max_norm", trainable=False)(inputs)
    h = keras.layers.Dense(4, activation="tanh", name="b", kernel_constraint="unit_norm", bias_constraint="non_neg")(h)
    model = keras.Model(inputs, keras.layers.Dense(1, name="c", kernel_constraint=keras.constraints.MinMaxNorm())(h))
    randomize(model)
    model.compile("adam", "mse")
    return model, make_data()


def with_metrics() -> Built:
    return plain(metrics=["mae", keras.metrics.RootMeanSquaredError()], weighted_metrics=["mse"])()


def weighted_data() -> tf.data.Dataset:
    x = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1], np.asarray([1, 2, 0.5, 0], "float32"))).batch(4)


def fit_classes(model: Any, data: Any) -> None:
    model.fit(data, class_weight={0: 1.0, 1: 3.0}, verbose=0)


def classes() -> Built:
    model = dense_model(outputs=2)
    model.get_layer("a").trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    x = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    return model, tf.data.Dataset.from_tensor_slices((x, np.asarray([0, 1, 1, 0]))).batch(4)


def numpy_data() -> tuple[Any, Any]:
    x = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
    return x, x[:, :1]


def fit_arrays(model: Any, data: Any) -> None:
    model.fit(*data, verbose=0)


class Batches(keras.utils.PyDataset):
    """Two batches."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        x = np.random.default_rng(index).normal(size=(4, 3)).astype("float32")
        return x, x[:, :1]


def fit_validated(model: Any, data: Any) -> None:
    model.fit(data, validation_data=make_data(), epochs=2, verbose=0, callbacks=[keras.callbacks.Callback()])


def dict_inputs() -> Built:
    left, right = keras.Input((2,), name="left"), keras.Input((1,), name="right")
    h = keras.layers.Dense(4, activation="tanh", name="a", trainable=False)(left)
    g = keras.layers.Dense(4, activation="tanh", name="b")(right)
    out = keras.layers.Dense(1, name="c")(keras.layers.Add()([h, g]))
    model = keras.Model({"left": left, "right": right}, out)
    randomize(model)
    model.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    inputs = {"left": x[:, :2], "right": x[:, 2:]}
    return model, tf.data.Dataset.from_tensor_slices((inputs, x[:, :1])).batch(4)


class Ragged(keras.Model):
    """Takes a ragged batch and sums its rows."""

    def __init__(self) -> None:
        super().__init__()
        self.a = keras.layers.Embedding(6, 4, name="a", trainable=False)
        self.b = keras.layers.Dense(4, activation="tanh", name="b")
        self.c = keras.layers.Dense(1, name="c")

    def call(self, x: Any) -> Any:
        dense = x.to_tensor() if hasattr(x, "to_tensor") else x
        return self.c(self.b(tf.reduce_sum(self.a(dense), axis=1)))


def ragged_inputs() -> Built:
    rows = tf.ragged.constant([[1, 2], [3], [4, 5, 1], [2]])
    model = Ragged()
    model(rows)
    randomize(model)
    model.compile("adam", "mse")
    return model, tf.data.Dataset.from_tensor_slices((rows, tf.ones((4, 1)))).batch(4)


def sparse_inputs() -> Built:
    inputs = keras.Input((3,), sparse=True)
    h = keras.layers.Dense(4, activation="tanh", name="a", trainable=False)(inputs)
    h = keras.layers.Dense(4, activation="tanh", name="b")(h)
    model = keras.Model(inputs, keras.layers.Dense(1, name="c")(h))
    randomize(model)
    model.compile("adam", "mse")
    x = tf.sparse.from_dense(np.eye(4, 3, dtype="float32"))
    return model, tf.data.Dataset.from_tensor_slices((x, np.ones((4, 1), "float32"))).batch(4)


def stateful() -> Built:
    inputs = keras.Input(batch_shape=(2, 3, 2))
    h = keras.layers.LSTM(3, stateful=True, return_sequences=True, name="a", trainable=False)(inputs)
    h = keras.layers.GRU(3, stateful=True, name="b")(h)
    model = keras.Model(inputs, keras.layers.Dense(1, name="c")(h))
    randomize(model)
    model.compile("adam", "mse")
    x = np.random.default_rng(1).normal(size=(4, 3, 2)).astype("float32")
    return model, tf.data.Dataset.from_tensor_slices((x, x[:, 0, :1])).batch(2, drop_remainder=True)


def fit_shuffled_not(model: Any, data: Any) -> None:
    model.fit(data, shuffle=False, verbose=0)


CELLS: dict[str, Cell] = {
    "jit_compile": Cell(plain(jit_compile=True)),
    "no jit": Cell(plain(jit_compile=False)),
    "steps_per_execution": Cell(plain(steps_per_execution=3, data=lambda: make_data(rows=6, batch=2))),
    "steps_per_execution, rest": Cell(plain(steps_per_execution=2, data=lambda: make_data(rows=6, batch=2))),
    "unrolled": Cell(unrolled),
    "jit and steps": Cell(plain(steps_per_execution=2, jit_compile=True, data=lambda: make_data(rows=4, batch=2))),
    "run_eagerly": Cell(plain(run_eagerly=True), after=Asked()),
    "run_eagerly, unknown variable": Cell(plain(run_eagerly=True), act=unfreeze("a"), after=Asked(raises=True)),
    "mixed_float16": Cell(under_policy("mixed_float16", data=make_data), Asked(numeric=True)),
    "mixed_float16, adamw": Cell(
        under_policy("mixed_float16", optimizer=lambda: keras.optimizers.AdamW(0.01)), Asked(numeric=True)
    ),
    "mixed_bfloat16": Cell(under_policy("mixed_bfloat16")),
    "bfloat16": Cell(under_policy("bfloat16"), Asked(numeric=True)),
    "float64": Cell(under_policy("float64")),
    "no auto scale loss": Cell(plain(auto_scale_loss=False)),
    "two losses": Cell(two_heads(loss="mse")),
    "two losses, dict": Cell(two_heads(loss={"left": "mse", "right": "mae"}, loss_weights={"left": 1.0, "right": 0.3})),
    "one loss of two": Cell(
        two_heads(loss={"left": "mse", "right": None}),
        Asked(rules=("INT104",)),
        after=Asked(rules=("INT101", "INT104")),
    ),
    "own losses": Cell(own_losses),
    "own losses only": Cell(only_own_losses),
    "regularizers": Cell(regularized),
    "constraints": Cell(constrained, Asked(kinds={"c/kernel": "constraint"})),
    "metrics": Cell(with_metrics),
    "loss function": Cell(plain(loss=lambda y, p: tf.reduce_mean(tf.abs(y - p)))),
    "sample weights": Cell(plain(weighted_metrics=["mse"], data=weighted_data)),
    "class weights": Cell(classes, Asked(data=False), step=fit_classes),
    "arrays": Cell(plain(data=numpy_data), step=fit_arrays),
    "PyDataset": Cell(plain(data=lambda: Batches())),
    "validation, epochs, callbacks": Cell(plain(), step=fit_validated),
    "partial batch": Cell(plain(data=lambda: make_data(rows=5, batch=2))),
    "dict inputs": Cell(dict_inputs),
    "ragged inputs": Cell(ragged_inputs),
    "sparse inputs": Cell(sparse_inputs, Asked(numeric=False)),
    "stateful": Cell(stateful, step=fit_shuffled_not),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then stale."""
    assert CELLS[name].run() == []


def test_batch_sizes_with_other_sets() -> None:
    """Two traces with different trained sets alternate; a fit finds one of them or none."""
    keras.backend.clear_session()
    from tests.oracle import ask

    model, _ = plain()()
    x, y = numpy_data()
    step = lambda model, data: model.train_on_batch(*data)  # noqa: E731
    whole = Asked(data=False)
    assert ask(model, (x[:4], y[:4]), whole, step).faults == []
    freeze("b")(model, None)
    assert ask(model, (x[:4], y[:4]), Asked(data=False, rules=("INT101",)), step).faults == []
    model.train_on_batch(x[:2], y[:2])
    assert ask(model, (x[:3], y[:3]), Asked(data=False, arguable=True), step).faults == []
    assert ask(model, make_data(), Asked(arguable=True), fit_once).faults == []
