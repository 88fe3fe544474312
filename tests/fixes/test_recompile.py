"""`recompile` reads the flags anew and goes on to the bit with what it keeps."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.errors import IntrospectError, NotCompiledError
from tests.fixes.steps import make_data, make_model, path_of, same, train, values

pytestmark = pytest.mark.tf


def make_optimizer(library: str, name: str) -> Any:
    keras = importlib.import_module(library)
    optimizers = keras.optimizers
    decay = optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    makers = {
        "sgd": lambda: optimizers.SGD(0.1, momentum=0.9),
        "plain": lambda: optimizers.SGD(0.1),
        "adam": lambda: optimizers.Adam(0.01, amsgrad=True),
        "nadam": lambda: optimizers.Nadam(0.01),
        "adafactor": lambda: optimizers.Adafactor(0.01),
        "ftrl": lambda: optimizers.Ftrl(0.01),
        "schedule": lambda: optimizers.Adam(decay),
        "function": lambda: optimizers.Adam(lambda: 0.02),
        "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        "accumulate": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=3),
        "scaled": lambda: (
            optimizers.LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=8.0, dynamic_growth_steps=3)
            if library == "keras"
            else keras.mixed_precision.LossScaleOptimizer(
                optimizers.Adam(0.01), initial_scale=8.0, dynamic_growth_steps=3
            )
        ),
        "muon": lambda: optimizers.Muon(0.01),
        "schedule_free": lambda: optimizers.ScheduleFreeAdamW(0.01),
        "multi": lambda: optimizers.MultiOptimizer(
            optimizers.OptimizerMap(optimizers.Adam(0.01), {"d1/.*": optimizers.SGD(0.1, momentum=0.9)})
        ),
        "legacy": lambda: optimizers.legacy.Adam(0.01),
    }
    try:
        return makers[name]()
    except AttributeError as missing:
        pytest.skip(f"this Keras has it not: {missing}")


# Not tf_keras' Nadam: it counts in Python while it is traced, so that each new trace goes on another way.
KEPT = ("adam", "ema", "scaled")
KINDS = [("keras", name) for name in (*KEPT, "sgd", "plain", "nadam", "adafactor", "ftrl", "schedule", "function")]
KINDS += [("keras", name) for name in ("accumulate", "muon", "schedule_free", "multi")]
KINDS += [("tf_keras", name) for name in (*KEPT, "schedule", "legacy")]
JOINED = [("keras", name) for name in (*KEPT, "nadam", "accumulate", "schedule_free")]
JOINED += [("tf_keras", name) for name in (*KEPT, "legacy")]


def list_state(optimizer: Any) -> list[Any]:
    variables = optimizer.variables
    return values(variables() if callable(variables) else variables)


@pytest.mark.parametrize(("library", "kind"), KINDS)
def test_goes_on_to_the_bit(library: str, kind: str) -> None:
    """Without a change of flags, training after `recompile` is what it would have been."""
    models = [make_model(library), make_model(library)]
    for model in models:
        model.compile(make_optimizer(library, kind), "mse")
        train(model, 2)
    before = models[1].optimizer
    introspect.recompile(models[1])
    assert (models[1].optimizer is before) == (kind == "legacy")
    for model in models:
        train(model, 5)
    assert same(values(models[0].variables), values(models[1].variables))
    assert same(list_state(models[0].optimizer), list_state(models[1].optimizer))


@pytest.mark.parametrize(("library", "kind"), JOINED)
def test_unfreezes_and_keeps_the_rest(library: str, kind: str) -> None:
    """The next step moves what trained before just as it would have, and the unfrozen layer as well."""
    models = [make_model(library), make_model(library)]
    for model in models:
        model.get_layer("d1").trainable = False
        model.compile(make_optimizer(library, kind), "mse")
        train(model, 3)
    models[1].get_layer("d1").trainable = True
    introspect.recompile(models[1])
    before = values(models[1].get_layer("d1").variables)
    for model in models:
        train(model, 1)
    for name in ("d2", "d3"):
        pair = [values(model.get_layer(name).variables) for model in models]
        assert same(*pair)
    moved = values(models[1].get_layer("d1").variables)
    assert kind == "accumulate" or not any(np.array_equal(a, b) for a, b in zip(before, moved, strict=True))
    assert same(before, values(models[0].get_layer("d1").variables))


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_freezes(library: str) -> None:
    models = [make_model(library), make_model(library)]
    for model in models:
        model.compile(make_optimizer(library, "adam"), "mse")
        train(model, 3)
        model.get_layer("d2").trainable = False
    introspect.recompile(models[1])
    before = values(models[1].get_layer("d2").variables)
    for model in models:
        train(model, 1)
    assert same(before, values(models[1].get_layer("d2").variables))
    for name in ("d1", "d3"):
        assert same(*[values(model.get_layer(name).variables) for model in models])
    assert introspect.inspect(models[1]).ok
    assert not introspect.inspect(models[0]).ok


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_keeps_a_rate_that_was_assigned(library: str) -> None:
    model = make_model(library)
    model.compile(make_optimizer(library, "adam"), "mse")
    train(model, 2)
    model.optimizer.learning_rate = 0.0123
    for keep in (True, False):
        introspect.recompile(model, keep_optimizer_state=keep)
        assert float(model.optimizer.learning_rate) == np.float32(0.0123)
        assert int(model.optimizer.iterations) == (2 if keep else 0)


def test_late_averages_start_at_the_weights() -> None:
    """Keras would begin them at zero, and the end of fit would write almost zero into the unfrozen layer."""
    model = make_model()
    model.get_layer("d1").trainable = False
    model.compile(make_optimizer("keras", "ema"), "mse")
    train(model, 3)
    model.get_layer("d1").trainable = True
    kernel = model.get_layer("d1").kernel.numpy()
    introspect.recompile(model)
    train(model, 1)
    assert np.allclose(model.get_layer("d1").kernel.numpy(), kernel, atol=0.05)
    assert np.abs(kernel).max() > 0.3


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_keeps_what_compile_was_given(library: str) -> None:
    keras = importlib.import_module(library)
    model = make_model(library)
    seen = []

    def loss(y: Any, p: Any) -> Any:
        seen.append(1)
        return keras.losses.mean_squared_error(y, p)

    metric = keras.metrics.MeanAbsoluteError(name="mine")
    model.compile(
        keras.optimizers.SGD(0.1),
        loss,
        metrics=[metric],
        weighted_metrics=["mse"],
        loss_weights=[0.5],
        steps_per_execution=2,
        jit_compile=False,
    )
    x, y = make_data()
    before = model.fit(x, y, batch_size=4, verbose=0).history
    introspect.recompile(model)
    seen.clear()
    after = model.fit(x, y, batch_size=4, verbose=0).history
    assert set(before) == set(after)
    assert seen
    assert any(part is metric for part in model.metrics) or library == "keras"
    steps = model.steps_per_execution if library == "keras" else int(model._steps_per_execution.numpy())
    assert steps == 2
    assert not model.run_eagerly
    model.run_eagerly = True
    introspect.recompile(model)
    assert model.run_eagerly


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_inside_of_fit(library: str) -> None:
    """A callback may call it; `compile` alone would end the fit with a TypeError."""
    keras = importlib.import_module(library)

    class Unfreeze(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                self.model.get_layer("d1").trainable = True
                introspect.recompile(self.model)

    model = make_model(library)
    model.get_layer("d1").trainable = False
    model.compile(make_optimizer(library, "adam"), "mse")
    before = values(model.get_layer("d1").variables)
    x, y = make_data()
    model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=[Unfreeze()], validation_data=(x, y))
    assert not any(np.array_equal(a, b) for a, b in zip(before, values(model.get_layer("d1").variables), strict=True))
    assert int(model.optimizer.iterations) == 6


def test_does_not_restart_a_training_that_stops() -> None:
    model = make_model()
    model.compile("sgd", "mse")
    train(model, 1)
    model.stop_training = True
    introspect.recompile(model)
    assert model.stop_training


def test_attributes_that_no_config_holds() -> None:
    import keras

    model = make_model()
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    model.compile(optimizer, "mse")
    train(model, 1)
    optimizer.beta_1 = 0.5
    introspect.recompile(model)
    assert model.optimizer is not optimizer
    assert model.optimizer.beta_1 == 0.5
    bias, kernel = model.get_layer("d1").bias, model.get_layer("d1").kernel
    assert not model.optimizer._use_weight_decay(bias)
    assert model.optimizer._use_weight_decay(kernel)


def test_mixed_precision_is_wrapped_once() -> None:
    import keras

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model()
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile("adam", "mse")
    train(model, 2)
    introspect.recompile(model)
    train(model, 2)
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    assert type(model.optimizer.inner_optimizer).__name__ == "Adam"
    assert int(model.optimizer.iterations) == 4


def make_pair() -> Any:
    """A model with two optimizers and a compile of its own, as GANs have."""
    import keras
    import tensorflow as tf

    class Pair(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="pair")
            self.one = keras.layers.Dense(2, name="one")
            self.two = keras.layers.Dense(2, name="two")

        def compile(self, first: Any, second: Any) -> None:
            super().compile()
            self.first, self.second = first, second

        def call(self, x: Any) -> Any:
            return self.one(x) + self.two(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape(persistent=True) as tape:
                error = tf.reduce_mean(tf.square(self(x) - y))
            for optimizer, layer in ((self.first, self.one), (self.second, self.two)):
                weights = layer.trainable_weights
                optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
            return {"loss": error}

    keras.utils.set_random_seed(7)
    model = Pair()
    model(make_data()[0])
    model.compile(keras.optimizers.Adam(0.01), keras.optimizers.SGD(0.1, momentum=0.9))
    return model


def test_several_optimizers_below_a_compile_of_ones_own() -> None:
    models = [make_pair(), make_pair()]
    for model in models:
        train(model, 2)
    first = models[1].first
    introspect.recompile(models[1])
    assert models[1].first is not first
    assert int(models[1].first.iterations) == 2
    assert {path_of(v) for v in models[1].first._trainable_variables} == {"pair/one/kernel", "pair/one/bias"}
    for model in models:
        train(model, 3)
    assert same(values(models[0].variables), values(models[1].variables))
    models[1].two.trainable = False
    introspect.recompile(models[1])
    before = values(models[1].two.variables)
    models[1].one.trainable = True
    assert same(before, values(models[1].two.variables))


def test_refuses_before_anything_is_changed() -> None:
    import keras

    class Odd(keras.optimizers.SGD):  # type: ignore[misc,name-defined]
        def __init__(self, rate: float, needed: object) -> None:
            super().__init__(rate)
            self.needed = needed

        def get_config(self) -> dict[str, Any]:
            return {"rate": 0.1}

    model = make_model()
    with pytest.raises(NotCompiledError, match="never compiled"):
        introspect.recompile(model)
    optimizer = Odd(0.1, object())
    model.compile(optimizer, "mse")
    train(model, 1)
    function = model.train_function
    with pytest.raises(IntrospectError, match=r"Odd.*cannot be made anew"):
        introspect.recompile(model)
    assert model.train_function is function
    assert model.optimizer is optimizer


def test_state_that_cannot_be_told() -> None:
    import keras

    class Hidden(keras.optimizers.SGD):  # type: ignore[misc,name-defined]
        def build(self, variables: Any) -> None:
            super().build(variables)
            self.box = (object(), [self.add_variable((2,), name=f"box{len(self.variables)}") for _ in variables[:1]])
            for n in range(len(variables)):
                self.add_variable((1,), name=f"scratch_{len(variables)}_{n}")

    model = make_model()
    model.compile(Hidden(0.1), "mse")
    train(model, 1)
    model.get_layer("d1").trainable = False
    optimizer = model.optimizer
    with pytest.raises(IntrospectError, match="keep_optimizer_state=False"):
        introspect.recompile(model)
    assert model.optimizer is optimizer
    introspect.recompile(model, keep_optimizer_state=False)
    assert model.optimizer is not optimizer


@pytest.mark.slow
def test_two_replicas() -> None:
    """In a process of its own, for devices are divided before TensorFlow starts."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fixes.replicas"], cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the same" in done.stdout
