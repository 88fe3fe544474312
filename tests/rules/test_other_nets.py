"""A loop that calls a net beside the model which it is asked about, and does not train it: a target network, a teacher."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.rules.exchanged import PACKAGES, X, Y, make_layers, train

pytestmark = pytest.mark.tf


def make_target_loop(package: Any) -> tuple[Any, Any, Any]:
    """(model, its target network, the loop's step that was called once)"""
    model, target, optimizer = make_layers(package), make_layers(package), package.optimizers.Adam()

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return train(model, optimizer, x, y + 0.9 * target(x))

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


def test_each_place_that_uses_the_variables_is_named() -> None:
    class Patches(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = tf.Variable([1.0]), tf.Variable([2.0])

        def call(self, inputs: Any) -> Any:
            shifted = inputs + self.first
            return shifted * self.second

    model = keras.Sequential([keras.Input((4,)), Patches(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    (finding,) = introspect.inspect(model).findings
    assert finding.rule == "INT105"
    line = Patches.call.__code__.co_firstlineno
    assert f"(used at test_other_nets.py:{line + 1} and test_other_nets.py:{line + 2})" in finding.cause
