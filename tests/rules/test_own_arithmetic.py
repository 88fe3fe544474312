"""What a step of one's own makes of gradients and weights besides: loss scales, noise, penalties, averages by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from tests.oracle import Asked
from tests.rules.reported import Case, apply, compare, own, require_silent, require_told

pytestmark = pytest.mark.tf

HERE = "test_own_arithmetic.py:"


def list_trained(model: Any, asks: bool) -> list[Any]:
    """All weights, or with `asks` those that the flags let train."""
    return [v for v in model.actor.weights + model.critic.weights if v.trainable or not asks]


def shrink(asks: bool) -> Callable[..., Any]:
    """Weights made smaller by hand after the optimizer's step."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = compare(model, inputs, target)
        apply(model, tape, loss)
        for variable in (model.actor.kernel, model.critic.kernel):
            if variable.trainable or not asks:
                variable.assign(variable * 0.99)
        return loss

    return step


def rescale(asks: bool) -> Callable[..., Any]:
    """A loss scale of one's own in a variable: the loss is multiplied by it, the gradients are divided by it."""
    scale = tf.Variable(8.0, trainable=False, name="scale")

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = compare(model, inputs, target) * scale
        trained = list_trained(model, asks)
        gradients = [gradient / scale for gradient in tape.gradient(loss, trained)]
        model.optimizer.apply_gradients(zip(gradients, trained, strict=True))
        return loss

    return step


def pull(adds: bool) -> Callable[..., Any]:
    """The actor is made smaller, and a part of the critic is added where it is to follow that."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = compare(model, inputs, target)
        apply(model, tape, loss)
        model.actor.kernel.assign(0.9 * model.actor.kernel)
        if adds:
            model.actor.kernel.assign_add(0.1 * model.critic.kernel)
        return loss

    return step


def penalise(cut: bool) -> Callable[..., Any]:
    """What the nets yield is compared behind a cut, or without one; the penalty on a kernel trains."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            made = model.actor(inputs) * model.critic(inputs)
            made = tf.stop_gradient(made) if cut else made
            loss = tf.reduce_mean((made - target) ** 2) + tf.reduce_sum(model.critic.kernel**2)
        gradients = zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        model.optimizer.apply_gradients([pair for pair in gradients if pair[0] is not None])
        return loss

    return step


def disturb(asks: bool) -> Callable[..., Any]:
    """Noise, as wide as a weight says that the forward pass uses, is added to the gradients."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = compare(model, inputs, target)
        trained = list_trained(model, asks)
        width = tf.reduce_mean(model.critic.kernel)
        gradients = [one + width * tf.random.normal(one.shape) for one in tape.gradient(loss, trained)]
        model.optimizer.apply_gradients(zip(gradients, trained, strict=True))
        return loss

    return step


FAULTS: dict[str, Case] = {
    "weights made smaller by the step": Case(
        lambda: own(shrink(False), frozen="actor"),
        "INT101",
        (f"The step itself assigns to it at {HERE}", "leave out what is frozen"),
        ("to the optimizer", "tape.gradient"),
    ),
    "cut before the loss, of which a penalty trains, fitted": Case(
        lambda: own(penalise(True), fitted=True),
        "INT104",
        (f"Every way from them to the loss is cut: by StopGradient ({HERE}",),
        ("only returned",),
    ),
    "average by two assigns": Case(
        lambda: own(pull(True), frozen="actor"),
        "INT301",
        ("1 frozen variable of layer actor changes without a gradient, by an average",),
        asked=Asked(averaged=("*actor/kernel",)),
    ),
    "weights made smaller by one assign": Case(
        lambda: own(pull(False), frozen="actor"),
        "INT101",
        (f"The step itself assigns to it at {HERE}", "leave out what is frozen"),
        ("to the optimizer", "tape.gradient"),
    ),
    "loss scale in a variable, and a list that holds what is frozen": Case(
        lambda: own(rescale(False), frozen="actor"),
        "INT101",
        ("2 variables of layer actor are frozen, and the training step trains them all the same",),
        ("average",),
    ),
    "noise beside the gradients, and a list that holds what is frozen": Case(
        lambda: own(disturb(False), frozen="actor"),
        "INT101",
        ("2 variables of layer actor are frozen, and the training step trains them all the same",),
        ("average",),
    ),
}
HEALTHY: dict[str, Callable[[], Any]] = {
    "weights that train made smaller by the step": lambda: own(shrink(True), frozen="actor"),
    "loss scale in a variable": lambda: own(rescale(True), frozen="actor"),
    "noise beside the gradients": lambda: own(disturb(True), frozen="actor"),
    "penalty beside the loss, fitted": lambda: own(penalise(False), fitted=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_told(name: str) -> None:
    require_told(FAULTS[name])


@pytest.mark.parametrize("name", HEALTHY)
def test_twin_is_silent(name: str) -> None:
    require_silent(HEALTHY[name])
