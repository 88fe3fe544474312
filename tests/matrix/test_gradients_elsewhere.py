"""Gradients that go elsewhere than into the update of their variable, and inner steps that are the update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.test_custom_training import HAND, Base, layers, stack, trained_by
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


class Vector(Base):
    """Inner steps on one vector of all variables, whose pieces go back into these; in a loop of the graph's."""

    def get_parts(self) -> list[Any]:
        return [*self.b.trainable_variables, *self.c.trainable_variables]

    def flatten(self, values: Any) -> Any:
        return tf.concat([tf.reshape(value, [-1]) for value in values], 0)

    def cut(self, flat: Any) -> list[Any]:
        shapes = [variable.shape for variable in self.get_parts()]
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        return [tf.reshape(flat[first:last], shape) for first, last, shape in zip(ends, ends[1:], shapes, strict=False)]

    def differ(self, flat: Any, x: Any, y: Any) -> Any:
        kernel, bias, last, end = self.cut(flat)
        hidden = self.norm(tf.tanh(self.a(x) @ kernel + bias), training=True)
        return tf.reduce_mean(tf.square(hidden @ last + end - y))

    def slope(self, flat: Any, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(flat)
            loss = self.differ(flat, x, y)
        return tape.gradient(loss, flat)

    def adapt(self, flat: Any, x: Any, y: Any) -> Any:
        def body(turn: Any, flat: Any) -> Any:
            return turn + 1, flat - 0.1 * self.slope(flat, x, y)

        return tf.while_loop(lambda turn, _: turn < 3, body, [0, flat])[1]

    def put(self, flat: Any) -> None:
        for variable, part in zip(self.get_parts(), self.cut(flat), strict=True):
            variable.assign(part)

    def train_step(self, data: Any) -> Any:
        flat = self.adapt(self.flatten(self.get_parts()), *data)
        self.put(flat)
        return {"size": tf.norm(flat)}


class Unrolled(Vector):
    """The same without a loop."""

    def adapt(self, flat: Any, x: Any, y: Any) -> Any:
        for _ in range(3):
            flat -= 0.1 * self.slope(flat, x, y)
        return flat


class Clipped(Vector):
    """With momentum, and a gradient whose norm is kept small."""

    def adapt(self, flat: Any, x: Any, y: Any) -> Any:
        def body(turn: Any, flat: Any, speed: Any) -> Any:
            speed = 0.9 * speed + tf.clip_by_norm(self.slope(flat, x, y), 1.0)
            return turn + 1, flat - 0.1 * speed, speed

        return tf.while_loop(lambda turn, *_: turn < 3, body, [0, flat, tf.zeros_like(flat)])[1]


class Rated(Vector):
    """The rate of the inner step learns from a loss at where it leads."""

    def __init__(self, normalize: bool = False) -> None:
        super().__init__(normalize)
        self.rate = self.add_weight(shape=(), initializer="ones", name="rate")

    def adapt(self, flat: Any, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            new = flat - 0.1 * self.rate * self.slope(flat, x, y)
            loss = self.differ(new, x, y)
        self.rate.assign_sub(0.01 * tape.gradient(loss, self.rate))
        return new


class Reading(Base):
    """A second net, with statistics of its own, reads the derivative of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.c.use_bias = False  # a derivative does not hold it
        self.first, self.hidden = layers.BatchNormalization(name="first"), layers.Dense(4, "tanh", name="hidden")
        self.second, self.last = layers.BatchNormalization(name="second"), layers.Dense(1, name="last")

    def call(self, x: Any, training: bool = False) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            energy = super().call(x)
        force = self.first(-tape.gradient(energy, x), training=training)
        return self.last(self.second(self.hidden(force), training=training))


class Counting(Base):
    """A trained layer's own count of examples."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = self.c.seen = self.add_weight(shape=(), trainable=False, initializer="zeros", name="seen")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.seen.assign_add(tf.cast(tf.shape(x)[0], "float32"))
        return super().call(x, training)


class LooksAhead(Base):
    """Clipped gradients are applied, and lead to the weights on which the head is trained."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        near, far = self.b.trainable_variables, self.c.trainable_variables
        with tf.GradientTape() as tape:
            loss = measure_loss(self, x, y)
        gradients = [tf.clip_by_value(gradient, -1.0, 1.0) for gradient in tape.gradient(loss, near)]
        ahead = [variable - 0.1 * gradient for variable, gradient in zip(near, gradients, strict=True)]
        with tf.GradientTape() as tape:
            hidden = self.a(x)
            if ahead:
                hidden = tf.tanh(hidden @ ahead[0] + ahead[1])
            loss = tf.reduce_mean(tf.square(self.c(hidden) - y))
        variables = [*near, *far]
        self.optimizer.apply([*gradients, *tape.gradient(loss, far)], variables)
        return {"loss": loss}


class Conjugate(Base):
    """Hessian-free: conjugate gradients in a loop, each with a product of the Hessian, forward over backward."""

    def train_step(self, data: Any) -> Any:
        variables = self.trainable_variables
        values = [getattr(variable, "value", variable) for variable in variables]

        def differentiate() -> Any:
            with tf.GradientTape() as tape:
                loss = measure_loss(self, *data)
            return tape.gradient(loss, values)

        def bend(direction: Any) -> Any:
            with tf.autodiff.ForwardAccumulator(values, direction) as accumulator:
                gradients = differentiate()
            return [bent + 0.1 * part for bent, part in zip(accumulator.jvp(gradients), direction, strict=True)]

        def dot(one: Any, other: Any) -> Any:
            return tf.add_n([tf.reduce_sum(a * b) for a, b in zip(one, other, strict=True)])

        def turn(number: Any, *state: Any) -> Any:
            step, rest, direction = (list(state[i * size : (i + 1) * size]) for i in range(3))
            bent = bend(direction)
            length = dot(rest, rest) / (dot(direction, bent) + 1e-8)
            step = [a + length * b for a, b in zip(step, direction, strict=True)]
            left = [a - length * b for a, b in zip(rest, bent, strict=True)]
            ratio = dot(left, left) / (dot(rest, rest) + 1e-8)
            direction = [a + ratio * b for a, b in zip(left, direction, strict=True)]
            return (number + 1, *step, *left, *direction)

        gradients = differentiate()
        size = len(gradients)
        zeros = [tf.zeros_like(gradient) for gradient in gradients]
        done = tf.while_loop(lambda number, *state: number < 3, turn, (0, *zeros, *gradients, *gradients))
        self.optimizer.apply(done[1 : 1 + size], variables)
        return {"loss": dot(gradients, gradients)}


PARTS = {"*/b/*": "dense", "*/c/*": "dense"}
HANDED = Asked(arrived=PARTS)
ADAPTED = Asked(arrived=PARTS, kinds={"*moving*": "statistics"}, zero=("*/norm/gamma", "*/norm/beta"), arguable=True)
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
    "vector in a loop": Cell(trained_by(lambda: Vector(normalize=True)), ADAPTED, act=None),
    "vector unrolled": Cell(trained_by(lambda: Unrolled(normalize=True)), ADAPTED, act=None),
    "vector with momentum": Cell(trained_by(Clipped), HANDED, act=None),
    "vector with a learned rate": Cell(trained_by(Rated), Asked(arrived={**PARTS, "*rate": "dense"}), act=None),
    "net on a derivative": Cell(trained_by(Reading), Asked(kinds={"*moving*": "statistics"})),
    "looks ahead": Cell(trained_by(LooksAhead)),
    "conjugate gradients": Cell(trained_by(lambda: Conjugate(normalize=True))),
    "count of examples": Cell(trained_by(Counting)),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then stale."""
    assert CELLS[name].run() == []
