"""What a step writes into an object that it reaches by a method, a partial or a weak reference alone: a look leaves nothing of it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import introspect
from tests.rules import exchanged
from tests.rules.exchanged import PACKAGES, X, Y, make_layers

pytestmark = pytest.mark.tf


class Trainer:
    """Counts its traces."""

    def __init__(self, package: Any) -> None:
        self.model, self.optimizer = make_layers(package), package.optimizers.Adam()
        self.traces = 0
        self.seen: list[int] = []

    def train(self, x: Any, y: Any) -> Any:
        self.traces += 1
        self.seen.append(self.traces)
        return exchanged.train(self.model, self.optimizer, x, y)

    step = tf.function(train)


def train(trainer: Trainer, x: Any, y: Any) -> Any:
    return trainer.train(x, y)


def train_of(holder: Any) -> Callable[[Any, Any], Any]:
    """A function that holds its trainer by what the holder is."""

    def step(x: Any, y: Any) -> Any:
        if isinstance(holder, weakref.ref):
            return holder().train(x, y)
        return next(iter(holder.values() if hasattr(holder, "values") else holder)).train(x, y)

    return step


WAYS: dict[str, Callable[[Trainer], Any]] = {
    "a tf.function of the class": lambda trainer: trainer.step,
    "a partial": lambda trainer: tf.function(functools.partial(train, trainer)),
    "an eager partial": lambda trainer: functools.partial(train, trainer=trainer),
    "a partial of a method": lambda trainer: tf.function(functools.partial(trainer.train)),
    "a weak reference": lambda trainer: tf.function(train_of(weakref.ref(trainer))),
    "a weak set": lambda trainer: tf.function(train_of(weakref.WeakSet([trainer]))),
    "a weak dict": lambda trainer: tf.function(train_of(weakref.WeakValueDictionary({"it": trainer}))),
}


@PACKAGES
@pytest.mark.parametrize("way", WAYS)
def test_a_look_leaves_nothing_of_a_trace(package: Any, way: str) -> None:
    trainer = Trainer(package)
    step = WAYS[way](trainer)
    given = {"args": (), "kwargs": {"x": X, "y": Y}} if way == "an eager partial" else {"args": (X, Y)}
    for named in ({}, {"model": trainer.model, "optimizer": trainer.optimizer}):
        assert introspect.inspect(step, **given, **named).findings == ()
        assert (trainer.traces, trainer.seen) == (0, [])
    step(x=X, y=Y)
    assert trainer.traces == len(trainer.seen) > 0
