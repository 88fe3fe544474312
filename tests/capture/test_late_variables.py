"""Steps that make variables in a call that is not their first, which TensorFlow refuses; and those whose first call raised."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.oracle import Asked, ask, ask_loop

pytestmark = pytest.mark.tf

BACKENDS = ("keras", "tf_keras")
X = np.random.default_rng(0).random((8, 3), dtype="float32")


def make_net(keras: Any) -> Any:
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="hid"), keras.layers.Dense(1, name="out")])


def make_step() -> Any:
    """A loop's step that is handed its model and optimizer, as tutorials write it."""

    @tf.function
    def train_step(model: Any, x: Any, optimizer: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(x) ** 2)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return train_step


@pytest.mark.parametrize("backend", BACKENDS)
def test_loop_with_a_new_optimizer(backend: str) -> None:
    keras = importlib.import_module(backend)
    model, step, batch = make_net(keras), make_step(), tf.constant(X)
    first, second = keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1)
    step(model, batch, first)
    report = introspect.inspect(step, args=(model, batch, second), model=model, optimizer=second, try_fixes=True)
    (finding,) = report.findings
    assert (finding.rule, finding.verified) == ("INT202", True)
    assert "Adam has variables still to make" in finding.message
    assert "the step's first call is over" in finding.cause
    assert finding.fix.startswith("second.build(model.trainable_variables)")
    assert report.traces[-1].signature == "(object, float32[8, 3], object)"
    with pytest.raises(ValueError, match="only supports singleton"):
        step(model, batch, second)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("new", [False, True])
def test_loop_whose_optimizer_is_built(backend: str, new: bool) -> None:
    """Another batch with the first optimizer, or another optimizer that was built, is traced anew and trains."""
    keras = importlib.import_module(backend)
    model, step, optimizer = make_net(keras), make_step(), keras.optimizers.Adam(0.1)
    step(model, tf.constant(X), optimizer)
    if new:
        optimizer = keras.optimizers.Adam(0.1)
        optimizer.build(model.trainable_variables)
    outcome = ask_loop(step, (model, tf.constant(X[:4]), optimizer), model, optimizer)
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    assert not outcome.report.findings


def test_loop_that_makes_a_variable_for_each_batch_size() -> None:
    kept: dict[int, Any] = {}

    @tf.function
    def step(x: Any) -> Any:
        if x.shape[0] not in kept:
            kept[x.shape[0]] = tf.Variable(1.0)
        return kept[x.shape[0]].assign_add(tf.reduce_sum(x))

    assert introspect.inspect(step, args=(tf.constant(X),)).ok
    step(tf.constant(X))
    report = introspect.inspect(step, args=(tf.constant(X[:2]),))
    (finding,) = (one for one in report.findings if one.rule == "INT202")
    assert finding.fix.startswith("# make them once")
    with pytest.raises(ValueError, match="singleton"):
        step(tf.constant(X[:2]))


def make_pair(keras: Any) -> Any:
    """A model whose train_step has an optimizer that `fit` does not build beforehand."""

    class Pair(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="pair")
            self.net = make_net(keras)

        def compile(self, own: Any) -> None:
            super().compile()
            self.own = own

        def train_step(self, x: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.net(x) ** 2)
            weights = self.net.trainable_variables
            self.own.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Pair()
    model.compile(keras.optimizers.Adam(0.1))
    return model


def make_data(width: int = 3) -> Any:
    return tf.data.Dataset.from_tensor_slices(np.ones((8, width), "float32")).batch(4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_fit_after_one_that_raised(backend: str) -> None:
    """The first batches did not fit: the right ones raise as well, until the model is compiled again."""
    model = make_pair(importlib.import_module(backend))
    with pytest.raises(ValueError, match=r"."):
        model.fit(make_data(width=5), verbose=0)
    outcome = ask(model, make_data(), Asked(raises=True))
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    (finding,) = outcome.report.findings
    assert finding.rule == "INT202"
    assert "Creating variables on a non-first call" in finding.message
    assert str(outcome.error).startswith("ValueError: Creating variables on a non-first call")
    introspect.recompile(model)
    outcome = ask(model, make_data())
    assert not outcome.faults, outcome.faults


@pytest.mark.parametrize("backend", BACKENDS)
def test_fit_after_one_that_raised_when_it_was_built(backend: str) -> None:
    """An optimizer that has its variables goes on after the same."""
    model = make_pair(importlib.import_module(backend))
    model.own.build(model.net.trainable_variables)
    with pytest.raises(ValueError, match=r"."):
        model.fit(make_data(width=5), verbose=0)
    outcome = ask(model, make_data())
    assert not outcome.faults, outcome.faults
