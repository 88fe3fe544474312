"""A bare variable that is only added to something, inside of the tape: part of the loss, or of a metric alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.oracle import Asked, ask
from tests.rules.reported import batches, x

pytestmark = pytest.mark.tf

Use = Callable[[Any, Any, Any, Any], Any]


class Offset(keras.Model):
    """`use` is given the model, what it put out, its error and the loss, and gives the loss back."""

    def __init__(self, use: Use) -> None:
        super().__init__(name="offset")
        self.out = keras.layers.Dense(1, name="out")
        self.mean = keras.metrics.Mean(name="level")
        self.tracker = keras.metrics.Mean(name="loss")
        self.__dict__["off"] = tf.Variable([1.0], name="off")
        self.use = use

    def call(self, inputs: Any) -> Any:
        return self.out(inputs)

    def train_step(self, data: Any) -> Any:
        inputs, target = data
        with tf.GradientTape() as tape:
            output = self(inputs)
            loss = self.use(self, output, output - target, tf.reduce_mean((output - target) ** 2))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.tracker.update_state(loss)
        return {"loss": self.tracker.result()}


def counts_output(model: Any, output: Any, error: Any, loss: Any) -> Any:
    model.mean.update_state(output + model.off)
    return loss


def counts_error(model: Any, output: Any, error: Any, loss: Any) -> Any:
    model.mean.update_state(error + model.off)
    return loss


def counts_loss(model: Any, output: Any, error: Any, loss: Any) -> Any:
    model.mean.update_state(loss + tf.reduce_sum(model.off))
    return loss


def adds(model: Any, output: Any, error: Any, loss: Any) -> Any:
    return loss + tf.reduce_sum(model.off)


def adds_and_counts(model: Any, output: Any, error: Any, loss: Any) -> Any:
    return counts_error(model, output, error, adds(model, output, error, loss))


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("use", [counts_output, counts_error, counts_loss, adds, adds_and_counts])
def test_only_what_the_loss_is_made_of_is_told(use: Use, fitted: bool) -> None:
    keras.backend.clear_session()
    model = Offset(use)
    model(x)
    model.compile("sgd")
    if fitted:
        model.fit(batches(), verbose=0)
    # An oracle sees no gradient in either case: that the loss is made of it is what the step itself says.
    outcome = ask(model, batches(), Asked(arguable=True, extra=lambda model: [model.off]))
    assert outcome.faults == []
    assert outcome.report is not None
    told = [finding.rule for finding in outcome.report.findings]
    assert told == (["INT105"] if use in (adds, adds_and_counts) else [])
    assert ask_tape(model) is (use in (adds, adds_and_counts))


def ask_tape(model: Any) -> bool:
    """Whether TensorFlow gives a gradient of the loss for the variable."""
    with tf.GradientTape() as tape:
        output = model(x)
        loss = model.use(model, output, output - 1.0, tf.reduce_mean((output - 1.0) ** 2))
    return tape.gradient(loss, model.off) is not None
