"""A small model and a loop of one's own, in both packages, for tests that exchange their optimizers."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
import tf_keras

from tests.rules import reported

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)
X, Y = reported.x, reported.y


def make_layers(package: Any) -> Any:
    """A model that is not compiled yet."""
    return package.Sequential([package.layers.Input((4,)), package.layers.Dense(3), package.layers.Dense(1)])


def train(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    """One step of a loop; the loss."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    weights = model.trainable_variables
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
    return loss


def make_loop(package: Any) -> tuple[Any, Any, dict[str, Any]]:
    """(model, the tf.function of a loop that was called once, where it finds its optimizer)"""
    model, held = make_layers(package), {"optimizer": package.optimizers.Adam()}

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return train(model, held["optimizer"], x, y)

    step(X, Y)
    return model, step, held


def count(optimizer: Any) -> int:
    """Steps that an optimizer has made."""
    return int(optimizer.iterations)
