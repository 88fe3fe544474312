"""Distillation by the hard labels of a teacher that was never frozen: no gradient could come, and the step asks for none."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import introspect
from tests.oracle import Asked, ask
from tests.rules import reported
from tests.rules.exchanged import PACKAGES, make_layers

pytestmark = pytest.mark.tf
FITTED = pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
X, Y = reported.x, reported.y
FREEZE = 'model.get_layer("teacher").trainable = False\nintrospect.recompile(model)'


def make_distiller(package: Any, asks: bool, fitted: bool) -> Any:
    """A compiled model; `asks`: whether its step asks for the gradients of the teacher too."""

    class Distiller(package.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.student = make_layers(package)
            self.teacher = package.Sequential([package.layers.Dense(1)], name="teacher")

        def call(self, inputs: Any) -> Any:
            return self.student(inputs)

        def train_step(self, data: Any) -> Any:
            labels = tf.cast(tf.argmax(tf.concat([-self.teacher(data[0]), self.teacher(data[0])], 1), 1), "float32")
            weights = self.trainable_variables if asks else self.student.trainable_variables
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.student(data[0])[:, 0] - labels) ** 2)
            gradients = zip(tape.gradient(loss, weights), weights, strict=True)
            self.optimizer.apply_gradients([pair for pair in gradients if pair[0] is not None])
            return {"loss": loss}

    model = Distiller()
    model.teacher(X)
    model(X)
    model.compile("sgd")
    if fitted:
        model.fit(X, Y, verbose=0)
    return model


@FITTED
@PACKAGES
def test_freezing_comes_first(package: Any, fitted: bool) -> None:
    model = make_distiller(package, False, fitted)
    (finding,) = introspect.inspect(model, data=(X, Y), try_fixes=True).findings
    assert (finding.rule, finding.certainty, len(finding.variables)) == ("INT104", "proven", 2)
    assert finding.cause.startswith("The step never asks a tape for their gradients, and none could come. Every way")
    assert finding.fix.partition("\n")[2].startswith(FREEZE)
    assert "# or, where they are to train, in train_step, ask the tape" in finding.fix
    assert "# and let a gradient through:\n# at test_teachers.py:" in finding.fix
    assert (finding.trials[0].verified, FREEZE in finding.trials[0].code) == (True, True)
    outcome = ask(model, tf.data.Dataset.from_tensors((X, Y)), Asked(rules=("INT104",)))
    assert outcome.faults == []


@FITTED
@PACKAGES
def test_a_step_that_asks_is_told_of_the_cut(package: Any, fitted: bool) -> None:
    (finding,) = introspect.inspect(make_distiller(package, True, fitted), data=(X, Y)).findings
    assert finding.cause.startswith("Every way from them to the loss is cut: by ArgMax (test_teachers.py:")
    assert "weigh by softmax instead of choosing" in finding.fix.partition("\n")[0]


@PACKAGES
def test_a_frozen_teacher_is_no_finding(package: Any) -> None:
    model = make_distiller(package, False, False)
    model.teacher.trainable = False
    model.compile("sgd")
    outcome = ask(model, tf.data.Dataset.from_tensors((X, Y)))
    assert (outcome.faults, outcome.report.findings if outcome.report else None) == ([], ())


@PACKAGES
def test_a_loop_is_asked_too(package: Any) -> None:
    model, optimizer = make_distiller(package, False, False), package.optimizers.SGD()

    @tf.function
    def step(x: Any) -> Any:
        labels = tf.cast(tf.argmax(tf.concat([-model.teacher(x), model.teacher(x)], 1), 1), "float32")
        weights = model.student.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.student(x)[:, 0] - labels) ** 2)
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    step(X)
    report = introspect.inspect(step, args=(X,), model=model, optimizer=optimizer)
    (finding,) = [one for one in report.findings if one.rule == "INT104"]
    assert finding.cause.startswith("The step never asks a tape for their gradients")
