"""Weights that no op of the backward pass reads, as what is only added under a linear loss, in a step older than its flags."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from introspect.records import Report
from tests.oracle import ask, fit_once

pytestmark = pytest.mark.tf

X = np.random.default_rng(0).random((8, 4), dtype="float32")
Y = np.ones((8, 1), "float32")
BACKENDS = ("keras", "tf_keras")


def take_mean(target: Any, predicted: Any) -> Any:
    return tf.reduce_mean(predicted)


def make_model(keras: Any, frozen: bool, last: bool) -> Any:
    """Its optimizer has all weights from before; `last`: only the bias stands behind what was frozen."""
    layers = [keras.layers.Dense(3, activation="tanh", name="hid"), keras.layers.Dense(1, name="out")]
    if last:
        layers.append(make_shift(keras))
    model = keras.Sequential([keras.Input((4,)), *layers], name="net")
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    model.layers[-1].trainable = not frozen
    model.compile(optimizer, take_mean)
    fit_once(model, make_data())
    model.layers[-1].trainable = True
    return model


def make_shift(keras: Any) -> Any:
    class Shift(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.shift = self.add_weight(shape=(shape[-1],), initializer="zeros", name="shift")

        def call(self, inputs: Any) -> Any:
            return inputs + self.shift

    return Shift(name="add")


def make_data() -> Any:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


def look(model: Any) -> Report:
    outcome = ask(model, make_data())
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    return outcome.report


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("last", [False, True])
def test_unfrozen_without_compile(backend: str, last: bool) -> None:
    model = make_model(pytest.importorskip(backend), frozen=True, last=last)
    (finding,) = look(model).findings
    assert finding.rule == "INT103"
    assert len(finding.variables) == len(model.layers[-1].weights)
    assert finding.fix.startswith("introspect.recompile(model)")
    introspect.recompile(model)
    assert not look(model).findings


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("last", [False, True])
def test_trained_from_the_first(backend: str, last: bool) -> None:
    assert not look(make_model(pytest.importorskip(backend), frozen=False, last=last)).findings


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_linear_loss_that_a_metric_in_an_attribute_alone_takes(backend: str, frozen: bool) -> None:
    """tf_keras counts that metric's state among the model's variables; only it reads what is made with the bias."""
    keras = pytest.importorskip(backend)

    class Critic(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.critic, self.told = make_model(keras, frozen=False, last=False), keras.metrics.Mean(name="told")

        def call(self, x: Any) -> Any:
            return self.critic(x)

        def train_step(self, data: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self.critic(data[0]))
            weights = self.critic.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            self.told.update_state(loss)
            return {"told": self.told.result()}

    model = Critic()
    model.critic.layers[-1].trainable = not frozen
    model(X)
    model.compile("adam")
    fit_once(model, make_data())
    report = look(model)
    assert report.findings == ()
    (bias,) = (one for one in report.variables if "out/bias" in one.path)
    assert (bias.updated, bias.gradient) == (("no", "none") if frozen else ("yes", "dense"))
