"""Losses that are made of a derivative: what is only added to the energy gets no gradient through the force."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import Asked, ask, randomize

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")
Call = Callable[[Any, Any], Any]


def derive(of: Callable[[Any], Any], x: Any) -> Any:
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = of(x)
    return tape.gradient(value, x)


def hamilton(self: Any, x: Any) -> Any:
    """HNN: the derivative of one energy, turned by a quarter."""
    slope = derive(self.energy, x)
    return tf.stack([slope[:, 1], -slope[:, 0], slope[:, 2]], 1)


def force(self: Any, x: Any) -> Any:
    """The slope of the energy of the whole batch."""
    return -derive(lambda x: tf.reduce_sum(self.energy(x)), x)


def equation(self: Any, x: Any) -> Any:
    """PINN: a first and a second derivative, by two tapes."""
    return derive(lambda x: tf.reduce_sum(derive(self.energy, x) ** 2), x) + derive(self.energy, x)


def both(self: Any, x: Any) -> Any:
    """Energy and force."""
    return force(self, x) + self.energy(x)


CALLS: dict[str, Call] = {"hamilton": hamilton, "force": force, "equation": equation}


def build(package: str, call: Call, bias: bool, head: bool = False) -> tuple[Any, Any]:
    keras = importlib.import_module(package)
    layers = keras.layers

    def create(self: Any) -> None:
        keras.Model.__init__(self)
        self.a, self.b = layers.Dense(4, "tanh", name="a"), layers.Dense(4, "softplus", name="b")
        self.c = layers.Dense(1, use_bias=bias, name="c")
        self.head = layers.Dense(1, name="head") if head else None

    def energy(self: Any, x: Any) -> Any:
        hidden = self.b(self.a(x))
        if self.head is not None:
            self.head(hidden)
        return self.c(hidden)

    model: Any = type("Net", (keras.Model,), {"__init__": create, "energy": energy, "call": call})()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model, make_data(outputs=3)


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("name", CALLS)
def test_an_added_bias(package: str, name: str) -> None:
    """It alone gets no gradient, before a fit and after it, and the cause is the derivative."""
    model, data = build(package, CALLS[name], bias=True)
    for _ in range(2):
        findings = [found for found in introspect.inspect(model, data=data).findings if found.severity != "info"]
        assert [found.rule for found in findings] == ["INT104"]
        assert [path.partition(":")[0].rpartition("/c/")[2] for path in findings[0].variables] == ["bias"]
        assert "made of a derivative" in findings[0].cause
        assert "use_bias=False" in findings[0].fix
        assert ask(model, data, Asked(rules=("INT104",))).faults == []


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("name", CALLS)
def test_without_it(package: str, name: str) -> None:
    """All other weights train by the derivative."""
    model, data = build(package, CALLS[name], bias=False)
    for _ in range(2):
        outcome = ask(model, data)
        assert (outcome.faults, outcome.rules) == ([], set())
        assert outcome.report is not None
        assert all(row.updated == "yes" for row in outcome.report.variables)


def test_with_the_energy_in_the_loss_the_bias_trains() -> None:
    model, data = build("keras", both, bias=True)
    outcome = ask(model, data)
    assert (outcome.faults, outcome.rules) == ([], set())


@pytest.mark.parametrize("name", CALLS)
def test_an_unused_head_beside(name: str) -> None:
    """No derivative is taken of it: the cause is another."""
    model, data = build("keras", CALLS[name], bias=False, head=True)
    (finding,) = introspect.inspect(model, data=data).findings
    assert finding.rule == "INT104"
    assert len(finding.variables) == 2
    assert "nothing uses the result" in finding.cause
    assert "derivative" not in finding.cause
    assert ask(model, data, Asked(rules=("INT104",))).faults == []
