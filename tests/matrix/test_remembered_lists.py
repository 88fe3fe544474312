"""Steps that ask functools.cache or functools.lru_cache for the variables to train: a list made once, for this model."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import Asked, ask, randomize

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")


def choose(model: Any, part: str = "all") -> list[Any]:
    return list(model.trainable_variables)


def remember_in_method(names: dict[str, Any]) -> Any:
    names["choose"] = functools.lru_cache(choose)
    return names["choose"]


def remember_one(names: dict[str, Any]) -> Any:
    names["choose"] = functools.lru_cache(maxsize=1, typed=True)(choose)
    return names["choose"]


def remember_in_property(names: dict[str, Any]) -> Any:
    cached = functools.cache(choose)
    names["chosen"] = property(cached)
    names["choose"] = lambda self: self.chosen
    return cached


def remember_in_function(names: dict[str, Any]) -> Any:
    cached = functools.cache(choose)
    names["choose"] = lambda self: cached(self, part="all")
    return cached


def remember_static(names: dict[str, Any]) -> Any:
    cached = functools.cache(choose)
    names["take"] = staticmethod(cached)
    names["choose"] = lambda self: self.take(self)
    return cached


WAYS = {
    "method": remember_in_method,
    "one": remember_one,
    "property": remember_in_property,
    "function": remember_in_function,
    "static": remember_static,
}


def build(package: str, way: str) -> tuple[Any, Any, Any]:
    """(model, its data, the cache)"""
    keras = importlib.import_module(package)
    layers = keras.layers

    def create(self: Any) -> None:
        keras.Model.__init__(self)
        self.a, self.b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(4, activation="tanh", name="b")
        self.c = layers.Dense(1, name="c")

    def call(self: Any, x: Any, training: bool = False) -> Any:
        return self.c(self.b(self.a(x)))

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        variables = self.choose()
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    names: dict[str, Any] = {"__init__": create, "call": call, "train_step": train_step}
    cache = WAYS[way](names)
    model: Any = type("Net", (keras.Model,), names)()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model, make_data(), cache


def look(model: Any, data: Any, cache: Any) -> Any:
    """A report, and nothing of the cache is touched."""
    before = cache.cache_info()
    report = introspect.inspect(model, data=data)
    assert cache.cache_info() == before
    return report


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("way", WAYS)
def test_a_list_from_before_a_flag(package: str, way: str) -> None:
    """A step traced anew trains what the cache holds; it is healthy again once the cache is empty."""
    model, data, cache = build(package, way)
    look(model, data, cache)
    outcome = ask(model, data)
    assert (outcome.faults, outcome.rules) == ([], set())
    model.b.trainable = False
    model.compile(type(model.optimizer)(0.05), "mse")
    report = look(model, data, cache)
    (finding,) = [found for found in report.findings if found.rule == "INT101"]
    assert len(finding.variables) == 2
    assert "a list that was taken earlier" in finding.cause
    assert ask(model, data, Asked(rules=("INT101",))).faults == []
    cache.cache_clear()
    model.compile(type(model.optimizer)(0.05), "mse")
    look(model, data, cache)
    outcome = ask(model, data)
    assert (outcome.faults, outcome.rules) == ([], set())


def test_what_another_model_put_there_is_not_taken() -> None:
    """And it stays there, in a cache that has room for one."""
    model, data, cache = build("keras", "one")
    other: Any = type(model)()
    other(np.zeros((2, 3), "float32"))
    other.a.trainable = False
    kept = other.choose()
    report = look(model, data, cache)
    assert all(row.updated == "yes" for row in report.variables)
    assert other.choose() is kept
    assert ask(model, data).faults == []
