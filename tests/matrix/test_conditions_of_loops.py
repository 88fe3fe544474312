"""Weights that decide how long a loop runs, and loops over a data set into which no gradient goes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.models import dense_model, make_data
from tests.oracle import PLAIN, Asked, Outcome, ask, ask_loop, randomize

pytestmark = pytest.mark.tf

layers = keras.layers


class Limited(layers.Layer):
    """Halves its input as often as a weight says."""

    def __init__(self, whole: bool, early: bool) -> None:
        super().__init__(name="limited")
        self.whole, self.early = whole, early

    def build(self, shape: Any) -> None:
        self.limit = self.add_weight(shape=(), initializer="ones", name="limit")

    def read(self) -> Any:
        return tf.cast(self.limit, tf.int32) if self.whole else tf.convert_to_tensor(self.limit)

    def call(self, x: Any) -> Any:
        before = self.read() if self.early else None

        def goes_on(i: Any, h: Any) -> Any:
            limit = self.read() if before is None else before
            return tf.cast(i, limit.dtype) < limit * 3 + 2

        return tf.while_loop(goes_on, lambda i, h: (i + 1, h * 0.5), (tf.constant(0), x))[1]


@pytest.mark.parametrize("early", [True, False], ids=["captured", "inside"])
@pytest.mark.parametrize("whole", [True, False], ids=["int", "float"])
def test_a_weight_that_only_a_condition_reads(whole: bool, early: bool) -> None:
    """A tape hands zeros to what the condition takes; nothing comes through integers."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1, name="c")(Limited(whole, early)(inputs)))
    randomize(model)
    model.compile("adam", "mse")
    none = whole and early
    outcome = ask(model, make_data(), Asked(rules=("INT104",)) if none else Asked(zero=("*/limit",)))
    assert outcome.faults == []
    assert outcome.report is not None
    assert [f.cause.count("Cast") for f in outcome.report.findings if f.rule == "INT104"] == [1] * none


def ask_over_data_set(inside: bool) -> Outcome:
    """Layer c trains by a penalty too; the loop over the data stands in the tape, or the tape in the loop."""
    model, data = dense_model(), make_data(rows=8, batch=4)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    def apply(tape: Any, loss: Any) -> None:
        pairs = zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None])

    @tf.function
    def outside_of_it() -> Any:
        with tf.GradientTape() as tape:
            loss = 0.0
            for x, y in data:
                loss += tf.reduce_mean((model(x) - y) ** 2)
            loss += tf.reduce_sum(model.get_layer("c").kernel ** 2)
        apply(tape, loss)
        return loss

    @tf.function
    def inside_of_it() -> Any:
        for x, y in data:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - y) ** 2)
            apply(tape, loss)
        return np.float32(0)

    step = inside_of_it if inside else outside_of_it
    return ask_loop(step, (), model, optimizer, PLAIN if inside else Asked(rules=("INT104",)))


def test_no_gradient_goes_into_a_loop_over_a_data_set() -> None:
    outcome = ask_over_data_set(inside=False)
    assert outcome.faults == []
    assert outcome.report is not None
    causes = [f.cause for f in outcome.report.findings if f.rule == "INT104"]
    assert causes
    assert all("which runs a loop over a data set" in cause for cause in causes)


def test_a_tape_inside_of_a_loop_over_a_data_set() -> None:
    outcome = ask_over_data_set(inside=True)
    assert outcome.faults == []
    assert outcome.report is not None
    assert outcome.report.findings == ()
