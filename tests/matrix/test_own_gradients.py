"""Gradients that the user wrote (`tf.custom_gradient`), and those that TensorFlow wrote so (silu): which hands none back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import PLAIN, Asked, ask

pytestmark = pytest.mark.tf

Answer = Callable[[Any, Any, Any], Any]
"""(upstream, first, second) to the gradients of the two."""


def both(upstream: Any, first: Any, second: Any) -> Any:
    return upstream * second, upstream * first


def neither(upstream: Any, first: Any, second: Any) -> Any:
    return None, None


def first_alone(upstream: Any, first: Any, second: Any) -> Any:
    return upstream * second, None


def make_block(keras: Any, answer: Answer, closure: bool = False) -> Any:
    """Multiplies two inputs, with a gradient of its own; by `closure` the second is no argument of it."""

    class Block(keras.layers.Layer):
        def call(self, first: Any, second: Any) -> Any:
            @tf.custom_gradient
            def multiply(a: Any, b: Any) -> Any:
                return a * b, lambda upstream: answer(upstream, a, b)

            @tf.custom_gradient
            def scale(a: Any) -> Any:
                return a * second, lambda upstream: upstream * second

            return scale(first) if closure else multiply(first, second)

    return Block(name="block")


def build(keras: Any, answer: Answer = both, closure: bool = False, around: bool = False) -> Any:
    """Layers a and b into the block; `around` it leads a way from a."""
    layers = keras.layers
    inputs = keras.Input((4,))
    a = layers.Dense(3, activation="swish", name="a")(inputs)
    b = layers.Dense(3, activation="swish", name="b")(a if around else inputs)
    hidden = make_block(keras, answer, closure)(a, b)
    hidden = layers.Add(name="sum")([a, hidden]) if around else hidden
    return keras.Model(inputs, layers.Dense(1, name="head")(layers.Activation("swish")(hidden)), name="m")


def loud(report: introspect.Report) -> dict[str, set[str]]:
    return {
        one.rule: {layer.removeprefix("m/") for layer in one.layers}
        for one in report.findings
        if one.severity != "info"
    }


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    found = pytest.importorskip(request.param)
    found.backend.clear_session()
    return found


FAULTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "none for both": ({"answer": neither}, {"a", "b"}),
    "none for the second": ({"answer": first_alone}, {"b"}),
    "second by closure": ({"closure": True}, {"b"}),
    "none, and a way around": ({"answer": neither, "around": True}, {"b"}),
}
HEALTHY: dict[str, dict[str, Any]] = {
    "both": {},
    "both, and a way around": {"around": True},
}


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize("name", FAULTS)
def test_what_hands_none_back_is_named(keras: Any, name: str, fitted: bool) -> None:
    given, starved = FAULTS[name]
    model, data = build(keras, **given), make_data(8, 4)
    model.compile("sgd", "mse")
    if fitted:
        model.fit(data, verbose=0)
    report = introspect.inspect(model, data=data)
    assert loud(report) == {"INT104": starved}
    places = [step for one in report.findings for step in one.evidence if step.note.startswith("cuts the gradient")]
    seen = not given.get("closure")  # what a closure holds is no argument: its gradient answers for all that it knows
    assert {step.layer for step in places} == ({"m/block"} if seen else set())
    assert ("(tf.custom_gradient) that hands none back" in report.findings[0].cause) is seen
    assert ask(model, data, Asked(rules=("INT104",))).faults == []


@pytest.mark.parametrize("fitted", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize("name", HEALTHY)
def test_what_hands_one_back_is_not(keras: Any, name: str, fitted: bool) -> None:
    model, data = build(keras, **HEALTHY[name]), make_data(8, 4)
    model.compile("sgd", "mse")
    if fitted:
        model.fit(data, verbose=0)
    outcome = ask(model, data, PLAIN)
    assert (outcome.faults, outcome.alarms, loud(outcome.report)) == ([], 0, {})


@pytest.mark.parametrize("known", [False, True], ids=["optimizer of its own", "optimizer that knows all"])
def test_a_stale_step_is_no_cut(keras: Any, known: bool) -> None:
    """silu hands its gradient back; what was frozen when the step was traced is told as that alone."""
    model, data = build(keras), make_data(8, 4)
    optimizer = keras.optimizers.SGD(0.1)
    if known:
        model.compile(optimizer, "mse")
        model.fit(data, verbose=0)
    model.get_layer("a").trainable = False
    model.compile(optimizer, "mse")
    model.fit(data, verbose=0)
    model.get_layer("a").trainable = True
    report = introspect.inspect(model, data=data)
    assert loud(report) == {"INT103": {"a"}}
    assert ask(model, data, Asked(rules=("INT103",))).faults == []


def test_a_stale_step_beside_a_cut(keras: Any) -> None:
    model, data = build(keras, first_alone), make_data(8, 4)
    model.get_layer("a").trainable = False
    model.compile("sgd", "mse")
    model.fit(data, verbose=0)
    model.get_layer("a").trainable = True
    report = introspect.inspect(model, data=data)
    assert loud(report) == {"INT103": {"a"}, "INT104": {"b"}}
