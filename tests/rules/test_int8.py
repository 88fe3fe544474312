"""Layers quantized to int8 under mixed precision: in an eager step their gradient does not fit what stands before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.oracle import Asked, ask
from tests.rules.reported import batches

pytestmark = pytest.mark.tf

layers = keras.layers
FRONTS: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda h: layers.Activation("tanh")(h),
    "relu": lambda h: layers.Activation("relu")(h),
    "gelu": lambda h: layers.Activation("gelu")(h),
    "product": lambda h: h * 2.0,
    "nothing": lambda h: h,
    "sum": lambda h: h + 1.0,
    "reshaped": lambda h: layers.Reshape((4,))(layers.Reshape((2, 2))(h)),
    "normalized": lambda h: layers.LayerNormalization()(h),
    "cast": lambda h: keras.ops.cast(keras.ops.cast(h, "float32"), "bfloat16"),
    "stopped": lambda h: layers.Lambda(tf.stop_gradient)(h),
}
RAISES = ("tanh", "relu", "gelu", "product", "nothing", "sum", "reshaped")
RUNS = ("normalized", "cast", "stopped")
TWINS: dict[str, dict[str, Any]] = {
    "graph": {"eager": False},
    "plain": {"mode": None},
    "one type": {"policy": "float32"},
    "first": {"first": False},
    "stopped behind": {"behind": lambda h: layers.Lambda(tf.stop_gradient)(h)},
}


def build(
    front: Callable[[Any], Any] = FRONTS["tanh"],
    mode: str | None = "int8",
    policy: str = "mixed_bfloat16",
    eager: bool = True,
    first: bool = True,
    behind: Callable[[Any], Any] = lambda h: h,
    einsum: bool = False,
) -> Any:
    keras.backend.clear_session()
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((4,))
        hidden = front(layers.Dense(4, name="front")(inputs)) if first else inputs
        made = layers.EinsumDense("ab,bc->ac", (3,), name="low") if einsum else layers.Dense(3, name="low")
        out = layers.Dense(1, name="out", dtype="float32")(behind(made(hidden)))
        model = keras.Model(inputs, out)
    finally:
        keras.config.set_dtype_policy("float32")
    if mode is not None:
        made.quantize(mode)
    model.compile("sgd", "mse", run_eagerly=eager)
    return model


@pytest.mark.parametrize("einsum", [False, True], ids=["dense", "einsum"])
@pytest.mark.parametrize("name", RAISES)
def test_an_eager_step_is_foretold_to_raise(name: str, einsum: bool) -> None:
    outcome = ask(build(FRONTS[name], einsum=einsum), batches(), Asked(raises=True))
    assert outcome.error is not None
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = [finding for finding in outcome.report.findings if finding.rule == "INT202"]
    assert "InvalidArgumentError: the gradient of layer low does not fit " in finding.message
    assert "run_eagerly=False" in finding.fix


@pytest.mark.parametrize("name", RUNS)
def test_a_gradient_that_fits_is_no_alarm(name: str) -> None:
    outcome = ask(build(FRONTS[name]), batches(), Asked(arguable=name == "stopped", numeric=True))
    assert (outcome.error, outcome.faults) == (None, [])


@pytest.mark.parametrize("name", TWINS)
def test_a_step_that_runs_is_no_alarm(name: str) -> None:
    outcome = ask(build(**TWINS[name]), batches(), Asked(arguable="behind" in name, numeric=True))
    assert (outcome.error, outcome.faults) == (None, [])
