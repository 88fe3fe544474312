"""A net that a data set's `map` runs, outside of the step: it does not train, frozen or not."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.rules.reported import Case, batches, require_silent, require_told, x

pytestmark = pytest.mark.tf

layers = keras.layers


class Taught(keras.Model):
    """Learns what a teacher says, which it holds or not, and calls in the step or not."""

    def __init__(self, teacher: Any, holds: bool = True, calls: bool = False) -> None:
        super().__init__(name="taught")
        self.out = layers.Dense(1, name="out")
        if holds:
            self.teacher = teacher
        self.calls = calls

    def call(self, inputs: Any) -> Any:
        return self.out(self.teacher(inputs) if self.calls else inputs)


def teach(trainable: bool, **how: bool) -> tuple[Any, Any]:
    teacher = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="hid")], name="teacher")
    teacher.trainable = trainable
    model = Taught(teacher, **how)
    model(x)
    model.compile("sgd", "mse")
    answer = tf.function(lambda inputs: teacher(inputs))
    return model, batches().map(lambda inputs, _: (inputs, answer(inputs))).prefetch(1)


def test_a_teacher_that_the_data_set_runs_is_told() -> None:
    model, data = teach(trainable=True)
    said = ("The data set runs layer teacher (Dataset.map)", 'model.get_layer("teacher").trainable = False')
    require_told(Case(lambda: model, "INT104", said, ("it is not called",)), data)


@pytest.mark.parametrize(
    ("trainable", "how"),
    [(False, {}), (True, {"holds": False}), (False, {"holds": False}), (True, {"calls": True})],
    ids=["frozen", "outside", "frozen_outside", "called_too"],
)
def test_a_teacher_that_is_right_is_no_alarm(trainable: bool, how: dict[str, bool]) -> None:
    model, data = teach(trainable, **how)
    require_silent(lambda: model, data)


def test_a_trained_step_is_read_with_its_data_set() -> None:
    model, data = teach(trainable=True)
    model.fit(data, verbose=0)
    (finding,) = introspect.inspect(model, data=data).findings
    assert "The data set runs layer teacher" in finding.cause
    assert "it is not called" in introspect.inspect(model).findings[0].cause
