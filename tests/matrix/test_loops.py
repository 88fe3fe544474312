"""Training loops of the user's own around tf.functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.models import dense_model, freeze
from tests.oracle import Asked, ask_loop

pytestmark = pytest.mark.tf

X = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
Y = np.random.default_rng(2).normal(size=(4, 1)).astype("float32")
HAND = {"moving_*": "none", "norm/moving_*": "none", "a/*": "none", "[bc]/*": "dense", "norm/*": "dense"}


def batch() -> tuple[Any, Any]:
    return tf.constant(X), tf.constant(Y)


def loss_of(model: Any, x: Any, y: Any) -> Any:
    return tf.reduce_mean(tf.square(model(x, training=True) - y))


def plain(model: Any, optimizer: Any) -> Callable[..., Any]:
    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model, x, y)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step


def compiled(model: Any, optimizer: Any) -> Callable[..., Any]:
    return tf.function(plain(model, optimizer).python_function, jit_compile=True)


def signed(model: Any, optimizer: Any) -> Callable[..., Any]:
    signature = [tf.TensorSpec([None, 3]), tf.TensorSpec([None, 1])]
    return tf.function(plain(model, optimizer).python_function, input_signature=signature)


def by_hand(model: Any, optimizer: Any) -> Callable[..., Any]:
    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model, x, y)
        for v, g in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True):
            v.assign_sub(0.05 * g)
        return loss

    return step


def inner_gradients(model: Any, optimizer: Any) -> Callable[..., Any]:
    @tf.function
    def gradients(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model, x, y)
        return tape.gradient(loss, model.trainable_variables)

    @tf.function
    def step(x: Any, y: Any) -> None:
        optimizer.apply(gradients(x, y), model.trainable_variables)

    return step


def inner_loss(model: Any, optimizer: Any) -> Callable[..., Any]:
    @tf.function
    def loss(x: Any, y: Any) -> Any:
        return loss_of(model, x, y)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(x, y)
        optimizer.apply(tape.gradient(value, model.trainable_variables), model.trainable_variables)
        return value

    return step


def no_output(model: Any, optimizer: Any) -> Callable[..., Any]:
    inner = plain(model, optimizer)

    @tf.function
    def step(x: Any, y: Any) -> None:
        inner(x, y)

    return step


def inner_steps(model: Any, optimizer: Any) -> Callable[..., Any]:
    @tf.function
    def step(x: Any, y: Any) -> Any:
        loss = 0.0
        for _ in tf.range(2):
            with tf.GradientTape() as tape:
                loss = loss_of(model, x, y)
            optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def over_a_set(model: Any, optimizer: Any) -> Callable[..., Any]:
    one = plain(model, optimizer).python_function

    @tf.function
    def step(x: Any, y: Any) -> Any:
        total = 0.0
        for inputs, wanted in tf.data.Dataset.from_tensors((x, y)).repeat(2):
            total += one(inputs, wanted)
        return total

    return step


def over_a_captured_set(model: Any, optimizer: Any) -> Callable[..., Any]:
    one, batches = plain(model, optimizer).python_function, tf.data.Dataset.from_tensors((X, Y))

    @tf.function
    def step(x: Any, y: Any) -> None:
        for number, (inputs, wanted) in batches.enumerate():
            if one(inputs + 0.1 * x, wanted) + tf.cast(number, "float32") > 1e9:
                break

    return step


def reduced(model: Any, optimizer: Any) -> Callable[..., Any]:
    one = plain(model, optimizer).python_function

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return tf.data.Dataset.from_tensors((x, y)).reduce(0.0, lambda total, pair: total + one(*pair))

    return step


LOOPS: dict[str, Callable[[Any, Any], Callable[..., Any]]] = {
    "plain": plain,
    "jit_compile": compiled,
    "input_signature": signed,
    "by hand": by_hand,
    "inner gradients": inner_gradients,
    "inner loss": inner_loss,
    "no output": no_output,
    "inner steps": inner_steps,
    "over a set": over_a_set,
    "over a captured set": over_a_captured_set,
    "reduced": reduced,
}
MAKES_NO_VARIABLES = ("inner steps", "over a set", "over a captured set", "reduced")
"""Loops of the graph's own, in which Adam cannot make its slots."""


def make_optimizer(kind: str, model: Any, build: bool) -> Any:
    if kind == "legacy":
        return pytest.importorskip("tf_keras").optimizers.legacy.SGD(0.05)
    optimizer = keras.optimizers.get({"class_name": kind, "config": {"learning_rate": 0.05}})
    if build:
        optimizer.build(model.trainable_variables)
    return optimizer


@pytest.mark.parametrize("build", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("name", LOOPS)
def test_loop(name: str, kind: str, build: bool) -> None:
    """Healthy before its first trace and after it, then a layer frozen too late."""
    if not build and name in MAKES_NO_VARIABLES and kind == "Adam":
        pytest.skip("variables made in a loop")
    keras.backend.clear_session()
    model = dense_model(normalize=True)
    model.get_layer("a").trainable = False
    optimizer = make_optimizer(kind, model, build)
    step = LOOPS[name](model, optimizer)
    asked = Asked(arrived=HAND if name == "by hand" else {}, kinds={"norm/moving_*": "statistics"})
    assert ask_loop(step, batch(), model, optimizer, asked).faults == []
    assert ask_loop(step, batch(), model, optimizer, asked).faults == []
    freeze("b")(model, None)
    assert ask_loop(step, batch(), model, optimizer, asked).faults == []


def test_two_steps_alternate() -> None:
    """Each step trains its own half; each is healthy, for the other half is not its business."""
    keras.backend.clear_session()
    model = dense_model()
    first, second = keras.optimizers.Adam(0.05), keras.optimizers.SGD(0.05)

    def half(names: tuple[str, ...], optimizer: Any) -> Any:
        variables = [v for name in names for v in model.get_layer(name).trainable_variables]
        optimizer.build(variables)

        @tf.function
        def step(x: Any, y: Any) -> None:
            with tf.GradientTape() as tape:
                loss = loss_of(model, x, y)
            optimizer.apply(tape.gradient(loss, variables), variables)

        return step

    left, right = half(("a",), first), half(("b", "c"), second)
    for _ in range(2):
        for step, optimizer in ((left, first), (right, second)):
            outcome = ask_loop(step, batch(), model, optimizer, Asked(arguable=True))
            assert outcome.faults == []
