"""What a custom gradient hands back for what a layer computes: constants are gradients, and zeros are gradients of 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.oracle import Asked, ask
from tests.rules.reported import batches, require_silent

pytestmark = pytest.mark.tf

layers = keras.layers
Back = Callable[[Any, Any], Any]
CONSTANTS: dict[str, Back] = {
    "ones": lambda upstream, value: tf.ones_like(value),
    "filled": lambda upstream, value: tf.fill([8, 3], 0.1),
    "its value": lambda upstream, value: value,
}
ZEROS: dict[str, Back] = {
    "zeros": lambda upstream, value: tf.zeros_like(value),
    "times 0": lambda upstream, value: upstream * 0.0,
}


class Through(layers.Layer):
    """Hands its input on, and back what `back` says."""

    def __init__(self, back: Back) -> None:
        super().__init__(name="through")
        self.back = back

    def call(self, inputs: Any) -> Any:
        @tf.custom_gradient
        def pass_on(value: Any) -> Any:
            return tf.identity(value), lambda upstream: self.back(upstream, value)

        return pass_on(inputs)


def build(back: Back, optimizer: Any = "sgd") -> Any:
    inputs = keras.Input((4,), batch_size=8)
    hidden = Through(back)(layers.Dense(3, name="hid")(inputs))
    model = keras.Model(inputs, layers.Dense(1, name="out")(hidden))
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_constants_train(name: str, optimizer: str) -> None:
    require_silent(lambda: build(CONSTANTS[name], optimizer))


@pytest.mark.parametrize("name", ZEROS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_zeros_arrive_and_a_measurement_tells_them(name: str, optimizer: str) -> None:
    keras.backend.clear_session()
    model = build(ZEROS[name], optimizer)
    outcome = ask(model, batches(), Asked(zero=("hid/*",), arrived={"hid/*": "dense"}))
    assert outcome.faults == []
    report = introspect.inspect(build(ZEROS[name], optimizer), data=batches(), measure=True)
    told = {finding.rule: finding.variables for finding in report.findings}
    assert set(told["INT502"]) == {"hid/kernel", "hid/bias"}
