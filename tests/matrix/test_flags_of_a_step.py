"""A train step that sets flags itself: a GAN freezes its discriminator halfway, and leaves it so or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

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
