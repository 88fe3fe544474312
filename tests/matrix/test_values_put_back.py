"""Steps that assign what they read before: where nothing of an update stays, the variable does not train."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import PLAIN, Asked, ask, randomize

pytestmark = pytest.mark.tf

layers = keras.layers

SHAPES = ((12, (3, 4)), (4, (4,)))
"""Sizes and shapes of layer a's weights."""


class Net(keras.Model):
    """Layers a and b, and averages of their weights."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(name="net")
        self.a, self.b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(1, name="b")
        self.a.trainable = not frozen

    def build(self, shape: Any) -> None:
        self.a.build((None, 3))
        self.b.build((None, 4))
        self.kept = [
            self.add_weight(shape=v.shape, trainable=False, name=f"kept_{i}") for i, v in enumerate(self.all())
        ]

    def all(self) -> list[Any]:
        return [*self.a.weights, *self.b.weights]

    def call(self, x: Any) -> Any:
        return self.b(self.a(x))

    def differentiate(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        return loss, tape.gradient(loss, self.trainable_variables)

    def descend(self, data: Any) -> Any:
        loss, gradients = self.differentiate(data)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return loss

    def read(self, variables: list[Any]) -> list[Any]:
        return [tf.convert_to_tensor(v) for v in variables]

    def put(self, variables: list[Any], values: list[Any]) -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


class PutsAllBack(Net):
    def train_step(self, data: Any) -> Any:
        saved = self.read(self.all())
        loss = self.descend(data)
        self.put(self.all(), saved)
        return {"loss": loss}


class PutsAllBackTwice(Net):
    """Two updates, each taken back for itself; in calls of a function."""

    @tf.function
    def one(self, x: Any, y: Any) -> Any:
        saved = self.read(self.all())
        loss = self.descend((x, y))
        self.put(self.all(), saved)
        return loss

    def train_step(self, data: Any) -> Any:
        self.one(*data)
        return {"loss": self.one(*data)}


class KeepsInVariables(Net):
    """What is put back was kept in variables meanwhile."""

    def train_step(self, data: Any) -> Any:
        self.put(self.kept, self.read(self.all()))
        loss = self.descend(data)
        self.put(self.all(), self.read(self.kept))
        return {"loss": loss}


class PutsSomeBack(Net):
    def train_step(self, data: Any) -> Any:
        saved = self.read(self.a.weights)
        loss = self.descend(data)
        self.put(self.a.weights, saved)
        return {"loss": loss}


class SetsZeros(Net):
    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        self.put(self.a.weights, [tf.zeros_like(one) for one in self.read(self.a.weights)])
        return {"loss": loss}


class CopiesPretrained(Net):
    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        self.put(self.a.weights, self.read(self.kept[:2]))
        return {"loss": loss}


class CopiesTensors(Net):
    """The same from tensors that the step captures: TensorFlow hands it the same values at each call."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.tensors = tuple(
            tf.constant(np.linspace(0.1, 1.0, size).reshape(shape), tf.float32) for size, shape in SHAPES
        )

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        self.put(self.a.weights, list(self.tensors))
        return {"loss": loss}


class MasksByTensors(CopiesTensors):
    """What is assigned is made of what was trained, and of captured tensors."""

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        self.put(self.a.weights, [v * mask for v, mask in zip(self.read(self.a.weights), self.tensors, strict=True)])
        return {"loss": loss}


class CopiesArrays(Net):
    """In Python, eagerly: values that another step may find changed, and does here."""

    convert = staticmethod(np.asarray)

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        self.arrays = [self.convert(np.zeros(shape, "float32")) for _, shape in SHAPES]

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        new = [self.convert(v.numpy()) for v in self.a.weights]
        self.put(self.a.weights, self.arrays)
        self.arrays = new
        return {"loss": loss}


class KeepsTensors(CopiesArrays):
    convert = staticmethod(tf.constant)


class Constrained(Net):
    """A constraint that gives the same values whatever it is given."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__(frozen)
        held = {f"{part}_constraint": lambda value: tf.ones(value.shape) * 0.1 for part in ("kernel", "bias")}
        self.a = layers.Dense(4, activation="tanh", name="a", **held)

    def train_step(self, data: Any) -> Any:
        return {"loss": self.descend(data)}


class SetsZerosFirst(Net):
    """Each step starts at zeros, and ends elsewhere."""

    def train_step(self, data: Any) -> Any:
        self.put(self.a.weights, [0.1 * tf.ones_like(one) for one in self.read(self.a.weights)])
        return {"loss": self.descend(data)}


class SetsZerosWhereWorse(Net):
    """A branch sets zeros; here it is never taken."""

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)

        def put() -> Any:
            self.put(self.a.weights, [tf.zeros_like(one) for one in self.read(self.a.weights)])
            return tf.constant(0)

        tf.cond(loss < -1.0, put, lambda: tf.constant(0))
        return {"loss": loss}


class SetsOneRow(Net):
    """Padding: one row is set to zeros, the others train."""

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        (kernel,) = self.read(self.a.weights[:1])
        self.a.kernel.assign(tf.concat([tf.zeros_like(kernel[:1]), kernel[1:]], 0))
        return {"loss": loss}


class CopiesOther(Net):
    """Weights that are tied by an assign after each step: they move with the other's."""

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        self.a.bias.assign(tf.reshape(self.b.kernel, [4]))
        return {"loss": loss}


class KeepsTheNew(Net):
    """What the variables keep is what the update made."""

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        self.put(self.kept, self.read(self.all()))
        self.put(self.all(), self.read(self.kept))
        return {"loss": loss}


class SavesAfterwards(Net):
    """Evaluates with its averages, and puts the trained weights back."""

    def train_step(self, data: Any) -> Any:
        loss = self.descend(data)
        for kept, variable in zip(self.kept, self.all(), strict=True):
            kept.assign(0.9 * kept + 0.1 * variable)
        saved = self.read(self.all())
        self.put(self.all(), self.read(self.kept))
        measured = tf.reduce_mean(self(data[0]))
        self.put(self.all(), saved)
        return {"loss": loss, "measured": measured}


class ClimbsFirst(Net):
    """SAM: the gradient is that of weights a step uphill, which are put back before it is applied."""

    def train_step(self, data: Any) -> Any:
        saved = self.read(self.trainable_variables)
        _, gradients = self.differentiate(data)
        for variable, gradient in zip(self.trainable_variables, gradients, strict=True):
            variable.assign_add(0.1 * gradient)
        loss, gradients = self.differentiate(data)
        self.put(self.trainable_variables, saved)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class ClimbsFrozenToo(Net):
    """The same over all weights: what is frozen is where it was."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        saved = self.read(self.all())
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x) - y) ** 2)
        for variable, gradient in zip(self.all(), tape.gradient(loss, self.all()), strict=True):
            variable.assign_add(0.1 * gradient)
        loss, gradients = self.differentiate(data)
        self.put(self.all(), saved)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class GoesHalfway(Net):
    """Reptile, Lookahead: what is assigned is between what was read and what came of it."""

    def train_step(self, data: Any) -> Any:
        saved = self.read(self.all())
        self.descend(data)
        loss = self.descend(data)
        self.put(self.all(), [old + 0.5 * (new - old) for old, new in zip(saved, self.read(self.all()), strict=True)])
        return {"loss": loss}


class PutsBackTheSecond(Net):
    """What was read between two updates holds the first."""

    def train_step(self, data: Any) -> Any:
        self.descend(data)
        saved = self.read(self.all())
        loss = self.descend(data)
        self.put(self.all(), saved)
        return {"loss": loss}


class PutsBackWhereWorse(Net):
    """A branch puts the values back; here it is never taken."""

    def train_step(self, data: Any) -> Any:
        saved = self.read(self.all())
        loss = self.descend(data)

        def put() -> Any:
            self.put(self.all(), saved)
            return tf.constant(0)

        tf.cond(loss < -1.0, put, lambda: tf.constant(0))
        return {"loss": loss}


class PutsBackTheNegative(Net):
    """What is assigned is made of what was read, and not the same."""

    def train_step(self, data: Any) -> Any:
        saved = self.read(self.a.weights[1:])
        loss = self.descend(data)
        self.put(self.a.weights[1:], [-part for part in saved])
        return {"loss": loss}


def build(kind: Any, frozen: bool = False, **given: Any) -> tuple[Any, Any]:
    keras.utils.clear_session()
    model, data = kind(frozen), make_data()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), **given)
    return model, data


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize(
    ("kind", "number", "given"),
    [
        (PutsAllBack, 4, {}),
        (PutsAllBackTwice, 4, {}),
        (PutsSomeBack, 2, {}),
        (KeepsInVariables, 4, {}),
        (PutsAllBack, 4, {"steps_per_execution": 2}),
        (PutsAllBack, 4, {"jit_compile": True}),
        (PutsAllBack, 4, {"run_eagerly": True}),
    ],
)
def test_nothing_stays(kind: Any, number: int, given: dict[str, Any], fitted: bool) -> None:
    model, data = build(kind, **given)
    if fitted:
        model.fit(data, verbose=0)
        randomize(model)
    report = introspect.inspect(model, data=data)
    (finding,) = [found for found in report.findings if found.severity != "info"]
    assert (finding.rule, finding.certainty, len(finding.variables)) == ("INT103", "proven", number)
    assert "nothing of the update stays" in finding.cause
    row = report.variable("net/a/kernel")
    assert (row.updated, row.gradient, row.writes) == ("no", "dense", ())
    assert ask(model, data, Asked(rules=("INT103",))).faults == []


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize("kind", [SetsZeros, CopiesPretrained, CopiesTensors, Constrained])
def test_a_fixed_value_is_put_over_it(kind: Any, fitted: bool) -> None:
    model, data = build(kind)
    if fitted:
        model.fit(data, verbose=0)
    report = introspect.inspect(model, data=data)
    (finding,) = [found for found in report.findings if found.severity != "info"]
    assert (finding.rule, finding.certainty) == ("INT103", "proven")
    assert set(finding.variables) == {"net/a/kernel", "net/a/bias"}
    assert "a value that is the same at each step" in finding.cause
    model.fit(data, steps_per_epoch=1, verbose=0)  # from here on it holds that value
    assert ask(model, data, Asked(rules=("INT103",))).faults == []


@pytest.mark.parametrize("kind", [CopiesArrays, KeepsTensors])
def test_what_python_holds_may_change(kind: Any) -> None:
    """Eager: the value of this step tells nothing of the next; it is said that this is not known."""
    model, data = build(kind, run_eagerly=True)
    model.fit(data, verbose=0)
    before = model.a.kernel.numpy()
    report = introspect.inspect(model, data=data)
    row = report.variable("net/a/kernel")
    assert (row.updated, row.gradient) == ("unknown", "dense")
    assert "only Python knows" in (row.reason or "")
    assert "INT103" not in {finding.rule for finding in report.findings}
    assert report.variable("net/b/kernel").updated == "yes"
    model.fit(data, verbose=0)
    assert (model.a.kernel.numpy() != before).any()


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize(
    "kind",
    [
        SavesAfterwards,
        MasksByTensors,
        ClimbsFirst,
        GoesHalfway,
        PutsBackTheSecond,
        PutsBackWhereWorse,
        SetsZerosFirst,
        SetsZerosWhereWorse,
        SetsOneRow,
        CopiesOther,
        KeepsTheNew,
    ],
)
def test_something_stays(kind: Any, fitted: bool) -> None:
    model, data = build(kind)
    if fitted:
        model.fit(data, verbose=0)
    outcome = ask(model, data, PLAIN)
    assert outcome.faults == []
    assert "INT103" not in outcome.rules
    assert all(outcome.report.variable(v.path).updated == "yes" for v in model.trainable_variables)


def test_frozen_weights_are_where_they_were() -> None:
    outcome = ask(*build(ClimbsFrozenToo, frozen=True), Asked(arrived={"net/a/*": "dense"}))
    assert (outcome.faults, outcome.rules) == ([], set())


def test_another_value_than_was_read() -> None:
    model, data = build(PutsBackTheNegative)
    report = introspect.inspect(model, data=data)
    assert report.variable("net/a/bias").updated == "yes"
