"""A network whose weights are parts of one vector, some of them stopped: the vector trains as long as one part does."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.rules.reported import Case, require_silent, require_told, x

pytestmark = pytest.mark.tf

CUTS = ("split", "slice", "unstack", "gather")


class Flat(keras.Model):
    """`parts` says how the vector is taken apart, `stopped` which parts get no gradient."""

    def __init__(self, parts: str, stopped: str) -> None:
        super().__init__(name="flat")
        self.vector = self.add_weight(shape=(15,), name="vector", initializer="random_normal")
        self.out = keras.layers.Dense(1, name="out")
        self.parts, self.stopped = parts, stopped

    def call(self, inputs: Any) -> Any:
        first, second = self.take(tf.convert_to_tensor(self.vector))
        first = tf.stop_gradient(first) if "first" in self.stopped else first
        second = tf.stop_gradient(second) if "second" in self.stopped else second
        return self.out(tf.tanh(inputs @ tf.reshape(first, (4, 3))) @ tf.reshape(second, (3, 1)))

    def take(self, vector: Any) -> Any:
        if self.parts == "split":
            return tf.split(vector, [12, 3])
        if self.parts == "slice":
            return vector[:12], vector[12:]
        if self.parts == "gather":
            return tf.gather(vector, tf.range(12)), tf.gather(vector, tf.range(12, 15))
        single = tf.unstack(vector)
        return tf.stack(single[:12]), tf.stack(single[12:])


def flat(parts: str, stopped: str) -> Any:
    model = Flat(parts, stopped)
    model(x)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("parts", CUTS)
@pytest.mark.parametrize("stopped", ["", "first", "second"])
def test_a_vector_trains_by_the_parts_that_are_not_stopped(parts: str, stopped: str) -> None:
    require_silent(lambda: flat(parts, stopped))


@pytest.mark.parametrize("parts", CUTS)
def test_a_vector_of_which_every_part_is_stopped_does_not_train(parts: str) -> None:
    said = (
        "Every way from it to the loss is cut: by StopGradient (test_flat_vector.py:",
        "Another way is cut by StopGradient",
    )
    require_told(Case(lambda: flat(parts, "first second"), "INT104", said))
