"""What a data set's `map` runs, outside of the step: a net there does not train, frozen or not, and statistics move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from introspect.capture import read_capture, write_capture
from introspect.capture.model import capture_model
from introspect.diagnosis import diagnose
from tests.oracle import Asked, ask
from tests.rules.reported import Case, batches, require_silent, require_told, x

pytestmark = pytest.mark.tf

layers = keras.layers
Take = Callable[[Any, Any], Any]
"""(model, data of the step) -> a batch"""
Hold = Callable[[Any], Any]
"""set -> what the model holds of it"""


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


class Normalized(keras.Model):
    """Holds a BatchNormalization that only data sets run; `step` says from where the train step takes its batch."""

    def __init__(self, take: Take) -> None:
        super().__init__(name="normalized")
        self.pre, self.out = layers.BatchNormalization(name="pre"), layers.Dense(1, name="out")
        self.pre.build((None, 4))
        self.take = take
        self.held: Any = None

    def call(self, inputs: Any) -> Any:
        return self.out(inputs)

    def train_step(self, data: Any) -> Any:
        inputs, target = self.take(self, data)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(inputs, training=True) - target) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def feed(model: Any, data: Any, training: bool) -> Any:
    return data.map(lambda inputs, target: (model.pre(inputs, training=training), target))


def make_inside(model: Any, data: Any, training: bool) -> Any:
    return next(iter(feed(model, tf.data.Dataset.from_tensor_slices(data).batch(4), training)))


TAKES: dict[str, tuple[Take, Hold]] = {
    "held set": (lambda model, _: next(iter(model.held)), lambda fed: fed),
    "held iterator": (lambda model, _: next(model.held), lambda fed: iter(fed.repeat())),
    "set in a list": (lambda model, _: next(iter(model.held[0])), lambda fed: [fed]),
}


def normalize(take: Take, hold: Hold, training: bool = True, frozen: bool = False) -> tuple[Any, Any]:
    keras.backend.clear_session()
    model = Normalized(take)
    model(x)
    model.pre.trainable = not frozen
    model.held = hold(feed(model, batches(), training))
    model.compile("sgd", "mse")
    return model, batches()


def given(training: bool = True, frozen: bool = False) -> tuple[Any, Any]:
    model, data = normalize(lambda model, data: data, lambda fed: None, training, frozen)
    return model, feed(model, data, training)


MOVING = Asked(kinds={"pre/moving_*": "statistics"}, rules=("INT104",))


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
def test_statistics_that_the_data_set_moves_are_told(fitted: bool) -> None:
    model, data = given()
    if fitted:
        model.fit(data, verbose=0)
    outcome = ask(model, data, MOVING)
    assert outcome.faults == []
    assert outcome.report is not None
    (write,) = outcome.report.variable("pre/moving_mean").writes
    assert (write.function, write.trace, write.op_type) == ("Dataset.map", None, "AssignVariableOp")


@pytest.mark.parametrize("name", TAKES)
def test_a_set_that_the_step_holds(name: str) -> None:
    model, data = normalize(*TAKES[name])
    assert [ask(model, data, MOVING).faults for _ in range(2)] == [[], []]


@pytest.mark.parametrize("training", [True, False])
def test_a_set_that_the_step_makes(training: bool) -> None:
    model, data = normalize(lambda model, data: make_inside(model, data, training), lambda fed: None)
    outcome = ask(model, data, MOVING if training else Asked(rules=("INT104",)))
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = outcome.report.findings
    assert "The data set runs layer pre (Dataset.map)" in finding.cause


@pytest.mark.parametrize("source", [given, lambda **how: normalize(*TAKES["held set"], **how)], ids=["given", "held"])
def test_twins_of_statistics_do_not_move(source: Any) -> None:
    """Frozen before map is called, or run as at inference."""
    frozen, fed = source(frozen=True)
    require_silent(lambda: frozen, fed)
    model, data = source(training=False)
    assert ask(model, data, Asked(rules=("INT104",))).faults == []


def test_a_layer_that_is_frozen_after_map_is_told() -> None:
    model, data = given()
    model.pre.trainable = False
    outcome = ask(model, data, Asked(rules=("INT102",)))
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = outcome.report.findings
    assert finding.variables == ("pre/moving_mean", "pre/moving_variance")
    assert "call map again after freezing" in finding.fix
    require_silent(lambda: model, feed(model, batches(), True))


def test_functions_of_data_sets_are_kept_in_a_file(tmp_path: Path) -> None:
    model, data = given()
    model.pre.trainable = False
    capture = capture_model(model, data)
    write_capture(capture, str(tmp_path / "one.capture"))
    kept = diagnose(read_capture(str(tmp_path / "one.capture")))
    assert [one.rule for one in kept.findings] == ["INT102"]
    assert [write.kind for write in kept.variable("pre/moving_mean").writes] == ["statistics"]


def test_what_a_data_set_trains_is_unknown() -> None:
    model, data = normalize(lambda model, data: data, lambda fed: None)

    def train(inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.pre(inputs) - 1.0) ** 2)
        for variable, gradient in zip(
            model.pre.trainable_variables, tape.gradient(loss, model.pre.trainable_variables), strict=True
        ):
            variable.assign_sub(0.1 * gradient)
        return inputs, target

    outcome = ask(model, data.map(train), Asked(opaque=True, arguable=True))
    assert outcome.faults == []
    assert outcome.report is not None
    row = outcome.report.variable("pre/gamma")
    assert (row.updated, row.reason) == ("unknown", "a data set trains it in its map, as often as elements are taken")
