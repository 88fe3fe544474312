"""A loop that calls a net beside the model which it is asked about, and does not train it: a target network, a teacher."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import introspect
from tests.rules.exchanged import PACKAGES, X, Y, make_layers

pytestmark = pytest.mark.tf


def make_target_loop(package: Any) -> tuple[Any, Any, Any]:
    """(model, its target network, the loop's step that was called once)"""
    model, target, optimizer = make_layers(package), make_layers(package), package.optimizers.Adam()

    @tf.function
    def step(x: Any, y: Any) -> Any:
        wanted = y + 0.9 * target(x)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - wanted) ** 2)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    step(X, Y)
    return model, target, step


@PACKAGES
def test_a_net_of_the_loop_is_told_as_one(package: Any) -> None:
    model, _, step = make_target_loop(package)
    (finding,) = introspect.inspect(step, args=(X, Y), model=model).findings
    assert (finding.rule, finding.severity) == ("INT105", "info")
    assert len(finding.variables) == 4
    assert f"which model {model.name} does not hold: they are of another net" in finding.cause
    assert finding.fix.endswith("net.trainable = False")


@PACKAGES
def test_a_frozen_net_of_the_loop_is_no_finding(package: Any) -> None:
    model, target, step = make_target_loop(package)
    target.trainable = False
    assert introspect.inspect(step, args=(X, Y), model=model).findings == ()
