"""Fixes of a loop name its step and its optimizer as the user's code reaches them: run as they stand, they mend it."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import pytest
import tensorflow as tf

import introspect
from introspect.remedies import read_remedies
from tests.fixes.steps import make_data, make_model, path_of, values
from tests.rules.exchanged import train

pytestmark = pytest.mark.tf


class Trainer:
    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer
        self.fast = tf.function(self.plain)

    @tf.function
    def train_step(self, x: Any, y: Any) -> Any:
        return train(self.model, self.optimizer, x, y)

    def plain(self, x: Any, y: Any) -> Any:
        return train(self.model, self.optimizer, x, y)

    def look(self, **options: Any) -> Any:
        return introspect.inspect(self.train_step, model=self.model, optimizer=self.optimizer, **options)


class Holder:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer


class Callable:
    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __call__(self, x: Any, y: Any) -> Any:
        return train(self.trainer.model, self.trainer.optimizer, x, y)


def call_partly(trainer: Trainer, x: Any, y: Any) -> Any:
    return train(trainer.model, trainer.optimizer, x, y)


KINDS = {
    "decorated method": ("trainer.train_step", lambda trainer: None),
    "tf.function of a method": ("trainer.fast", lambda trainer: None),
    "held deeper": ("holder.trainer.train_step", Holder),
    "lambda": ("run", lambda trainer: tf.function(lambda x, y: train(trainer.model, trainer.optimizer, x, y))),
    "partial": ("run", lambda trainer: tf.function(functools.partial(call_partly, trainer))),
    "item of a dict": ("run['update']", lambda trainer: {"update": tf.function(trainer.plain)}),
    "item of a list": ("run[0]", lambda trainer: [tf.function(trainer.plain)]),
    "callable object": ("run", lambda trainer: tf.function(Callable(trainer))),
}


def look(names: dict[str, Any], expression: str, x: Any, y: Any) -> Any:
    """A user's module: its names, and one line that asks."""
    names |= {"introspect": introspect, "data": (x, y), "tf": tf}
    owner = expression.rpartition(".")[0] or "trainer"
    line = (
        f"introspect.inspect({expression}, args=data, model={owner}.model, optimizer={owner}.optimizer, try_fixes=True)"
    )
    code = compile(f"report = {line}", __file__, "exec")
    exec(code, names)
    return names["report"]


@pytest.mark.parametrize(
    ("library", "unfrozen"),
    [("keras", False), ("keras", True), ("tf_keras", True), pytest.param("tf_keras", False, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_fix_as_it_stands(library: str, unfrozen: bool, kind: str) -> None:
    """The code of the fix, run in the user's module, does what the report says of it."""
    expression, make = KINDS[kind]
    model, optimizer = make_model(library), importlib.import_module(library).optimizers.Adam(0.1)
    model.get_layer("d1").trainable = not unfrozen
    trainer = Trainer(model, optimizer)
    made = make(trainer)
    names = {"holder": made} if kind == "held deeper" else {"trainer": trainer, "run": made}
    eval(expression, names)(*make_data())
    model.get_layer("d1").trainable = unfrozen
    (finding,) = look(names, expression, *make_data()).findings
    assert f"{expression} = tf.function({expression}.python_function)" in finding.fix
    assert finding.verified
    code = read_remedies(finding.fix)[0].code
    exec(code, names)
    before = values(model.variables)
    eval(expression, names)(*make_data())
    pairs = zip(model.variables, before, values(model.variables), strict=True)
    moved = {path_of(variable) for variable, old, new in pairs if old.tobytes() != new.tobytes()}
    assert moved == {path_of(variable) for variable in model.trainable_variables}


def test_an_object_that_asks_of_itself() -> None:
    """Inside of a method it is `self`, and so is a plain method's optimizer, which nothing but a new one mends."""
    model, optimizer = make_model("keras"), importlib.import_module("keras").optimizers.Adam(0.1)
    model.get_layer("d1").trainable = False
    trainer = Trainer(model, optimizer)
    trainer.train_step(*make_data())
    model.get_layer("d1").trainable = True
    (finding,) = trainer.look(args=make_data()).findings
    assert "self.train_step = tf.function(self.train_step.python_function)" in finding.fix
    assert "self.optimizer = type(self.optimizer).from_config(self.optimizer.get_config())" in finding.fix
    (finding,) = introspect.inspect(trainer.plain, args=make_data(), model=model, optimizer=optimizer).findings
    assert finding.rule == "INT201"
    assert finding.fix.startswith("trainer.optimizer = type(trainer.optimizer)")


def test_a_method_without_a_stale_trace_is_left_alone() -> None:
    """The healthy twin: no finding, and nothing of the object was read by its properties."""
    model, optimizer = make_model("keras"), importlib.import_module("keras").optimizers.Adam(0.1)
    trainer = Trainer(model, optimizer)
    asked: list[str] = []
    type(trainer).loud = property(lambda self: asked.append("loud"))  # type: ignore[attr-defined]
    try:
        trainer.train_step(*make_data())
        report = introspect.inspect(trainer.train_step, args=make_data(), model=model, optimizer=optimizer)
    finally:
        del type(trainer).loud  # type: ignore[attr-defined]
    assert report.ok
    assert asked == []
