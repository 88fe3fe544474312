"""Loops that pass variables to their tf.function as arguments, which the graph then captures none of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from tests.oracle import Asked, ask_loop  # noqa: E402

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)
X = tf.constant(np.random.default_rng(5).random((8, 4), dtype="float32"))
Y = tf.ones((8, 1))
DENSE = Asked(arrived={"*": "dense"})


def layers(package: Any) -> Any:
    return package.Sequential([package.layers.Input((4,)), package.layers.Dense(3), package.layers.Dense(1)])


def list_weights(model: Any) -> list[Any]:
    """The tf.Variables that train."""
    return [variable.value if isinstance(model, keras.Model) else variable for variable in model.trainable_variables]


def make_step(model: Any) -> Any:
    """Momentum by hand, over the weights and the state that it is passed."""

    def step(x: Any, y: Any, weights: Any, state: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        for weight, slot, gradient in zip(weights, state, tape.gradient(loss, weights), strict=True):
            slot.assign(0.9 * slot + gradient)
            weight.assign_sub(0.1 * slot)
        return loss

    return step


def make_state(weights: list[Any]) -> list[Any]:
    return [tf.Variable(tf.zeros_like(weight), trainable=False) for weight in weights]


@PACKAGES
@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("called", [False, True])
def test_weights_are_passed(package: Any, eager: bool, called: bool) -> None:
    model = layers(package)
    weights = list_weights(model)
    args = (X, Y, weights, make_state(weights))
    step = make_step(model) if eager else tf.function(make_step(model))
    if called:
        step(*args)
    assert ask_loop(step, args, model, None, DENSE).faults == []


@PACKAGES
def test_only_some_are_passed(package: Any) -> None:
    model = layers(package)
    weights = list_weights(model)[2:]
    args = (X, Y, weights, make_state(weights))
    step = tf.function(make_step(model))
    step(*args)
    outcome = ask_loop(step, args, model, None, Asked(arrived={"*dense_*": "dense", "*": "none"}, arguable=True))
    assert outcome.report is not None
    assert [row.updated for row in outcome.report.variables] == ["no", "no", "yes", "yes"]
    model.layers[0].trainable = False
    outcome = ask_loop(step, args, model, None, Asked(arrived={"*dense_*": "dense", "*": "none"}))
    assert outcome.rules == set()


@pytest.mark.parametrize("again", [False, True])
def test_an_optimizer_applies_to_what_it_is_handed(again: bool) -> None:
    model, optimizer = layers(tf_keras), tf_keras.optimizers.Adam()

    @tf.function
    def step(x: Any, y: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    weights = model.trainable_variables
    step(X, Y, weights)
    model.layers[0].trainable = False
    weights = model.trainable_variables if again else weights
    outcome = ask_loop(step, (X, Y, weights), model, optimizer)
    assert outcome.faults == []
    assert outcome.rules == (set() if again else {"INT101"})


def test_each_call_has_its_own() -> None:
    first, second, wide = (tf.Variable(tf.ones((4, width)), name=f"w{width}") for width in (1, 1, 2))

    @tf.function
    def step(weight: Any, x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ weight) ** 2)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))
        return loss

    for weight in (first, second, wide):
        step(weight, X)
    for weight in (first, second, wide):
        report = introspect.inspect(step, args=(weight, X))
        assert [(row.shape, row.updated) for row in report.variables] == [(tuple(weight.shape), "yes")]
        assert [trace.current for trace in report.traces] == [True]


@PACKAGES
def test_a_measured_step_leaves_them(package: Any) -> None:
    model = layers(package)
    weights = list_weights(model)
    state = make_state(weights)
    step = tf.function(make_step(model))
    step(X, Y, weights, state)
    before = [variable.numpy() for variable in (*weights, *state)]
    report = introspect.inspect(step, args=(X, Y, weights, state), model=model, measure=True)
    assert report.environment.warnings == ()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(X) - Y) ** 2)
    norms = [float(tf.norm(gradient)) for gradient in tape.gradient(loss, weights)]
    measured = [row.measured.gradient_norm for row in report.variables if row.measured is not None]
    assert measured == pytest.approx(norms, rel=1e-5)
    assert all(np.array_equal(old, new.numpy()) for old, new in zip(before, (*weights, *state), strict=True))
