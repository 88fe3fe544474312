"""Layers quantized to float8: Keras cannot differentiate them eagerly, and INT202 says so before it raises."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.oracle import Asked, ask
from tests.rules.reported import batches

pytestmark = pytest.mark.tf

layers = keras.layers
RAISES = {"trained": {}, "einsum": {"einsum": True}, "frozen": {"frozen": True}}
RUNS = {"graph": {"eager": False}, "behind a cut": {"cut": True}, "plain": {"quantized": False}}


def build(
    eager: bool = True, quantized: bool = True, frozen: bool = False, cut: bool = False, einsum: bool = False
) -> Any:
    inputs = keras.Input((4,))
    hid = layers.EinsumDense("ab,bc->ac", (16,), name="hid") if einsum else layers.Dense(16, name="hid")
    hidden = hid(inputs)
    if cut:
        hidden = layers.Lambda(tf.stop_gradient)(hidden)
    model = keras.Model(inputs, layers.Dense(1, name="out")(hidden))
    if quantized:
        hid.quantize("float8")
    hid.trainable = not (frozen or cut)
    model.compile("adam", "mse", run_eagerly=eager)
    return model


@pytest.mark.parametrize("name", RAISES)
def test_an_eager_step_is_foretold_to_raise(name: str) -> None:
    keras.backend.clear_session()
    outcome = ask(build(**RAISES[name]), batches(), Asked(raises=True))
    assert outcome.error is not None
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = [finding for finding in outcome.report.findings if finding.rule == "INT202"]
    assert outcome.error in finding.message
    assert "run_eagerly=False" in finding.fix


@pytest.mark.parametrize("name", RUNS)
def test_a_step_that_runs_is_no_alarm(name: str) -> None:
    keras.backend.clear_session()
    outcome = ask(build(**RUNS[name]), batches(), Asked(numeric=True))
    assert outcome.error is None
    assert outcome.faults == []
    assert outcome.report is not None
    assert outcome.report.ok
