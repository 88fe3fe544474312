"""A Sequential that a model holds and that was never built: tf_keras raises wherever all weights are asked for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect
from introspect.errors import NotBuiltError, StepError
from tests.oracle import ask_loop

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
X, Y = np.ones((8, 3), "float32"), np.ones((8, 1), "float32")


def make(package: Any, calls: bool, whole: bool = False) -> Any:
    """A head that is built, and a part that is not; `whole`: the step asks for all weights, and not for the head's."""

    class Net(package.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.part = package.Sequential([package.layers.Dense(3, name="a")], name="part")
            self.head = package.Sequential([package.layers.Input((3,)), package.layers.Dense(1, name="b")], name="head")

        def call(self, x: Any) -> Any:
            return self.head(self.part(x) if calls else x)

        def train_step(self, data: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(data[0]) - data[1]) ** 2)
            weights = (self if whole or calls else self.head).trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Net()
    model.compile("sgd", "mse")
    return model


@PACKAGES
def test_a_part_that_the_step_builds_is_read_as_it_will_be(package: Any) -> None:
    report = introspect.inspect(make(package, True), data=(X, Y))
    assert report.ok
    assert len([row for row in report.variables if row.updated == "yes"]) == 4
    with pytest.raises(NotBuiltError, match="the inputs of model 'net' are not known; pass data="):
        introspect.inspect(make(package, True))


def test_one_that_no_step_builds_ends_the_fit() -> None:
    data = tf.data.Dataset.from_tensors((X, Y))
    model = make(tf_keras, False)
    for _ in range(2):
        report = introspect.inspect(model, data=data)
        (told,) = report.findings
        assert told.rule == "INT202"
        assert "raises at its end: ValueError: Weights for model 'part' have not yet been created" in told.message
        with pytest.raises(ValueError, match="Weights for model 'part'"):
            model.fit(data, verbose=0)
    model.part.build((None, 3))
    report = introspect.inspect(model, data=data)
    assert "INT202" not in {one.rule for one in report.findings}
    model.fit(data, verbose=0)


def test_legacy_optimizers_of_tf_keras_and_keras_3_ask_for_none() -> None:
    legacy = make(tf_keras, False)
    legacy.compile(tf_keras.optimizers.legacy.SGD(), "mse")
    for model in (legacy, make(keras, False)):
        assert introspect.inspect(model, data=(X, Y)).ok
        model.fit(X, Y, verbose=0)


def test_a_step_that_asks_for_all_weights_is_told_what_to_do() -> None:
    with pytest.raises(StepError, match="give it an Input, or call it once before"):
        introspect.inspect(make(tf_keras, False, whole=True), data=(X, Y))


@PACKAGES
@pytest.mark.parametrize("calls", [False, True])
def test_a_loop_is_read_before_and_after_its_first_call(package: Any, calls: bool) -> None:
    model, optimizer = make(package, calls), package.optimizers.SGD()

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        weights = (model if calls else model.head).trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    args = (tf.constant(X), tf.constant(Y))
    for _ in range(2):
        report = introspect.inspect(step, args=args, model=model, optimizer=optimizer)
        assert report.ok
        assert [row.updated for row in report.variables] == ["yes"] * (4 if calls else 2)
        step(*args)
    if calls or package is keras:
        assert not ask_loop(step, args, model, optimizer).faults
