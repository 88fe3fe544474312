"""A step that applies what gradients there are, and there are none: the op that cuts the loss off is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.oracle import Asked, ask
from tests.rules.reported import batches, require_silent, x

pytestmark = pytest.mark.tf

Cut = Callable[[Any], Any]
CUTS: dict[str, tuple[Cut, str]] = {
    "argmax": (lambda h: tf.cast(tf.argmax(h, -1), tf.float32)[:, None], "by ArgMax (test_nothing_to_train.py:"),
    "round": (tf.round, "by Round (test_nothing_to_train.py:"),
    "mask": (lambda h: tf.cast(h > 0.0, tf.float32), "by Greater (test_nothing_to_train.py:"),
    "integers": (lambda h: tf.cast(tf.cast(h, tf.int32), tf.float32), "by Cast (test_nothing_to_train.py:"),
    "stopped": (tf.stop_gradient, "by StopGradient (test_nothing_to_train.py:"),
}
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "square": lambda out, target: tf.reduce_mean((out - target) ** 2),
    "mean": lambda out, _: tf.reduce_mean(out),
}


class Filtered(keras.Model):
    """One layer, what `cut` makes of it, and a step that leaves out gradients that are None."""

    def __init__(self, cut: Cut, measure: Callable[[Any, Any], Any]) -> None:
        super().__init__(name="filtered")
        self.only = keras.layers.Dense(3, name="only")
        self.cut, self.measure = cut, measure

    def call(self, inputs: Any) -> Any:
        return self.cut(self.only(inputs))

    def train_step(self, data: Any) -> Any:
        inputs, target = data
        with tf.GradientTape() as tape:
            loss = self.measure(self(inputs, training=True), target)
        weights = self.trainable_variables
        pairs = [(g, v) for g, v in zip(tape.gradient(loss, weights), weights, strict=True) if g is not None]
        self.optimizer.apply([g for g, _ in pairs], [v for _, v in pairs])
        return {"loss": loss}


def build(cut: Cut, measure: Callable[[Any, Any], Any], fitted: bool = False) -> Any:
    keras.backend.clear_session()
    model = Filtered(cut, measure)
    model(x)
    model.compile("sgd")
    if fitted:
        model.fit(batches(), verbose=0)
    return model


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize("measure", ["square", pytest.param("mean", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", CUTS)
def test_cut_is_named(name: str, measure: str, fitted: bool) -> None:
    cut, said = CUTS[name]
    model = build(cut, LOSSES[measure], fitted)
    outcome = ask(model, batches(), Asked(rules=("INT104",)))
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = [one for one in outcome.report.findings if one.severity == "warning"]
    assert (finding.rule, finding.certainty, len(finding.variables)) == ("INT104", "proven", 2)
    assert f"Every way from them to the loss is cut: {said}" in finding.cause


@pytest.mark.parametrize("measure", LOSSES)
def test_twin_trains(measure: str) -> None:
    require_silent(lambda: build(tf.tanh, LOSSES[measure]))


def test_what_the_loss_does_not_use_is_told_so() -> None:
    model = build(lambda h: tf.zeros_like(h), LOSSES["mean"], fitted=True)
    (finding,) = [one for one in introspect.inspect(model, data=batches()).findings if one.severity == "warning"]
    assert "only the shape is used, by " in finding.cause
    assert "(test_nothing_to_train.py:" in finding.cause
    assert finding.cause.endswith("; the values do not reach the loss.")
    assert finding.fix.startswith("# use the values and not their shape alone")


class Drop(keras.layers.Layer):  # type: ignore[misc]
    """As newer versions of Keras 3 have a Dropout of rate 1, it puts zeros in the place of all values, or of none."""

    def __init__(self, whole: bool) -> None:
        super().__init__(name="drop")
        self.whole = whole

    def call(self, inputs: Any) -> Any:
        return tf.zeros_like(inputs) if self.whole else inputs


@pytest.mark.parametrize("whole", [True, False])
def test_a_layer_that_drops_all_is_named(whole: bool) -> None:
    dropout = Drop(whole)
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1, name="out")(dropout(keras.layers.Dense(3, name="hid")(inputs)))
    model = keras.Model(inputs, outputs, name="net")
    model.compile("sgd", "mse")
    data = (np.ones((8, 4), "float32"), np.ones((8, 1), "float32"))
    found = [one for one in introspect.inspect(model, data=data).findings if one.severity == "warning"]
    assert len(found) == whole
    assert all("in layer drop)" in one.cause and set(one.layers) == {"net/hid"} for one in found)
