"""Gradients that are applied to other variables than they were asked for, of equal shape: only the tapes tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.oracle import PLAIN, ask
from tests.rules.reported import Case, batches, require_silent, require_told, x

pytestmark = pytest.mark.tf

layers = keras.layers
Step = Callable[[Any, list[Any], list[Any]], list[tuple[Any, Any]]]


class Alike(keras.Model):
    """Layers of one shape; `pair` says which gradient goes to which variable."""

    def __init__(self, pair: Step) -> None:
        super().__init__(name="alike")
        self.one, self.two = (layers.Dense(4, activation="tanh", name=name) for name in ("one", "two"))
        self.pair = pair

    def call(self, inputs: Any) -> Any:
        return self.two(self.one(inputs))

    def train_step(self, data: Any) -> Any:
        inputs, target = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(inputs) - target) ** 2)
        self.optimizer.apply_gradients(self.pair(lambda asked: tape.gradient(loss, asked), *self.halves()))
        return {"loss": loss}

    def halves(self) -> tuple[list[Any], list[Any]]:
        return self.one.trainable_variables, self.two.trainable_variables


def swapped(ask_for: Any, one: list[Any], two: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(ask_for(one + two), two + one, strict=True))


def other_half(ask_for: Any, one: list[Any], two: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(ask_for(one), two, strict=True))


def right(ask_for: Any, one: list[Any], two: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(ask_for(two + one), two + one, strict=True))


def clipped(ask_for: Any, one: list[Any], two: list[Any]) -> list[tuple[Any, Any]]:
    gradients, _ = tf.clip_by_global_norm(ask_for(one + two), 0.1)
    return list(zip(gradients, one + two, strict=True))


def flattened(ask_for: Any, one: list[Any], two: list[Any]) -> list[tuple[Any, Any]]:
    whole = tf.concat([tf.reshape(gradient, [-1]) for gradient in ask_for(one + two)], 0)
    sizes = [int(np.prod(variable.shape)) for variable in one + two]
    parts = tf.split(whole / tf.norm(whole), sizes)
    return [(tf.reshape(part, v.shape), v) for part, v in zip(parts, one + two, strict=True)]


def alike(pair: Step, optimizer: Any = "sgd", eager: bool = False) -> Any:
    model = Alike(pair)
    model(x)
    model.compile(optimizer, run_eagerly=eager)
    return model


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("eager", [False, True])
def test_swapped_gradients_are_told(optimizer: str, eager: bool) -> None:
    outcome = ask(alike(swapped, optimizer, eager), batches(), PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = outcome.report.findings
    assert finding.rule == "INT302"
    assert "alike/one/kernel with that of alike/two/kernel" in finding.message
    assert len(finding.variables) == 4


def test_what_is_given_to_another_is_told_where_it_is_missing() -> None:
    said = ("gives them to the optimizer for alike/two/kernel and alike/two/bias",)
    require_told(Case(lambda: alike(other_half), "INT104", said, ("dropped by a filter",)))
    require_told(Case(lambda: alike(other_half), "INT302", ("alike/two/bias with that of alike/one/bias",)))


@pytest.mark.parametrize("pair", [right, clipped, flattened], ids=lambda pair: pair.__name__)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_own_gradients_are_no_finding(pair: Step, optimizer: str) -> None:
    require_silent(lambda: alike(pair, optimizer))
    assert not introspect.inspect(alike(pair, optimizer), data=batches()).findings


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_step_that_has_run_tells_by_its_graph(optimizer: str) -> None:
    """The kernels' gradients are made of what the other one is multiplied with; of biases the graph does not show it."""
    model = alike(swapped, optimizer)
    model.fit(batches(), verbose=0)
    outcome = ask(model, batches(), PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = outcome.report.findings
    assert finding.rule == "INT302"
    assert set(finding.variables) == {"alike/one/kernel", "alike/two/kernel"}
    assert "alike/one/kernel with that of alike/two/kernel" in finding.message


@pytest.mark.parametrize("pair", [right, clipped, flattened], ids=lambda pair: pair.__name__)
def test_a_step_that_has_run_with_its_own_gradients(pair: Step) -> None:
    model = alike(pair, "adam")
    model.fit(batches(), verbose=0)
    outcome = ask(model, batches(), PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    assert not outcome.report.findings


def test_kernels_that_share_an_input_or_are_used_twice() -> None:
    """Two heads of one input, one of them tied: no graph tells whose gradient it is, and nothing is said."""
    model = alike(swapped)
    model.call = lambda inputs: model.one(inputs) + model.two(model.two(inputs))  # type: ignore[method-assign]
    model.fit(batches(), verbose=0)
    assert not introspect.inspect(model, data=batches()).findings


@pytest.mark.parametrize("swap", [True, False])
def test_convolutions_in_a_step_that_has_run(swap: bool) -> None:
    inputs = keras.Input((4, 4, 2))
    hidden = layers.Conv2D(2, 3, padding="same", use_bias=False, activation="tanh", name="one")(inputs)
    model = keras.Model(inputs, layers.Conv2D(2, 3, padding="same", use_bias=False, name="two")(hidden), name="alike")
    optimizer = keras.optimizers.Adam(0.01)

    @tf.function
    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(batch) ** 2)
        weights = model.trainable_variables
        gradients = tape.gradient(loss, weights)
        optimizer.apply_gradients(zip(gradients[::-1] if swap else gradients, weights, strict=True))
        return loss

    batch = tf.random.stateless_normal((3, 4, 4, 2), (1, 2))
    step(batch)
    findings = introspect.inspect(step, args=(batch,), model=model, optimizer=optimizer).findings
    assert [len(finding.variables) for finding in findings if finding.rule == "INT302"] == ([2] if swap else [])


class Bounded(layers.Layer):
    """A kernel that is rounded between two bounds: one op yields the gradients of all three."""

    def build(self, shape: Any) -> None:
        spread = keras.initializers.RandomUniform(-1.0, 1.0, seed=0)
        self.kernel = self.add_weight(shape=(shape[-1], 3), initializer=spread, name="kernel")
        self.low, self.high = (
            self.add_weight(shape=(), initializer=keras.initializers.Constant(bound), name=name)
            for name, bound in (("low", -0.5), ("high", 0.5))
        )

    def call(self, inputs: Any) -> Any:
        kept = (tf.convert_to_tensor(one) for one in (self.kernel, self.low, self.high))
        return inputs @ tf.quantization.fake_quant_with_min_max_vars(*kept)


class Apart(keras.Model):
    """Trains one layer, whose gradients are given to its variables in an order of their own."""

    def __init__(self, layer: Any, order: tuple[int, ...]) -> None:
        super().__init__(name="apart")
        self.layer = layer
        self.order = order

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.layer(inputs, training=training) if isinstance(self.layer, NORM) else self.layer(inputs)

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(data, training=True) - 1.0))
        variables = self.layer.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(
            [(gradients[one], variable) for one, variable in zip(self.order, variables, strict=True)]
        )
        return {"loss": loss}


NORM = layers.BatchNormalization


@pytest.mark.parametrize(
    ("make", "shape", "order", "mixed"),
    [
        (Bounded, (8, 4), (0, 1, 2), set()),
        (Bounded, (8, 4), (0, 2, 1), {"low", "high"}),
        (NORM, (4, 3, 3, 2), (0, 1), set()),
        (NORM, (4, 3, 3, 2), (1, 0), {"gamma", "beta"}),
    ],
    ids=["bounds", "bounds swapped", "norm", "norm swapped"],
)
def test_gradients_that_one_op_yields_by_several_names(make: Any, shape: Any, order: Any, mixed: set[str]) -> None:
    batch = np.random.default_rng(0).normal(size=shape).astype("float32")
    model = Apart(make(name="layer"), order)
    model(batch)
    model.compile("sgd")
    outcome = ask(model, tf.data.Dataset.from_tensors(batch), PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    told = {path.rpartition("/")[2] for finding in outcome.report.findings for path in finding.variables}
    assert told == mixed
    assert {finding.rule for finding in outcome.report.findings} == ({"INT302"} if mixed else set())
