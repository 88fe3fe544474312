"""tf.functions that a loop's step calls: each keeps traces of its own, which a new trace of the step calls again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect
from tests.oracle import Asked, ask_loop

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
RANDOM = np.random.default_rng(0)
X, Y = (tf.constant(RANDOM.normal(size=size).astype("float32")) for size in ((8, 3), (8, 1)))


class Agent:
    """A critic whose update is a tf.function of its own, and what calls it."""

    def __init__(self, package: Any) -> None:
        layers = package.layers
        parts = [layers.Dense(3, name="a"), layers.BatchNormalization(name="n"), layers.Dense(1, name="b")]
        self.critic = package.Sequential([layers.Input((3,)), *parts])
        self.optimizer = package.optimizers.Adam(0.01)

    @tf.function
    def update(self, x: Any, y: Any) -> Any:
        return self.update_critic(x, y)

    @tf.function
    def update_twice(self, x: Any, y: Any) -> Any:
        return self.update(x, y)

    def update_eagerly(self, x: Any, y: Any) -> Any:
        return self.update_critic(x, y)

    @tf.function
    def update_critic(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.critic(x, training=True) - y) ** 2)
        self.apply(tape, loss)
        return loss

    @tf.function
    def update_by_own_tape(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.find_loss(x, y)
        self.apply(tape, loss)
        return loss

    @tf.function
    def find_loss(self, x: Any, y: Any) -> Any:
        return tf.reduce_mean((self.critic(x, training=True) - y) ** 2)

    def apply(self, tape: Any, loss: Any) -> None:
        weights = self.critic.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))


def ask(agent: Agent, step: Callable[..., Any], *rules: str) -> Any:
    """The report with its fixes tried, held against a real step before."""
    given: dict[str, Any] = {"args": (X, Y), "model": agent.critic, "optimizer": agent.optimizer}
    report = introspect.inspect(step, **given, try_fixes=True)
    outcome = ask_loop(step, (X, Y), agent.critic, agent.optimizer, Asked(rules=rules))
    assert not outcome.faults
    return report


def find(report: Any, rule: str) -> Any:
    (found,) = (finding for finding in report.findings if finding.rule == rule)
    return found


STEPS = ("update", "update_twice", "update_eagerly")


@PACKAGES
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("first", ["step", "update_critic"])
def test_a_layer_that_was_frozen_later_is_blamed_on_the_function_that_kept_its_trace(
    package: Any, name: str, first: str
) -> None:
    agent = Agent(package)
    getattr(agent, name if first == "step" else first)(X, Y)
    agent.critic.layers[0].trainable = False
    for _ in range(2):  # the real step in between traces what was not traced yet
        told = find(ask(agent, getattr(agent, name), "INT101"), "INT101")
        assert "update_critic" in told.cause
        assert "own: the step goes on with a trace of" in told.cause
        assert "compile" not in told.cause
        assert told.verified, told.fix
    exec(told.fix)
    assert not ask(agent, getattr(agent, name)).findings


@PACKAGES
@pytest.mark.parametrize("name", STEPS)
def test_so_is_one_that_was_unfrozen_later(package: Any, name: str) -> None:
    agent = Agent(package)
    agent.critic.layers[0].trainable = False
    getattr(agent, name)(X, Y)
    agent.critic.layers[0].trainable = True
    told = find(ask(agent, getattr(agent, name), "INT104"), "INT104")
    assert "update_critic" in told.cause
    assert told.verified, told.fix


@PACKAGES
def test_statistics_that_move_on_are_told_alike(package: Any) -> None:
    agent = Agent(package)
    agent.update(X, Y)
    agent.critic.layers[1].trainable = False
    report = ask(agent, agent.update, "INT102")
    for rule in ("INT101", "INT102"):
        told = find(report, rule)
        assert told.cause.startswith("update_critic is a tf.function of your own")
        assert told.verified, told.fix


@PACKAGES
def test_a_function_without_a_tape_is_not_blamed(package: Any) -> None:
    agent = Agent(package)
    agent.update_by_own_tape(X, Y)
    agent.critic.layers[0].trainable = False
    told = find(ask(agent, agent.update_by_own_tape, "INT101"), "INT101")
    assert "was traced" in told.cause
    assert "find_loss" not in told.fix
    assert told.verified


@PACKAGES
@pytest.mark.parametrize("name", [*STEPS, "update_by_own_tape"])
def test_flags_that_stay_raise_no_alarm(package: Any, name: str) -> None:
    agent = Agent(package)
    agent.critic.layers[0].trainable = False
    getattr(agent, name)(X, Y)
    assert not [one for one in ask(agent, getattr(agent, name)).findings if one.severity != "info"]


@PACKAGES
def test_a_function_that_no_name_of_the_caller_s_replaces_is_told_in_words(package: Any) -> None:
    agent = Agent(package)

    def wrap(inner: Any) -> Any:
        return tf.function(lambda x, y: inner(x, y))

    step = wrap(tf.function(agent.update_eagerly))
    step(X, Y)
    agent.critic.layers[0].trainable = False
    told = find(ask(agent, step, "INT101"), "INT101")
    assert "# take @tf.function from update_eagerly" in told.fix
    assert not told.verified


@PACKAGES
def test_a_name_that_the_step_s_closure_holds_is_made_anew(package: Any) -> None:
    agent = Agent(package)

    @tf.function
    def inner(x: Any, y: Any) -> Any:
        return agent.update_eagerly(x, y)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return inner(x, y)

    step(X, Y)
    agent.critic.layers[0].trainable = False
    told = find(ask(agent, step, "INT101"), "INT101")
    assert told.cause.startswith("inner and update_critic are tf.functions of your own")
    assert "inner = tf.function(inner.python_function)  # which the step calls" in told.fix
    assert told.verified
