"""Gradients that go elsewhere than into the update of their variable, and inner steps that are the update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.test_custom_training import HAND, Base, stack, trained_by
from tests.oracle import Asked

pytestmark = pytest.mark.tf


def measure_loss(model: Any, x: Any, y: Any, training: bool = True) -> Any:
    return tf.reduce_mean(tf.square(model(x, training=training) - y))


class AttackedCalmly(Base):
    """FGSM whose attack runs the net as at inference: there the forward pass reads BatchNorm's statistics."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = measure_loss(self, x, y, training=False)
        moved = x + 0.1 * tf.sign(tape.gradient(loss, x))
        with tf.GradientTape() as tape:
            loss = measure_loss(self, moved, y)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class Smoothed(Base):
    """VAT: the direction in which the output changes most, found by a gradient, goes into the loss."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        calm = self(x, training=False)
        direction = tf.random.normal(tf.shape(x))
        with tf.GradientTape() as tape:
            tape.watch(direction)
            distance = tf.reduce_mean(tf.square(self(x + 0.1 * direction, training=False) - calm))
        worst = tf.math.l2_normalize(tape.gradient(distance, direction), axis=-1)
        with tf.GradientTape() as tape:
            loss = measure_loss(self, x, y) + tf.reduce_mean(tf.square(self(x + worst, training=True) - calm))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class Followed(Base):
    """A frozen target that averages the values which the step has just computed for its net."""

    def __init__(self) -> None:
        super().__init__()
        self.target = stack("target")
        self.online = stack("online")
        self.target.trainable = False

    def call(self, x: Any, training: bool = False) -> Any:
        return super().call(x, training) + self.online(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = measure_loss(self, x, y) + tf.reduce_mean(tf.square(self.online(x) - self.target(x)))
        new = {id(v): v - 0.01 * g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)}
        for variable in variables:
            variable.assign(new[id(variable)])
        for slow, fast in zip(self.target.weights, self.online.weights, strict=True):
            slow.assign(0.99 * slow + 0.01 * new[id(fast)])
        return {"loss": loss}


class Weighed(Base):
    """Weights of two losses, set by the angle between their gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.weights_of_losses = self.add_weight(shape=(2,), trainable=False, initializer="ones", name="shares")

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            first = measure_loss(self, x, y)
            second = tf.reduce_mean(tf.abs(self(x, training=True)))
            loss = self.weights_of_losses[0] * first + self.weights_of_losses[1] * second
        one, other = (
            tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(part, variables)], 0) for part in (first, second)
        )
        angle = tf.tensordot(one, other, 1) / (tf.norm(one) * tf.norm(other) + 1e-6)
        self.weights_of_losses.assign(tf.stack([1.0 + angle, 1.0 - angle]))
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


class Pruned(Base):
    """A mask that keeps the weights with large gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = self.add_weight(shape=(4,), trainable=False, initializer="ones", name="mask")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.c(self.mask * self.b(self.a(x)))

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = measure_loss(self, x, y)
        gradients = tape.gradient(loss, self.trainable_variables)
        size = tf.reduce_sum(tf.abs(gradients[1] * self.b.bias), axis=-1) + tf.abs(gradients[1])
        self.mask.assign(tf.where(size > tf.reduce_mean(size) * 0.1, 1.0, 0.5))
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


class Inner(Base):
    """Reptile: three inner steps on values, then a step towards where they lead."""

    def __init__(self) -> None:
        super().__init__()
        self.b.trainable = False

    def train_step(self, data: Any) -> Any:
        x, y = data
        kernel, bias = self.c.kernel.value, self.c.bias.value
        hidden = self.norm(self.b(self.a(x)))
        loss = tf.constant(0.0)
        for _ in range(3):
            with tf.GradientTape() as tape:
                tape.watch((kernel, bias))
                loss = tf.reduce_mean(tf.square(hidden @ kernel + bias - y))
            of_kernel, of_bias = tape.gradient(loss, (kernel, bias))
            kernel, bias = kernel - 0.1 * of_kernel, bias - 0.1 * of_bias
        self.c.kernel.assign(self.c.kernel + 0.5 * (kernel - self.c.kernel))
        self.c.bias.assign(self.c.bias + 0.5 * (bias - self.c.bias))
        return {"loss": loss}


class Coupled(Base):
    """Two layers, each with its own gradient and a pull towards the other."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = stack("one"), stack("other")
        self.b.trainable = self.c.trainable = False

    def call(self, x: Any, training: bool = False) -> Any:
        return super().call(x) + self.one(x) + self.other(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = [*self.one.trainable_variables, *self.other.trainable_variables]
        half = len(variables) // 2
        partners = variables[half:] + variables[:half]
        with tf.GradientTape() as tape:
            loss = measure_loss(self, x, y)
        gradients = tape.gradient(loss, variables)
        new = [v - 0.1 * g + 0.01 * (p - v) for v, g, p in zip(variables, gradients, partners, strict=True)]
        for variable, value in zip(variables, new, strict=True):
            variable.assign(value)
        return {"loss": loss}


class Flat(Base):
    """All variables as one vector: one step on it, and back."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = measure_loss(self, x, y)
        flat = tf.concat([tf.reshape(v, [-1]) for v in variables], 0)
        flat -= 0.1 * tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(loss, variables)], 0)
        parts = tf.split(flat, [int(np.prod(v.shape)) for v in variables])
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(tf.reshape(part, variable.shape))
        return {"loss": loss}


class Counting(Base):
    """A trained layer's own count of examples."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = self.c.seen = self.add_weight(shape=(), trainable=False, initializer="zeros", name="seen")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.seen.assign_add(tf.cast(tf.shape(x)[0], "float32"))
        return super().call(x, training)


CELLS: dict[str, Cell] = {
    "attack in inference mode": Cell(trained_by(lambda: AttackedCalmly(normalize=True))),
    "virtual adversary": Cell(trained_by(lambda: Smoothed(normalize=True))),
    "average of new values": Cell(
        trained_by(Followed),
        Asked(arrived={"*/b/*": "dense", "*/c/*": "dense", "*online*": "dense"}, averaged=("target/target_*",)),
    ),
    "losses weighed by an angle": Cell(trained_by(Weighed)),
    "mask made of gradients": Cell(trained_by(Pruned)),
    "inner steps": Cell(trained_by(Inner), Asked(arrived={"*/c/*": "dense"}), act=None),
    "coupled": Cell(trained_by(Coupled), Asked(arrived={"*one_*": "dense", "*other_*": "dense"}), act=None),
    "one vector": Cell(trained_by(Flat), Asked(arrived=HAND)),
    "count of examples": Cell(trained_by(Counting)),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then stale."""
    assert CELLS[name].run() == []
