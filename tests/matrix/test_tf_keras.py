"""tf_keras beside Keras 3 in one process: its optimizers, new and legacy, its compilation, its flags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.models import Built, make_data, unfreeze
from tests.oracle import Asked, randomize

tk = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.tf


def dense(normalize: bool = True) -> Any:
    inputs = tk.Input((3,))
    h = tk.layers.Dense(4, activation="tanh", name="a", trainable=False)(inputs)
    if normalize:
        h = tk.layers.BatchNormalization(name="norm")(h)
    h = tk.layers.Dense(4, activation="tanh", name="b")(h)
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(h))


def compiled(
    make: Callable[[], Any] = dense, optimizer: Any = "adam", data: Any = make_data, **arguments: Any
) -> Callable[[], Built]:
    def build() -> Built:
        model = make()
        if not model.built:
            model(np.zeros((2, 3), "float32"))
        randomize(model)
        made = optimizer() if callable(optimizer) else optimizer
        model.compile(made, **{"loss": "mse", **arguments})
        return model, data()

    return build


NEW = tk.optimizers
LEGACY = tk.optimizers.legacy
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: NEW.SGD(0.05),
    "SGD-momentum": lambda: NEW.SGD(0.05, momentum=0.9, nesterov=True),
    "RMSprop": lambda: NEW.RMSprop(0.05, momentum=0.5, centered=True),
    "Adam": lambda: NEW.Adam(0.05),
    "Adam-amsgrad": lambda: NEW.Adam(0.05, amsgrad=True),
    "AdamW": lambda: NEW.AdamW(0.05, weight_decay=0.01),
    "Adadelta": lambda: NEW.Adadelta(0.5),
    "Adagrad": lambda: NEW.Adagrad(0.05),
    "Adamax": lambda: NEW.Adamax(0.05),
    "Adafactor": lambda: NEW.Adafactor(0.05),
    "Nadam": lambda: NEW.Nadam(0.05),
    "Ftrl": lambda: NEW.Ftrl(0.05),
    "Lion": lambda: NEW.Lion(0.05),
    "Adam-clipnorm": lambda: NEW.Adam(0.05, clipnorm=0.5),
    "Adam-clipvalue": lambda: NEW.Adam(0.05, clipvalue=0.1),
    "Adam-global_clipnorm": lambda: NEW.Adam(0.05, global_clipnorm=0.5),
    "Adam-ema": lambda: NEW.Adam(0.05, use_ema=True, ema_overwrite_frequency=1),
    "Adam-ema-end": lambda: NEW.Adam(0.05, use_ema=True),
    "Adam-schedule": lambda: NEW.Adam(NEW.schedules.ExponentialDecay(0.05, 10, 0.9)),
    "Adam-jit": lambda: NEW.Adam(0.05, jit_compile=True),
    "legacy SGD": lambda: LEGACY.SGD(0.05),
    "legacy SGD-momentum": lambda: LEGACY.SGD(0.05, momentum=0.9, nesterov=True),
    "legacy RMSprop": lambda: LEGACY.RMSprop(0.05, momentum=0.5, centered=True),
    "legacy Adam": lambda: LEGACY.Adam(0.05),
    "legacy Adam-amsgrad": lambda: LEGACY.Adam(0.05, amsgrad=True),
    "legacy Adadelta": lambda: LEGACY.Adadelta(0.5),
    "legacy Adagrad": lambda: LEGACY.Adagrad(0.05),
    "legacy Adamax": lambda: LEGACY.Adamax(0.05),
    "legacy Nadam": lambda: LEGACY.Nadam(0.05),
    "legacy Ftrl": lambda: LEGACY.Ftrl(0.05),
    "legacy Adam-clipnorm": lambda: LEGACY.Adam(0.05, clipnorm=0.5),
    "legacy Adam-schedule": lambda: LEGACY.Adam(NEW.schedules.ExponentialDecay(0.05, 10, 0.9)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str) -> None:
    """tf_keras goes by the flags of compile(): a layer frozen later keeps training."""
    tk.backend.clear_session()
    asked = Asked(kinds={"norm/moving_*": "statistics", "c/*": "gradient"})
    assert Cell(compiled(optimizer=OPTIMIZERS[name]), asked).run() == []


class Steps(tk.Model):
    """A train_step of its own."""

    def __init__(self, super_step: bool) -> None:
        super().__init__()
        self.a = tk.layers.Dense(4, name="a", trainable=False)
        self.b = tk.layers.Dense(4, activation="tanh", name="b")
        self.c = tk.layers.Dense(1, name="c")
        self.super_step = super_step

    def call(self, x: Any, training: bool = False) -> Any:
        return self.c(self.b(self.a(x)))

    def train_step(self, data: Any) -> Any:
        if self.super_step:
            return super().train_step(data)
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compiled_loss(y, self(x, training=True))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}


def recurrent() -> Any:
    inputs = tk.Input((5, 3))
    h = tk.layers.LSTM(3, return_sequences=True, name="a", trainable=False)(inputs)
    h = tk.layers.Bidirectional(tk.layers.GRU(2), name="b")(h)
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(h))


def sequences() -> tf.data.Dataset:
    x = np.random.default_rng(1).normal(size=(4, 5, 3)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, 0, :1])).batch(4)


def embedded() -> Any:
    inputs = tk.Input((3,), dtype="int32")
    h = tk.layers.Embedding(6, 4, name="b")(inputs)
    h = tk.layers.Dense(4, name="a", trainable=False)(tk.layers.Flatten()(h))
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(h))


def integers() -> tf.data.Dataset:
    x = np.asarray([[0, 1, 2], [3, 4, 0], [1, 1, 2], [2, 3, 4]], "int32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1].astype("float32"))).batch(4)


def convolved() -> Any:
    inputs = tk.Input((6, 6, 1))
    h = tk.layers.Conv2D(2, 3, name="a", trainable=False)(inputs)
    h = tk.Sequential(
        [tk.layers.SeparableConv2D(2, 2), tk.layers.BatchNormalization(), tk.layers.Dropout(0.2)], name="b"
    )(h)
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(tk.layers.Flatten()(h)))


def images() -> tf.data.Dataset:
    x = np.random.default_rng(1).normal(size=(4, 6, 6, 1)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, 0, 0])).batch(4)


def attending() -> Any:
    inputs = tk.Input((5, 3))
    h = tk.layers.Dense(3, name="a", trainable=False)(inputs)
    h = tk.layers.MultiHeadAttention(2, 2, name="b")(h, h)
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(tk.layers.Flatten()(h)))


def regularized() -> Any:
    return tk.Sequential(
        [
            tk.layers.Dense(4, name="a", trainable=False, kernel_regularizer="l2"),
            tk.layers.Dense(4, name="b", kernel_regularizer="l1", kernel_constraint="max_norm"),
            tk.layers.Dense(1, name="c", activity_regularizer="l2"),
        ]
    )


def nested() -> Any:
    inputs = tk.Input((3,))
    inner = tk.Sequential([tk.layers.Dense(3), tk.Sequential([tk.layers.Dense(3)])], name="a")
    inner.trainable = False
    h = tk.layers.Dense(3, name="b")(inner(inputs))
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(h))


def half() -> Any:
    tk.mixed_precision.set_global_policy("mixed_float16")
    try:
        return dense()
    finally:
        tk.mixed_precision.set_global_policy("float32")


def recompile(model: Any, data: Any) -> None:
    model.get_layer("b").trainable = False
    model.compile("adam", "mse")


def refit(model: Any, data: Any) -> None:
    model.get_layer("a").trainable = True
    model.compile(model.optimizer, "mse")


def unfreeze_inside(model: Any, data: Any) -> None:
    """The container stays frozen: nothing changes for tf_keras."""
    model.get_layer("a").layers[0].trainable = True


def saved(model: Any, data: Any) -> Any:
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.keras")
        model.save(path)
        return tk.models.load_model(path), data


CELLS: dict[str, Cell] = {
    "jit_compile": Cell(compiled(jit_compile=True)),
    "steps_per_execution": Cell(compiled(steps_per_execution=2, data=lambda: make_data(rows=4, batch=2))),
    "run_eagerly": Cell(compiled(run_eagerly=True)),
    "mixed_float16": Cell(compiled(half), Asked(numeric=True)),
    "super": Cell(compiled(lambda: Steps(True))),
    "from scratch": Cell(compiled(lambda: Steps(False))),
    "recurrent": Cell(compiled(recurrent, data=sequences)),
    "embedding": Cell(compiled(embedded, data=integers)),
    "embedding, legacy": Cell(compiled(embedded, lambda: LEGACY.Adam(), data=integers)),
    "convolution": Cell(compiled(convolved, data=images)),
    "attention": Cell(compiled(attending, data=sequences)),
    "regularizers": Cell(compiled(regularized)),
    "nested": Cell(compiled(nested)),
    "nested, unfrozen inside": Cell(compiled(nested), act=unfreeze_inside, after=Asked()),
    "partial batch": Cell(compiled(data=lambda: make_data(rows=5, batch=2))),
    "frozen and compiled": Cell(compiled(), act=recompile, after=Asked()),
    "unfrozen": Cell(compiled(), act=unfreeze("a"), after=Asked(rules=("INT103",))),
    "same optimizer again": Cell(compiled(), act=refit, after=Asked(raises=True)),
    "same optimizer again, legacy": Cell(compiled(optimizer=lambda: LEGACY.Adam()), act=refit, after=Asked()),
    "saved": Cell(compiled(), act=saved, after=Asked()),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then what is done to it."""
    tk.backend.clear_session()
    assert CELLS[name].run() == []
