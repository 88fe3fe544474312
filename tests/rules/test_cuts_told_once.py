"""A cut that the step makes several times, in a function that it calls or a loop that it unrolls, is told once."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from tests.oracle import Asked, ask

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
DATA = tf.data.Dataset.from_tensors(np.random.default_rng(0).normal(size=(8, 6)).astype("float32"))


def compare(prediction: Any, target: Any) -> Any:
    """SimSiam's distance, whose target gets no gradient."""
    return tf.reduce_mean((prediction - tf.stop_gradient(target)) ** 2)


def make(package: Any, cuts_first: bool) -> Any:
    """An encoder whose output is a target three times; with `cuts_first` it is what is compared as well, behind another cut."""

    class Siamese(package.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.predictor = (package.layers.Dense(6, name=name) for name in ("encoder", "predictor"))

        def call(self, x: Any) -> Any:
            return self.predictor(self.encoder(x))

        def train_step(self, x: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                target = self.encoder(x)
                first = tf.stop_gradient(target) if cuts_first else x
                loss = tf.add_n([compare(self.predictor(view), target) for view in (first, 2 * x, 3 * x)])
            weights = self.trainable_variables
            pairs = zip(tape.gradient(loss, weights), weights, strict=True)
            self.optimizer.apply_gradients([pair for pair in pairs if pair[0] is not None])
            return {"loss": loss}

    model = Siamese()
    model(np.zeros((1, 6), "float32"))
    model.compile("sgd")
    return model


@PACKAGES
@pytest.mark.parametrize("cuts_first", [False, True])
def test_each_cut_is_told_once(package: Any, cuts_first: bool) -> None:
    outcome = ask(make(package, cuts_first), DATA, Asked(rules=("INT104",)))
    assert not outcome.faults
    assert outcome.report is not None
    (told,) = outcome.report.findings
    assert told.cause.count("StopGradient") == (2 if cuts_first else 1)
    assert ("Another way is cut by StopGradient" in told.cause) is cuts_first
    cuts = [step.location for step in told.evidence if "cuts" in step.note]
    assert len(cuts) == len(set(cuts)) == (2 if cuts_first else 1)
