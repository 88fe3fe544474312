"""Train steps that leave variables out, each by a way of its own: the finding says by which."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import PLAIN, Asked, ask, ask_loop, randomize

pytestmark = pytest.mark.tf

layers = keras.layers
UNASKED = "the step never asks a tape for "
UNANSWERED = "gives None: part of that way stands outside of the tape"
DROPPED = "the step computes their gradients and does not apply them"


class Net(keras.Model):
    """Layers a and b; `whole` makes the healthy twin."""

    def __init__(self, whole: bool) -> None:
        super().__init__(name="net")
        self.a, self.b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(1, name="b")
        self.whole, self.traced = whole, 0

    def call(self, x: Any) -> Any:
        return self.b(self.a(x))

    def apply(self, gradients: Any, variables: Any) -> None:
        self.optimizer.apply_gradients(zip(gradients, variables, strict=False))

    def measure(self, data: Any) -> Any:
        x, y = data
        return tf.reduce_mean((self(x) - y) ** 2)


class AsksForSome(Net):
    def train_step(self, data: Any) -> Any:
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.measure(data)
        self.apply(tape.gradient(loss, variables if self.whole else variables[:2]), variables)
        return {"loss": loss}


class AppliesSome(Net):
    def train_step(self, data: Any) -> Any:
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.measure(data)
        self.apply(tape.gradient(loss, variables), variables if self.whole else variables[:2])
        return {"loss": loss}


class AppliesSomeInAFunction(Net):
    """The tape stands in a function that is traced, and kept, for itself."""

    def train_step(self, data: Any) -> Any:
        loss, gradients = self.differentiate(*data)
        self.apply(gradients, self.trainable_variables if self.whole else self.trainable_variables[:2])
        return {"loss": loss}

    @tf.function
    def differentiate(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.measure((x, y))
        return loss, tape.gradient(loss, self.trainable_variables)


class SeesSome(Net):
    def train_step(self, data: Any) -> Any:
        x, y = data
        before = None if self.whole else self.b.kernel + tf.tanh(self.b.bias)
        with tf.GradientTape() as tape:
            after = self.b.kernel + tf.tanh(self.b.bias) if before is None else before
            loss = tf.reduce_mean((self.a(x) @ after - y) ** 2)
        self.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class LearnsItsRate(Net):
    """An inner step on copies, whose rate is a weight of the model's."""

    def build(self, shape: Any) -> None:
        self.rate = self.add_weight(shape=(), initializer="ones", name="rate")

    def train_step(self, data: Any) -> Any:
        x, y = data
        weights = [*self.a.trainable_variables, *self.b.trainable_variables]
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                loss = self.measure(data)
            stepped = [w - self.rate * g for w, g in zip(weights, inner.gradient(loss, weights), strict=True)]
            loss = tf.reduce_mean((tf.tanh(x @ stepped[0] + stepped[1]) @ stepped[2] + stepped[3] - y) ** 2)
        trained = [*weights, self.rate] if self.whole else weights
        self.apply(outer.gradient(loss, trained), trained)
        return {"loss": loss}


class TakesTurns(Net):
    """By a count of Python's, which stands still once the step is traced."""

    def train_step(self, data: Any) -> Any:
        self.traced += 1
        variables = self.trainable_variables
        self.optimizer.build(variables)
        chosen = variables if self.whole else variables[:2] if self.traced % 2 else variables[2:]
        with tf.GradientTape() as tape:
            loss = self.measure(data)
        self.apply(tape.gradient(loss, chosen), chosen)
        return {"loss": loss}


def build(kind: Any, whole: bool, fitted: bool) -> tuple[Any, Any]:
    keras.utils.clear_session()
    model, data = kind(whole), make_data()
    model.build((None, 3))
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile("adam")
    if fitted:
        model.fit(data, verbose=0)
    return model, data


CASES = [
    (AsksForSome, UNASKED, 2),
    (AppliesSome, DROPPED, 2),
    (AppliesSomeInAFunction, DROPPED, 2),
    (SeesSome, UNANSWERED, 2),
    (LearnsItsRate, UNASKED, 1),
    (TakesTurns, UNASKED, 2),
]


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize(("kind", "told", "number"), CASES, ids=[kind.__name__ for kind, *_ in CASES])
def test_step_that_leaves_variables_out(kind: Any, told: str, number: int, fitted: bool) -> None:
    model, data = build(kind, False, fitted)
    if fitted and kind is TakesTurns:
        rule, told = "INT103", "decides in Python, while the step is traced, which variables it trains"
    elif fitted and kind is AppliesSomeInAFunction:
        rule, told = "INT104", "drops the gradient before the optimizer applies it"  # kept traces are not asked again
    else:
        rule = "INT104"
    (finding,) = [found for found in introspect.inspect(model, data=data).findings if found.severity != "info"]
    assert (finding.rule, finding.certainty, len(finding.variables)) == (rule, "proven", number)
    assert told in finding.cause
    assert ask(model, data, Asked(rules=(rule,))).faults == []


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize("kind", [kind for kind, *_ in CASES], ids=[kind.__name__ for kind, *_ in CASES])
def test_healthy_twin(kind: Any, fitted: bool) -> None:
    outcome = ask(*build(kind, True, fitted))
    assert (outcome.faults, outcome.rules) == ([], set())


@pytest.mark.parametrize("whole", [False, True])
def test_loop_of_the_users(whole: bool) -> None:
    model, data = build(Net, True, False)
    optimizer, variables = keras.optimizers.SGD(0.1), model.trainable_variables
    asked = variables if whole else variables[:2]

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = model.measure((x, y))
        optimizer.apply_gradients(zip(tape.gradient(loss, asked), asked, strict=True))
        return loss

    args = next(iter(data))
    report = introspect.inspect(step, args=args, model=model, optimizer=optimizer)
    causes = [finding.cause for finding in report.findings]
    assert len(causes) == (not whole)
    assert all(UNASKED in cause for cause in causes)
    assert ask_loop(step, args, model, optimizer, PLAIN if whole else Asked(rules=("INT104",))).faults == []


def test_lines_that_ask_are_shown() -> None:
    model, data = build(AsksForSome, False, False)
    (finding,) = introspect.inspect(model, data=data).findings
    (step,) = [step for step in finding.evidence if step.note == "the step asks for gradients here, of other variables"]
    assert step.location is not None
    assert step.location.function == "train_step"
