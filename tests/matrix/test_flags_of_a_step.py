"""A train step that sets flags itself: a GAN freezes its discriminator halfway, and leaves it so or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import PLAIN, Asked, ask, ask_loop, randomize

pytestmark = pytest.mark.tf


def make_gan(k: Any, thaws: bool) -> Any:
    class Gan(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.generator = k.layers.Dense(3, activation="tanh", name="generator")
            self.discriminator = k.layers.Dense(1, name="discriminator")

        def call(self, x: Any) -> Any:
            return self.discriminator(self.generator(x))

        def compile(self, optimizer: Any, other: Any) -> None:
            super().compile(optimizer=optimizer)
            self.other = other

        def train_step(self, data: Any) -> Any:
            x, _ = data
            self.discriminator.trainable = True
            self.teach(self.discriminator, self.optimizer, x, 0.0)
            self.discriminator.trainable = False
            loss = self.teach(self, self.other, x, 1.0)
            self.discriminator.trainable = thaws
            return {"loss": loss}

        def teach(self, part: Any, optimizer: Any, x: Any, wanted: float) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - wanted) ** 2)
            variables = part.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

    model = Gan()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(k.optimizers.Adam(0.01), k.optimizers.Adam(0.01))
    return model


@pytest.mark.parametrize("thaws", [True, False])
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_flags_of_before_the_step_count(package: str, thaws: bool) -> None:
    model, data = make_gan(pytest.importorskip(package), thaws), make_data()
    assert ask(model, data).faults == []
    assert ask(model, data, PLAIN if thaws else Asked(rules=("INT101",))).faults == []


def test_flags_that_a_loop_sets() -> None:
    keras = pytest.importorskip("keras")
    model = make_gan(keras, thaws=False)
    x, y = next(iter(make_data()))

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return model.train_step((x, y))["loss"]

    for optimizer in (model.optimizer, model.other):
        optimizer.build(model.trainable_variables)
    assert ask_loop(step, (x, y), model, model.optimizer).faults == []


def find_cause(model: Any, data: Any, rule: str) -> str:
    (found,) = [one for one in introspect.inspect(model, data=data).findings if one.rule == rule]
    return f"{found.cause} {found.fix}"


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_flags_that_the_step_sets_are_the_cause(package: str) -> None:
    """Compiled again, it sets them again."""
    model, data = make_gan(pytest.importorskip(package), thaws=False), make_data()
    model.fit(data, verbose=0)
    for _ in range(2):
        told = find_cause(model, data, "INT101")
        assert "The step itself sets discriminator.trainable at test_flags_of_a_step.py" in told
        assert "leave the flags saying what it does: discriminator.trainable = True" in told
        assert "introspect.recompile" not in told
        model.compile(type(model.optimizer)(0.01), type(model.optimizer)(0.01))
        assert ask(model, data, Asked(rules=("INT101",))).faults == []


def make_leaver(k: Any, first: bool | None, last: bool) -> Any:
    """A step that sets the flag of layer `a` before it asks for the variables, or does not, and after it."""

    class Leaver(k.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.a = k.layers.Dense(3, activation="tanh", name="a")
            self.b = k.layers.Dense(1, name="b")

        def call(self, x: Any) -> Any:
            return self.b(self.a(x))

        def train_step(self, data: Any) -> Any:
            x, y = data
            if first is not None:
                self.a.trainable = first
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            self.a.trainable = last
            return {"loss": loss}

    model = Leaver()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(k.optimizers.Adam(0.01))
    return model


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_step_that_thaws_what_it_has_left_out(package: str) -> None:
    model, data = make_leaver(pytest.importorskip(package), first=False, last=True), make_data()
    model.fit(data, verbose=0)
    assert "The step itself sets a.trainable" in find_cause(model, data, "INT103")
    assert ask(model, data, Asked(rules=("INT103",))).faults == []


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_a_step_that_only_leaves_another_flag(package: str) -> None:
    """Traced anew it would go by what it has left: the old trace is the cause, and compiling again mends it."""
    model, data = make_leaver(pytest.importorskip(package), first=None, last=False), make_data()
    model.optimizer.build(model.trainable_variables)  # else the first call traces twice, with what the first trace left
    model.fit(data, verbose=0)
    told = find_cause(model, data, "INT101")
    assert "itself sets" not in told
    assert "introspect.recompile" in told
    assert ask(model, data, Asked(rules=("INT101",))).faults == []
    introspect.recompile(model)
    assert ask(model, data).faults == []
