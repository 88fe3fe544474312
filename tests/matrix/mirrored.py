"""Cells under MirroredStrategy on two logical CPUs, in a process of their own: `python -m tests.matrix.mirrored`.

Prints one JSON object: the faults of each cell.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.models import Built, dense_model, find_layer, make_data, unfreeze
from tests.matrix.test_custom_training import Base, Scratch
from tests.oracle import TOTALS, Asked, randomize

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""One for all cells: collectives of two strategies in one process are taken for each other."""


def mirrored(
    make: Callable[[], Any], data: Any = lambda: make_data(rows=8, batch=4), **arguments: Any
) -> Callable[[], Built]:
    def build() -> Built:
        with STRATEGY.scope():
            model = make()
            if not model.built:
                model(np.zeros((2, 3), "float32"))
            randomize(model)
            given = {key: value() if callable(value) else value for key, value in arguments.items()}
            model.compile(**{"optimizer": "adam", "loss": "mse", **given})
        return model, data()

    return build


def frozen() -> Any:
    model = dense_model(normalize=True)
    model.get_layer("a").trainable = False
    return model


def embedded() -> Any:
    inputs = keras.Input((3,), dtype="int32")
    h = keras.layers.Flatten()(keras.layers.Embedding(6, 4, name="b")(inputs))
    h = keras.layers.Dense(4, activation="tanh", name="a", trainable=False)(h)
    return keras.Model(inputs, keras.layers.Dense(1, name="c")(h))


def integers() -> tf.data.Dataset:
    x = np.random.default_rng(1).integers(0, 6, size=(8, 3)).astype("int32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1].astype("float32"))).batch(4)


def old() -> Any:
    import tf_keras as tk

    inputs = tk.Input((3,))
    h = tk.layers.Dense(4, activation="tanh", name="a", trainable=False)(inputs)
    h = tk.layers.BatchNormalization(name="norm")(h)
    h = tk.layers.Dense(4, activation="tanh", name="b")(h)
    return tk.Model(inputs, tk.layers.Dense(1, name="c")(h))


def legacy() -> Any:
    import tf_keras as tk

    return tk.optimizers.legacy.Adam(0.05)


def distributed() -> Any:
    """A set that the user distributed; a step of `fit` on it is a batch split between the replicas."""
    return STRATEGY.experimental_distribute_dataset(make_data(rows=8, batch=4))


def from_function() -> Any:
    """The same, made for each worker by the user's function: a replica is given a batch of its own."""
    return STRATEGY.distribute_datasets_from_function(lambda _: make_data(rows=8, batch=2))


class Pair(keras.Model):  # type: ignore[name-defined, misc]
    """Has two optimizers; what they keep is made in the step unless `build` makes it before."""

    def __init__(self, first: Any) -> None:
        super().__init__()
        self.first, self.last = first, keras.layers.Dense(1, name="last")

    def call(self, x: Any) -> Any:
        return self.last(self.first(x))

    def compile(self, build: bool, **told: Any) -> None:
        super().compile("sgd", **told)
        self.optimizers = [keras.optimizers.Adam(0.05), keras.optimizers.Adam(0.05)]
        if build:
            for optimizer, layer in zip(self.optimizers, (self.first, self.last), strict=True):
                optimizer.build(layer.trainable_variables)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        for optimizer, layer in zip(self.optimizers, (self.first, self.last), strict=True):
            optimizer.apply_gradients(
                zip(tape.gradient(loss, layer.trainable_weights), layer.trainable_weights, strict=True)
            )
        return {"loss": loss}


def pair(build: bool) -> Callable[[], Built]:
    def make() -> Any:
        return Pair(keras.layers.Dense(4, activation="tanh", name="b"))

    def give() -> Built:
        with STRATEGY.scope():
            model = make()
            model(np.zeros((2, 3), "float32"))
            randomize(model)
            model.compile(build, loss="mse")
        return model, make_data(rows=8, batch=4)

    return give


def fit_step(model: Any, data: Any) -> None:
    """tf_keras wants to know how many steps a distributed set has."""
    model.fit(data, steps_per_epoch=1, verbose=0)


def recompile(model: Any, data: Any) -> None:
    find_layer(model, "b").trainable = False
    with model.distribute_strategy.scope():
        model.compile("sgd", "mse")


def evaluate_and_unfreeze(model: Any, data: Any) -> None:
    model.evaluate(data, verbose=0)
    find_layer(model, "a").trainable = True


STATISTICS = Asked(kinds={"norm/moving_*": "statistics", "c/*": "gradient"})
CELLS: dict[str, Cell] = {
    "adam": Cell(mirrored(frozen), STATISTICS),
    "sgd": Cell(mirrored(frozen, optimizer="sgd"), STATISTICS),
    "momentum and decay": Cell(
        mirrored(frozen, optimizer=lambda: keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01)), STATISTICS
    ),
    "clipped": Cell(mirrored(frozen, optimizer=lambda: keras.optimizers.Adam(0.05, global_clipnorm=0.5))),
    "accumulation": Cell(
        mirrored(frozen, optimizer=lambda: keras.optimizers.SGD(0.05, gradient_accumulation_steps=2)),
        Asked(raises=True),
    ),
    "embedding": Cell(mirrored(embedded, integers)),
    "from scratch": Cell(mirrored(lambda: Scratch(normalize=True))),
    "subclassed": Cell(mirrored(Base)),
    "frozen and compiled": Cell(mirrored(frozen), act=recompile, after=Asked()),
    "unfrozen": Cell(mirrored(frozen), act=unfreeze("a"), after=Asked(rules=("INT103",))),
    "evaluated, then unfrozen": Cell(mirrored(frozen), act=evaluate_and_unfreeze, after=Asked(rules=("INT103",))),
    "a distributed set": Cell(mirrored(frozen, distributed), STATISTICS),
    "a distributed set from a function": Cell(mirrored(frozen, from_function), STATISTICS),
    "a distributed set, tf_keras": Cell(mirrored(old, distributed), step=fit_step),
    "several steps a call": Cell(mirrored(frozen, steps_per_execution=2), Asked(raises=True), act=None),
    "several steps a call, eagerly": Cell(mirrored(frozen, steps_per_execution=2, run_eagerly=True), act=None),
    "several steps a call, tf_keras": Cell(mirrored(old, steps_per_execution=2)),
    "optimizers built in the step": Cell(pair(build=False), Asked(raises=True), act=None),
    "optimizers built before it": Cell(pair(build=True)),
    "tf_keras": Cell(mirrored(old)),
    "tf_keras, legacy": Cell(mirrored(old, optimizer=legacy)),
}


def main(names: list[str]) -> None:
    """Run all cells, or those named."""
    faults = {}
    for name in names or CELLS:
        try:
            faults[name] = CELLS[name].run()
        except Exception as error:
            faults[name] = [f"{type(error).__name__}: {error}"]
    print(json.dumps({"faults": faults, "totals": TOTALS}))


if __name__ == "__main__":
    main(sys.argv[1:])
