"""tf.functions of the user's own below the step: their traces outlive compile."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.matrix.cells import Cell
from tests.matrix.models import Built, make_data
from tests.oracle import Asked, ask, randomize

pytestmark = pytest.mark.tf


def define(keras: Any) -> dict[str, Any]:
    """The models, for Keras 3 and for tf_keras."""

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.a = keras.layers.Dense(4, activation="tanh", name="a")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.b = keras.layers.Dense(4, activation="tanh", name="b")
            self.c = keras.layers.Dense(1, name="c")

        def call(self, x: Any, training: bool = False) -> Any:
            return self.c(self.b(self.norm(self.a(x), training=training)))

        def advance(self, x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            gradients = tape.gradient(loss, self.trainable_variables)
            self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
            return {"loss": loss}

    class Step(Net):
        @tf.function
        def train_step(self, data: Any) -> Any:
            return self.advance(*data)

    class Call(Net):
        @tf.function
        def call(self, x: Any, training: bool = False) -> Any:
            return super().call(x, training=training)

    class Loss(Net):
        @tf.function
        def compute(self, x: Any, y: Any) -> Any:
            return tf.reduce_mean(tf.square(self(x, training=False) - y))

        def train_step(self, data: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = self.compute(*data)
            self.optimizer.apply_gradients(
                zip(tape.gradient(loss, self.trainable_variables), self.trainable_variables, strict=True)
            )
            return {"loss": loss}

    class Below(Net):
        @tf.function
        def inner(self, x: Any, y: Any) -> Any:
            return self.advance(x, y)

        def train_step(self, data: Any) -> Any:
            return self.inner(*data)

    return {kind.__name__: kind for kind in (Step, Call, Loss, Below)}


def build(kinds: dict[str, Any], name: str, optimizer: Callable[[], Any]) -> Callable[[], Built]:
    def make() -> Built:
        model = kinds[name]()
        model(np.zeros((2, 3), "float32"))
        randomize(model)
        model.compile(optimizer(), "mse")
        return model, make_data()

    return make


def freeze(name: str) -> Callable[[Any, Any], None]:
    """Freeze and compile again, with the optimizer that there is."""

    def act(model: Any, data: Any) -> None:
        getattr(model, name).trainable = False
        model.compile(model.optimizer, "mse")

    return act


def freeze_for_other_data(model: Any, data: Any) -> Any:
    """Nothing is kept for batches of another type."""
    freeze("b")(model, data)
    return model, data.map(lambda x, y: (tf.cast(x, "float64"), y))


def unfreeze(model: Any, data: Any) -> None:
    model.b.trainable = True
    model.compile(model.optimizer, "mse")


def renew_optimizer(model: Any, data: Any) -> None:
    """The old one lives on in the model, as it does in a notebook."""
    KEPT[:] = [model.optimizer]
    model.compile(type(model.optimizer)(0.01), "mse")


KEPT: list[Any] = []


def lose_optimizer(model: Any, data: Any) -> None:
    KEPT.clear()
    model.compile(type(model.optimizer)(0.01), "mse")
    gc.collect()


def frozen(make: Callable[[], Built]) -> Callable[[], Built]:
    """The optimizer knows b, which is frozen."""

    def built() -> Built:
        model, data = make()
        model.optimizer.build(model.trainable_variables)
        freeze("b")(model, data)
        return model, data

    return built


@pytest.fixture(params=["keras", "tf_keras"])
def cells(request: pytest.FixtureRequest) -> dict[str, Cell]:
    """By name, of one Keras."""
    module = keras if request.param == "keras" else pytest.importorskip("tf_keras")
    kinds, adam = define(module), module.optimizers.Adam
    step = build(kinds, "Step", adam)
    return {
        "step frozen": Cell(step, act=freeze("b"), after=Asked(rules=("INT101",))),
        "step frozen, other data": Cell(step, act=freeze_for_other_data, after=Asked()),
        "step unfrozen": Cell(frozen(step), act=unfreeze, after=Asked(rules=("INT104",))),
        "step with a new optimizer": Cell(step, act=renew_optimizer, after=Asked(rules=("INT203",), arguable=True)),
        "step whose optimizer is gone": Cell(step, act=lose_optimizer, after=Asked(raises=True)),
        "norm frozen in call": Cell(build(kinds, "Call", adam), act=freeze("norm"), after=Asked(rules=("INT102",))),
        "dense frozen in call": Cell(build(kinds, "Call", adam), act=freeze("b"), after=Asked()),
        "loss": Cell(build(kinds, "Loss", adam), act=freeze("b"), after=Asked()),
    }


@pytest.mark.parametrize(
    "name",
    [
        "step frozen",
        "step frozen, other data",
        "step unfrozen",
        "step with a new optimizer",
        "step whose optimizer is gone",
        "norm frozen in call",
        "dense frozen in call",
        "loss",
    ],
)
def test_cell(cells: dict[str, Cell], name: str) -> None:
    """Healthy twice; then what is kept is told, and what is traced anew is not accused."""
    assert cells[name].run() == []


@pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("freezes", [True, False])
@pytest.mark.parametrize("compiles", [True, False])
def test_a_function_that_the_step_itself_traced_is_told_as_kept(package: Any, freezes: bool, compiles: bool) -> None:
    """A flag that was set since is no question of the step's age: compiled again, it calls the function's trace again."""
    model, data = build(define(package), "Below", package.optimizers.Adam)()
    model.optimizer.build(model.trainable_variables)
    model.b.trainable = freezes
    model.compile(model.optimizer, "mse")
    assert not ask(model, data).faults
    model.b.trainable = not freezes
    if compiles:
        model.compile(model.optimizer, "mse")
    outcome = ask(model, data)
    assert not outcome.faults
    assert outcome.report is not None
    (told,) = (finding for finding in outcome.report.findings if finding.severity != "info")
    assert told.rule in (("INT101",) if freezes else ("INT103", "INT104"))
    assert told.cause.startswith("inner is a tf.function of your own, with a cache of its own")
    assert told.fix.startswith("# take @tf.function from inner")
