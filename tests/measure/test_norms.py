"""Measured norms equal the tape's, measured updates those of the next real step, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.measure.truth import check_measure
from tests.measure.zoo import ZOO, perceptron, recurrent

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")


def load(name: str) -> Any:
    keras = pytest.importorskip(name)
    keras.utils.set_random_seed(1)
    return keras


def train(model: Any, optimizer: Any, x: Any, y: Any, **compiled: Any) -> None:
    model.compile(optimizer, "mse", **compiled)
    model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("kind", ZOO)
def test_models(kind: str, name: str) -> None:
    model, x, y = ZOO[kind](load(name))
    train(model, "adam", x, y)
    check_measure(model, x, y)


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("compiled", [{"steps_per_execution": 3}, {"jit_compile": True}], ids=str)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_compilation(optimizer: str, compiled: dict[str, Any], name: str) -> None:
    model, x, y = recurrent(load(name))
    train(model, optimizer, x, y, **compiled)
    check_measure(model, x, y)


OPTIMIZERS = {
    "momentum": lambda o: o.SGD(0.1, momentum=0.9),
    "rmsprop": lambda o: o.RMSprop(),
    "adagrad": lambda o: o.Adagrad(),
    "ftrl": lambda o: o.Ftrl(),
    "adamw": lambda o: o.AdamW(weight_decay=0.1),
    "clipnorm": lambda o: o.Adam(clipnorm=1e-3),
    "global_clipnorm": lambda o: o.SGD(global_clipnorm=1e-3),
    "clipvalue": lambda o: o.SGD(clipvalue=1e-4),
    "average": lambda o: o.Adam(use_ema=True, ema_overwrite_frequency=100),
}
NEW = {
    "muon": lambda o: o.Muon(),
    "adafactor": lambda o: o.Adafactor(),
    "lion": lambda o: o.Lion(),
    "schedule-free": lambda o: o.ScheduleFreeAdamW(),
    "accumulation": lambda o: o.Adam(gradient_accumulation_steps=2),
    "factor": lambda o: o.Adam(loss_scale_factor=64.0),
    "scaled": lambda o: o.LossScaleOptimizer(o.Adam()),
    "scaled accumulation": lambda o: o.LossScaleOptimizer(o.Adam(gradient_accumulation_steps=2)),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("name", KERAS)
def test_optimizers(name: str, kind: str) -> None:
    keras = load(name)
    model, x, y = recurrent(keras) if kind not in ("average",) else perceptron(keras)
    train(model, OPTIMIZERS[kind](keras.optimizers), x, y)
    check_measure(model, x, y)


@pytest.mark.parametrize("kind", NEW)
def test_optimizers_of_keras_3(kind: str) -> None:
    keras = load("keras")
    if kind == "schedule-free" and not hasattr(keras.optimizers, "ScheduleFreeAdamW"):
        pytest.skip(f"Keras has ScheduleFreeAdamW since 3.14, and this is {keras.__version__}")
    model, x, y = perceptron(keras)
    train(model, NEW[kind](keras.optimizers), x, y)
    check_measure(model, x, y)


def test_loss_scale_of_tf_keras() -> None:
    keras = load("tf_keras")
    model, x, y = perceptron(keras)
    train(model, keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam()), x, y)
    check_measure(model, x, y)


@pytest.mark.parametrize("name", KERAS)
def test_legacy_and_first_trace(name: str) -> None:
    """A model that was never trained: the step is traced in isolation."""
    keras = load(name)
    model, x, y = perceptron(keras)
    model.compile("adam", "mse")
    check_measure(model, x, y)


def test_half_precision() -> None:
    keras = load("keras")
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, x, y = perceptron(keras)
        train(model, "adam", x, y)
        check_measure(model, x, y, tape=False)
    finally:
        keras.config.set_dtype_policy("float32")
