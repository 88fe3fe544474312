"""INT203 of a loop that does not say which optimizer it trains with: what its function leads to is found."""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.rules.exchanged import PACKAGES, X, Y, count, make_layers, train

pytestmark = pytest.mark.tf

STATE = SimpleNamespace(optimizer=None)
"""What a function of this module names."""


def apply_state(model: Any, x: Any, y: Any) -> Any:
    return train(model, STATE.optimizer, x, y)


class Trainer:
    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer

    @tf.function
    def step(self, x: Any, y: Any) -> Any:
        return train(self.model, self.optimizer, x, y)


class Called(Trainer):
    def __call__(self, x: Any, y: Any) -> Any:
        return train(self.model, self.optimizer, x, y)


Give = Callable[[Any], None]


def make_closure(model: Any, optimizer: Any) -> tuple[Any, Give]:
    def give(other: Any) -> None:
        nonlocal optimizer
        optimizer = other

    return tf.function(lambda x, y: train(model, optimizer, x, y)), give


def make_dict(model: Any, optimizer: Any) -> tuple[Any, Give]:
    held = {"late": optimizer}
    return tf.function(lambda x, y: train(model, held["late"], x, y)), lambda other: held.update(late=other)


def make_method(model: Any, optimizer: Any) -> tuple[Any, Give]:
    trainer = Trainer(model, optimizer)
    return trainer.step, lambda other: setattr(trainer, "optimizer", other)


def make_object(model: Any, optimizer: Any) -> tuple[Any, Give]:
    trainer = Called(model, optimizer)
    return tf.function(trainer), lambda other: setattr(trainer, "optimizer", other)


def make_called(model: Any, optimizer: Any) -> tuple[Any, Give]:
    """The optimizer is named by a function that the step calls."""
    STATE.optimizer = optimizer
    return tf.function(lambda x, y: apply_state(model, x, y)), lambda other: setattr(STATE, "optimizer", other)


def make_compiled(model: Any, optimizer: Any) -> tuple[Any, Give]:
    model.compile(optimizer, "mse")
    return tf.function(lambda x, y: train(model, model.optimizer, x, y)), lambda o: setattr(model, "optimizer", o)


WAYS = {
    "optimizer": make_closure,
    "held['late']": make_dict,
    "self.optimizer": make_method,
    "self.optimizer ": make_object,
    "STATE.optimizer": make_called,
    "model.optimizer": make_compiled,
}


@PACKAGES
@pytest.mark.parametrize("alone", [False, True], ids=["model", "alone"])
@pytest.mark.parametrize("gone", [False, True], ids=["alive", "gone"])
@pytest.mark.parametrize("way", WAYS)
def test_one_that_was_assigned_later_does_nothing(package: Any, way: str, gone: bool, alone: bool) -> None:
    model = make_layers(package)
    old, new = package.optimizers.Adam(), package.optimizers.SGD(0.5)
    step, give = WAYS[way](model, old)
    step(X, Y)
    named = {} if alone else {"model": model}
    assert introspect.inspect(step, args=(X, Y), **named).findings == ()
    give(new)
    if gone:
        old = None
        gc.collect()
    (finding,) = introspect.inspect(step, args=(X, Y), **named, try_fixes=True).findings
    assert finding.rule == "INT203"
    assert f"does not use {way.strip()} (SGD " in finding.message
    assert finding.verified
    step(X, Y)
    assert count(new) == 0
    step = tf.function(step.python_function)
    assert introspect.inspect(step, args=(X, Y), **named).findings == ()
    step(X, Y)
    assert count(new) == 1


@PACKAGES
def test_optimizers_that_a_step_names_and_does_not_use(package: Any) -> None:
    """One for another phase, beside numbers of the loop's own; nothing was assigned."""
    model, first, second = make_layers(package), package.optimizers.Adam(), package.optimizers.SGD(0.5)
    second.build(model.trainable_variables)
    scale, calls = tf.Variable(0.5, trainable=False), tf.Variable(0, trainable=False)

    def choose(warm: bool) -> Any:
        return first if warm else second

    @tf.function
    def step(x: Any, y: Any, warm: bool = True) -> Any:
        calls.assign_add(1)
        return train(model, choose(warm), x, y * scale)

    step(X, Y)
    for named in ({}, {"model": model}):
        assert introspect.inspect(step, args=(X, Y), **named).findings == ()
    step(X, Y, warm=False)
    for named in ({}, {"model": model}):
        for warm in (True, False):
            assert introspect.inspect(step, args=(X, Y, warm), **named).findings == ()


def test_the_fix_of_a_loop_names_its_optimizer() -> None:
    """INT201 of a loop that leaves `optimizer=` out: the new one goes by the name that the function has for it."""
    model, adam = make_layers(keras), keras.optimizers.Adam()
    model.layers[0].trainable = False
    adam.build(model.trainable_variables)
    model.layers[0].trainable = True

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return train(model, adam, x, y)

    (finding,) = introspect.inspect(step, args=(X, Y), model=model, try_fixes=True).findings
    assert finding.rule == "INT201"
    assert "adam = type(adam).from_config(adam.get_config())" in finding.fix
    assert finding.verified
