"""A step in which no variable gets a gradient: the message names what cuts every way, as an eager tape shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from introspect.capture.function import capture_function
from introspect.capture.model import capture_model
from introspect.capture.trace.cutoff import ADVICE
from introspect.errors import StepError

Loss = Callable[[Any, Any], Any]
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
X, Y = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")


def chosen(truth: Any, given: Any) -> Any:
    return tf.reduce_mean(truth * tf.one_hot(tf.argmax(given, axis=-1), 3))


def ordered(truth: Any, given: Any) -> Any:
    return tf.reduce_mean(truth * tf.cast(tf.argsort(given), tf.float32))


CUT: dict[str, tuple[str, Loss, Loss]] = {
    "argmax": ("ArgMax", chosen, lambda t, p: tf.reduce_mean(t * tf.nn.softmax(p))),
    "argsort": ("TopKV2", ordered, lambda t, p: tf.reduce_mean(t * tf.sort(p))),
    "round": ("Round", lambda t, p: tf.reduce_mean((t - tf.round(p)) ** 2), lambda t, p: tf.reduce_mean((t - p) ** 2)),
    "threshold": (
        "Greater",
        lambda t, p: tf.reduce_mean(t * tf.cast(p > 0.5, tf.float32)),
        lambda t, p: tf.reduce_mean(t * tf.sigmoid(p - 0.5)),
    ),
    "stopped": (
        "StopGradient",
        lambda t, p: tf.stop_gradient(tf.reduce_mean((t - p) ** 2)),
        lambda t, p: tf.reduce_mean((t - tf.stop_gradient(t) - p) ** 2),
    ),
}


def mlp(package: Any, loss: Loss) -> Any:
    layers = [package.layers.Input((3,)), package.layers.Dense(4), package.layers.Dense(3)]
    model = package.Sequential(layers, name="m")
    model.compile("sgd", loss)
    return model


def arrive(model: Any, loss: Loss) -> list[bool]:
    """Whether a gradient arrives at each variable, as an eager tape has it."""
    with tf.GradientTape() as tape:
        value = loss(tf.constant(Y), model(X))
    variables = [getattr(variable, "value", None) for variable in model.trainable_variables]
    raw = [
        own if isinstance(own, tf.Variable) else v for own, v in zip(variables, model.trainable_variables, strict=True)
    ]
    return [gradient is not None for gradient in tape.gradient(value, raw)]


@PACKAGES
@pytest.mark.parametrize("name", CUT)
def test_the_op_that_cuts_every_way_is_named(package: Any, name: str) -> None:
    op, hard, soft = CUT[name]
    model = mlp(package, hard)
    assert not any(arrive(model, hard))
    with pytest.raises(
        StepError, match=rf"No gradients provided .*is cut, by {op} \(test_cutoff.py:\d+\), where"
    ) as error:
        capture_model(model, (X, Y))
    assert ADVICE not in str(error.value)
    assert error.value.__cause__ is not None

    twin = mlp(package, soft)
    assert all(arrive(twin, soft))
    capture_model(twin, (X, Y))


@PACKAGES
@pytest.mark.parametrize(
    "loss",
    [
        lambda t, p: tf.reduce_mean(t**2),
        lambda t, p: tf.reduce_mean(t**2) / tf.cast(tf.size(p), tf.float32),
        lambda t, p: tf.constant(1.0),
    ],
    ids=["truth", "size", "constant"],
)
def test_a_loss_that_is_made_of_nothing_of_the_model(package: Any, loss: Loss) -> None:
    model = mlp(package, loss)
    assert not any(arrive(model, loss))
    with pytest.raises(StepError, match="is not made of what the trainable variables give"):
        capture_model(model, (X, Y))


@PACKAGES
def test_a_cut_between_layers(package: Any) -> None:
    inputs = package.layers.Input((3,))
    stopped = package.layers.Lambda(tf.stop_gradient)(package.layers.Dense(3)(inputs))
    model = package.Model(inputs, stopped)
    model.compile("sgd", "mse")
    with pytest.raises(StepError, match=r"is cut, by StopGradient \(\S*StopGradient\), where"):
        capture_model(model, (X, Y))


def test_what_the_forward_pass_does_not_show_is_not_told() -> None:
    """Of a called function, and of a forward pass outside of the tape."""
    rounded = tf.function(lambda value: tf.round(value))
    called = mlp(keras, lambda t, p: rounded(tf.reduce_mean(p)))
    model = mlp(keras, chosen)

    @tf.function
    def outside(x: Any, y: Any) -> None:
        given = model(x)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((given - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    with pytest.raises(StepError, match=ADVICE):
        capture_model(called, (X, Y))
    with pytest.raises(StepError, match=ADVICE):
        capture_function(outside, (X, Y), model=model, optimizer=model.optimizer)


def test_a_loop_of_ones_own() -> None:
    model = mlp(keras, chosen)

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = chosen(y, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    with pytest.raises(StepError, match=r"step cannot be traced: .*is cut, by ArgMax \(test_cutoff.py:"):
        capture_function(step, (X, Y), model=model, optimizer=model.optimizer)


def test_an_optimizer_that_is_given_nothing() -> None:
    class Own(keras.Model):
        def train_step(self, data: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self(data[0]) ** 2)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    inputs = keras.layers.Input((3,))
    model = Own(inputs, keras.layers.Dense(3)(inputs))
    model.compile("sgd")
    capture_model(model, (X, Y))
    model.layers[-1].trainable = False
    with pytest.raises(StepError, match="given no gradient at all: all that it trains is frozen"):
        capture_model(model, (X, Y))
