"""What people do to gradients between the tape and the optimizer: each is an update from the variable's own gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.cells import Cell
from tests.matrix.test_custom_training import SHAPES, Base, stack, trained_by
from tests.oracle import Asked

pytestmark = pytest.mark.tf

Change = Callable[[list[Any], list[Any]], list[Any]]
OWN = Asked(arrived={"*/b/*": "dense", "*/c/*": "dense"})
"""A step that applies gradients without an optimizer."""


class Changed(Base):
    """A step that hands the optimizer what `change` makes of the gradients."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        variables = self.trainable_variables
        gradients = self.change(tape.gradient(loss, variables), variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"loss": loss}


def each(change: Callable[[Any], Any]) -> Change:
    return lambda gradients, _: [change(gradient) for gradient in gradients]


def keep_largest(gradient: Any) -> Any:
    flat = tf.reshape(gradient, [-1])
    rows = tf.math.top_k(tf.abs(flat), max(1, flat.shape[0] // 2)).indices
    return tf.reshape(tf.scatter_nd(rows[:, None], tf.gather(flat, rows), flat.shape), gradient.shape)


def clip_by_quantile(gradient: Any) -> Any:
    sizes = tf.sort(tf.reshape(tf.abs(gradient), [-1]))
    most = sizes[int(sizes.shape[0] * 0.9)]
    return tf.clip_by_value(gradient, -most, most)


def spread_whole_sum(gradients: list[Any], variables: list[Any]) -> list[Any]:
    total = tf.add_n([tf.reduce_sum(gradient) for gradient in gradients])
    return [total * tf.ones_like(variable) for variable in variables]


def follow_noise(gradients: list[Any], variables: list[Any]) -> list[Any]:
    size = tf.linalg.global_norm(gradients)
    return [size * tf.random.normal(variable.shape) for variable in variables]


def flatten(gradients: list[Any], variables: list[Any]) -> list[Any]:
    whole = tf.concat([tf.reshape(gradient, [-1]) for gradient in gradients], 0)
    parts = tf.split(whole / tf.norm(whole), [int(np.prod(gradient.shape)) for gradient in gradients])
    return [tf.reshape(part, gradient.shape) for part, gradient in zip(parts, gradients, strict=True)]


CHANGES: dict[str, Change] = {
    "sum over ones": each(lambda g: tf.reduce_sum(g) * tf.ones_like(g)),
    "mean, broadcast": each(lambda g: tf.broadcast_to(tf.reduce_mean(g), g.shape)),
    "mean, filled": each(lambda g: tf.fill(g.shape, tf.reduce_mean(g))),
    "sum of all": spread_whole_sum,
    "noise as large as the norm of all": follow_noise,
    "sum in a branch": each(lambda g: tf.cond(tf.norm(g) > 0.1, lambda: tf.reduce_sum(g) * tf.ones_like(g), lambda: g)),
    "clipped sum": lambda g, v: tf.clip_by_global_norm([tf.reduce_sum(one) * tf.ones_like(one) for one in g], 0.1)[0],
    "one number": each(lambda g: tf.sign(g) * tf.reduce_mean(tf.abs(g))),
    "largest half": each(keep_largest),
    "own quantile": each(clip_by_quantile),
    "one bit": each(lambda g: tf.where(g > 0, 1.0, -1.0)),
    "largest alone": each(
        lambda g: tf.reshape(tf.one_hot(tf.argmax(tf.reshape(g, [-1])), int(np.prod(g.shape))), g.shape)
    ),
    "integers": each(lambda g: tf.cast(tf.cast(g * 1e4, tf.int32), tf.float32) / 1e4),
    "flat and back": flatten,
}


WITH_SLOTS = ("sum over ones", "sum of all", "clipped sum", "largest half")


@pytest.mark.parametrize(("name", "optimizer"), [*((n, "sgd") for n in CHANGES), *((n, "adam") for n in WITH_SLOTS)])
def test_change(name: str, optimizer: str) -> None:
    """Healthy twice, then stale."""
    assert Cell(trained_by(lambda: Changed(CHANGES[name]), optimizer=optimizer)).run() == []


class Projected(Base):
    """PCGrad: of two tasks' gradients, each sheds what goes against the other."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            out = self(x, training=True)
            losses = tf.reduce_mean(tf.square(out - y)), tf.reduce_mean(tf.abs(out))
        variables = self.trainable_variables
        one, other = (tape.gradient(loss, variables) for loss in losses)
        changed = [self.project(a, b) + self.project(b, a) for a, b in zip(one, other, strict=True)]
        self.optimizer.apply(changed, variables)
        return {"loss": losses[0]}

    def project(self, one: Any, other: Any) -> Any:
        angle = tf.reduce_sum(one * other)
        return tf.cond(angle < 0, lambda: one - angle * other / (tf.reduce_sum(other * other) + 1e-6), lambda: one)


class ByMean(Base):
    """The mean of each gradient, by hand; `remember` keeps it in one number of the model's."""

    def __init__(self, remember: bool) -> None:
        super().__init__()
        rows = range(len(SHAPES) if remember else 0)
        self.means = [self.add_weight(shape=(), initializer="zeros", trainable=False, name=f"mean{i}") for i in rows]

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        for place, (v, g) in enumerate(
            zip(self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True)
        ):
            mean = tf.reduce_mean(g)
            if self.means:
                self.means[place].assign(0.9 * self.means[place] + mean)
                mean = self.means[place].value
            v.assign_sub(0.1 * mean * tf.ones_like(v))
        return {"loss": loss}


class Followed(Base):
    """A frozen target that averages what sums of gradients have just made of its net."""

    def __init__(self) -> None:
        super().__init__()
        self.target, self.online = stack("target"), stack("online")
        self.target.trainable = False

    def call(self, x: Any, training: bool = False) -> Any:
        return super().call(x, training) + self.online(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x) - y)) + tf.reduce_mean(tf.square(self.online(x) - self.target(x)))
        gradients = tape.gradient(loss, variables)
        new = {id(v): v - 0.01 * tf.reduce_sum(g) * tf.ones_like(g) for v, g in zip(variables, gradients, strict=True)}
        for variable in variables:
            variable.assign(new[id(variable)])
        for slow, fast in zip(self.target.weights, self.online.weights, strict=True):
            slow.assign(0.99 * slow + 0.01 * new[id(fast)])
        return {"loss": loss}


class MeanOptimizer(keras.optimizers.Optimizer):
    """An optimizer of the user's own that keeps one number for each variable."""

    def build(self, variables: Any) -> None:
        if not self.built:
            super().build(variables)
            self.means = [self.add_variable(shape=(), name="mean", initializer="zeros") for _ in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        mean = self.means[self._get_variable_index(variable)]
        self.assign(mean, 0.9 * mean + tf.reduce_mean(gradient))
        self.assign_sub(variable, mean * learning_rate * tf.ones_like(variable))


CELLS: dict[str, Cell] = {
    "projected": Cell(trained_by(Projected)),
    "by hand": Cell(trained_by(lambda: ByMean(False)), OWN),
    "remembered": Cell(trained_by(lambda: ByMean(True)), OWN),
    "own optimizer": Cell(trained_by(Base, optimizer=MeanOptimizer(0.1))),
    "average of what sums trained": Cell(
        trained_by(Followed), Asked(arrived={**OWN.arrived, "*online*": "dense"}, averaged=("target/target_*",))
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then stale."""
    assert CELLS[name].run() == []


def test_a_sum_is_measured_as_the_gradient_that_it_is_made_of() -> None:
    model, data = trained_by(lambda: Changed(CHANGES["sum over ones"]), optimizer="sgd")()
    x, y = next(iter(data))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
    report = introspect.inspect(model, data=data, measure=True)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        measured = report.variable(variable.path).measured
        assert measured is not None
        assert measured.gradient_norm == pytest.approx(float(tf.norm(gradient)), rel=1e-4)


SCALED: dict[str, Change] = {
    "clipped": lambda gradients, _: tf.clip_by_global_norm(gradients, 0.1)[0],
    "by the norm": lambda gradients, _: [g / tf.linalg.global_norm(gradients) for g in gradients],
    "by a mean": lambda gradients, _: [g * tf.reduce_mean(gradients[-1]) for g in gradients],
}


class Half(Base):
    """Zeros stand in for the gradient of layer b, and all are scaled by a number that is made of the others'."""

    def __init__(self, scale: Change) -> None:
        super().__init__()
        self.scale = scale

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.c(tf.stop_gradient(self.b(self.a(x)))) - y))
        variables = self.trainable_variables
        pairs = zip(variables, tape.gradient(loss, variables), strict=True)
        gradients = [tf.zeros_like(v) if g is None else g for v, g in pairs]
        self.optimizer.apply(self.scale(gradients, variables), variables)
        return {"loss": loss}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", SCALED)
def test_zeros_stay_zeros_whatever_scales_them(name: str, optimizer: str) -> None:
    model, data = trained_by(lambda: Half(SCALED[name]), optimizer=optimizer)()
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    report = introspect.inspect(model, data=data)
    model.fit(data, verbose=0)
    for variable in model.trainable_variables:
        moves = bool((before[variable.path] != variable.numpy()).any())
        assert moves is ("/c/" in variable.path)
        row = report.variable(variable.path)
        assert (row.updated, row.gradient) == (("yes", "dense") if moves else ("no", "none"))
        assert ("INT104" in row.findings) is not moves
