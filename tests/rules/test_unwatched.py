"""Weights whose tf.Variable no tape watches by itself, though their flags let them train."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.oracle import ask

pytestmark = pytest.mark.tf

DATA = (np.random.default_rng(0).random((8, 4), dtype="float32"), np.ones((8, 1), "float32"))


class Lazy(keras.layers.Layer):  # type: ignore[misc]
    """Its inner layer, frozen from the first, is built in call()."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = keras.layers.Dense(3, trainable=False, name="inner")

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


class Ready(Lazy):
    """The same, built before."""

    def build(self, shape: Any) -> None:
        self.inner.build(shape)


def make_report(kind: type[Lazy]) -> introspect.Report:
    """Of a model whose inner layer was unfrozen, before a fit, that agrees with one real step."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(kind(name="block")(inputs)), name="net")
    model.get_layer("block").inner.trainable = True
    model.compile("sgd", "mse")
    outcome = ask(model, tf.data.Dataset.from_tensor_slices(DATA).batch(4))
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    return outcome.report


def test_frozen_before_it_was_built() -> None:
    (finding,) = make_report(Lazy).findings
    assert finding.rule == "INT104"
    assert "No tape watches them" in finding.cause
    assert "before the call() of another layer builds it" in finding.cause
    assert finding.fix.startswith("# freeze a layer once it is built, not before")


def test_built_before_it_was_called() -> None:
    assert make_report(Ready).ok
