"""A loop's target network: it is read and never trained, which is no question of when the step was traced."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


class Agent:
    """A net that follows what another net says, which the step leaves alone."""

    def __init__(self, package: Any) -> None:
        self.online, self.target = (self.make(package, name) for name in ("online", "target"))
        self.optimizer = package.optimizers.SGD(0.1)

    @staticmethod
    def make(package: Any, name: str) -> Any:
        layers = [package.layers.Dense(2, name=f"{name}_{part}") for part in ("a", "b")]
        return package.Sequential([package.layers.Input((3,)), *layers], name=name)

    @tf.function
    def update(self, x: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.online(x) - self.target(x)) ** 2)
        weights = self.online.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


def find(report: Any, rule: str) -> Any:
    return next(finding for finding in report.findings if finding.rule == rule)


def name_weights(finding: Any) -> set[str]:
    """`layer/weight` of each: Keras 3 puts the net's name before it."""
    return {"/".join(path.removesuffix(":0").split("/")[-2:]) for path in finding.variables}


@PACKAGES
@pytest.mark.parametrize("named", [False, True], ids=["alone", "with its model"])
def test_a_target_is_told_alike_before_and_after_the_first_step(package: Any, named: bool) -> None:
    agent = Agent(package)
    given: dict[str, Any] = {"model": agent.target} if named else {}
    before = introspect.inspect(agent.update, args=(X,), **given)
    agent.update(X)
    after = introspect.inspect(agent.update, args=(X,), **given)
    assert [one.rule for one in after.findings] == [one.rule for one in before.findings]
    told = find(after, "INT104")
    assert "never asks a tape for their gradients" in told.cause
    assert "frozen" not in told.cause
    assert name_weights(told) == {f"target_{part}/{weight}" for part in "ab" for weight in ("kernel", "bias")}


@PACKAGES
def test_what_was_unfrozen_later_is_still_told_by_age(package: Any) -> None:
    agent = Agent(package)
    agent.online.layers[0].trainable = False
    agent.update(X)
    agent.online.layers[0].trainable = True
    told = find(introspect.inspect(agent.update, args=(X,)), "INT103")
    assert name_weights(told) == {"online_a/kernel", "online_a/bias"}
    assert "while layer online_a was frozen" in told.cause or "while they were frozen" in told.cause


@PACKAGES
@pytest.mark.parametrize("compiled", [True, False])
def test_a_function_that_only_copies_a_net_says_so(package: Any, compiled: bool) -> None:
    """Asked about the net that it reads, of which the target is no part; about the target it has nothing to warn of."""
    agent = Agent(package)

    def update_target() -> None:
        for target, weight in zip(agent.target.weights, agent.online.weights, strict=True):
            target.assign(0.9 * target + 0.1 * weight)

    step = tf.function(update_target) if compiled else update_target
    told = find(introspect.inspect(step, args=(), model=agent.online, try_fixes=True), "INT104")
    assert len(told.variables) == 4
    assert "takes no gradient at all: it reads them only to write other variables: target" in told.cause
    assert told.fix.startswith("Nothing, where another function trains them")
    of_target = introspect.inspect(step, args=(), model=agent.target)
    assert [(one.rule, one.severity) for one in of_target.findings] == [("INT301", "info")]
