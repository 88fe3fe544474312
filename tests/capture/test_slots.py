"""Optimizers: what each owns and tracks, how its slots are named and whose they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import introspect

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model  # noqa: E402
from introspect.capture.record import Capture  # noqa: E402
from tests.capture import zoo  # noqa: E402

pytestmark = pytest.mark.tf

KERAS = {
    "SGD": ({"momentum": 0.9}, {"momentum"}),
    "RMSprop": ({"momentum": 0.9, "centered": True}, {"velocity", "momentum", "average_gradient"}),
    "Adam": ({"amsgrad": True}, {"momentum", "velocity", "velocity_hat"}),
    "AdamW": ({}, {"momentum", "velocity"}),
    "Adagrad": ({}, {"accumulator"}),
    "Adadelta": ({}, {"accumulated_grad", "accumulated_delta_var"}),
    "Adamax": ({}, {"momentum", "norm"}),
    "Nadam": ({}, {"momentum", "velocity"}),
    "Ftrl": ({}, {"accumulator", "linear"}),
    "Lion": ({}, {"momentum"}),
    "Lamb": ({}, {"momentum", "velocity"}),
}


def dense(package: Any, optimizer: Any) -> Any:
    layers = [package.layers.Input((4,)), package.layers.Dense(5, name="hid"), package.layers.Dense(1, name="out")]
    model = package.Sequential(layers, name="m")
    model.compile(optimizer, "mse")
    return model


def slots_of(capture: Capture, number: int = 0) -> dict[str, set[str]]:
    """{path of a weight: names of its slots}."""
    found: dict[str, set[str]] = {}
    for slot in capture.optimizers[number].slots:
        found.setdefault(capture.variables[slot.variable].path.removesuffix(":0"), set()).add(slot.name)
    return found


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("fitted", [False, True], ids=["built", "fitted"])
def test_slots_of_keras_optimizers(name: str, fitted: bool) -> None:
    settings, names = KERAS[name]
    model = dense(keras, getattr(keras.optimizers, name)(**settings))
    if fitted:
        model.fit(*zoo.arrays(), verbose=0)
    capture = capture_model(model)
    slots = slots_of(capture)
    assert set(slots) == {"m/hid/kernel", "m/hid/bias", "m/out/kernel", "m/out/bias"}
    assert all(found == names for found in slots.values())
    assert capture.optimizers[0].built == fitted
    owned = {capture.variables[index].path for index in capture.optimizers[0].variables}
    if fitted:
        assert owned == {variable.path for variable in model.optimizer.variables}
    for slot in capture.optimizers[0].slots:
        assert capture.variables[slot.slot].role == "optimizer"
        assert capture.variables[slot.slot].shape == capture.variables[slot.variable].shape


def test_optimizers_with_slots_of_other_shapes() -> None:
    for name in ("Adafactor", "Muon", "ScheduleFreeAdamW"):
        if not hasattr(keras.optimizers, name):  # of later Keras
            continue
        model = dense(keras, getattr(keras.optimizers, name)(0.01))
        model.fit(*zoo.arrays(), verbose=0)
        capture = capture_model(model)
        assert set(slots_of(capture)) == {"m/hid/kernel", "m/hid/bias", "m/out/kernel", "m/out/bias"}, name
        assert [variable.path for variable in capture.variables if variable.role == "untracked"] == []


@pytest.mark.parametrize(("name", "names"), [("Adam", {"m", "v"}), ("SGD", {"m"}), ("RMSprop", {"velocity"})])
def test_slots_of_tf_keras_optimizers(name: str, names: set[str]) -> None:
    settings = {"momentum": 0.9} if name == "SGD" else {}
    model = dense(tf_keras, getattr(tf_keras.optimizers, name)(**settings))
    model.fit(*zoo.arrays(), verbose=0)
    capture = capture_model(model)
    assert slots_of(capture) == dict.fromkeys(["hid/kernel", "hid/bias", "out/kernel", "out/bias"], names)
    assert len(capture.optimizers[0].tracks) == 4
    assert capture.optimizers[0].learning_rate == pytest.approx(float(model.optimizer.learning_rate.numpy()))


@pytest.mark.parametrize(("name", "names"), [("Adam", {"m", "v"}), ("SGD", set()), ("Adagrad", {"accumulator"})])
def test_slots_of_legacy_optimizers(name: str, names: set[str]) -> None:
    model = dense(tf_keras, getattr(tf_keras.optimizers.legacy, name)(0.25))
    for fitted in (False, True):
        if fitted:
            model.fit(*zoo.arrays(), verbose=0)
        capture = capture_model(model)
        expected = dict.fromkeys(["hid/kernel", "hid/bias", "out/kernel", "out/bias"], names) if names else {}
        assert slots_of(capture) == expected
        assert capture.optimizers[0].learning_rate == 0.25
        assert not capture.optimizers[0].built
        assert [variable.path for variable in capture.variables if variable.role == "untracked"] == []


def test_a_wrapped_optimizer_stands_after_its_wrapper() -> None:
    model, data = zoo.mixed(keras)
    model.fit(*data, verbose=0)
    outer, inner = capture_model(model).optimizers
    assert (outer.class_name, inner.class_name) == ("LossScaleOptimizer", "Adam")
    assert outer.current
    assert inner.current
    assert outer.learning_rate == inner.learning_rate == pytest.approx(0.001)
    assert (len(outer.slots), len(inner.slots)) == (0, 8)


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has it since 3.15")
def test_parts_of_a_multi_optimizer() -> None:
    heads = keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.5, momentum=0.9), {})
    heads[".*hid.*"] = keras.optimizers.Adam(0.25)
    model = dense(keras, keras.optimizers.MultiOptimizer(heads))
    for fitted in (False, True):
        if fitted:
            model.fit(*zoo.arrays(), verbose=0)
        capture = capture_model(model)
        by_class = {optimizer.class_name: number for number, optimizer in enumerate(capture.optimizers)}
        assert set(by_class) == {"MultiOptimizer", "SGD", "Adam"}
        assert all(optimizer.current for optimizer in capture.optimizers)
        assert set(slots_of(capture, by_class["Adam"])) == {"m/hid/kernel", "m/hid/bias"}
        assert set(slots_of(capture, by_class["SGD"])) == {"m/out/kernel", "m/out/bias"}


def test_every_optimizer_that_the_model_holds() -> None:
    model, data = zoo.adversarial(keras)
    for fitted in (False, True):
        if fitted:
            model.fit(*data, verbose=0)
        capture = capture_model(model, data)
        found = {optimizer.name: optimizer for optimizer in capture.optimizers}
        assert {"g_adam", "d_adam"} <= set(found)
        assert all(found[name].built == fitted and len(found[name].slots) == 4 for name in ("g_adam", "d_adam"))


def test_settings_that_change_what_is_written() -> None:
    optimizer = keras.optimizers.AdamW(
        0.1, weight_decay=0.02, use_ema=True, clipnorm=1.0, gradient_accumulation_steps=2
    )
    capture = capture_model(dense(keras, optimizer))
    assert dict(capture.optimizers[0].settings) == {
        "use_ema": "True",
        "ema_momentum": "0.99",
        "weight_decay": "0.02",
        "clipnorm": "1.0",
        "gradient_accumulation_steps": "2",
    }
    names = set().union(*slots_of(capture).values())
    assert names == {"average", "gradient_accumulator", "momentum", "velocity"}
    assert capture_model(dense(keras, "sgd")).optimizers[0].settings == ()


def test_a_schedule_is_told_by_its_class() -> None:
    rate = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert capture_model(dense(keras, keras.optimizers.SGD(rate))).optimizers[0].learning_rate == "CosineDecay"
    rate = tf_keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert capture_model(dense(tf_keras, tf_keras.optimizers.SGD(rate))).optimizers[0].learning_rate == "CosineDecay"


def test_an_optimizer_of_the_users_without_a_config() -> None:
    class Own(keras.optimizers.Optimizer):  # type: ignore[misc,name-defined]
        def __init__(self, rate: float, note: object) -> None:
            super().__init__(learning_rate=rate)
            self.note = note

        def build(self, variables: Any) -> None:
            super().build(variables)
            self.speed = self.add_optimizer_variables(variables, "speed")

        def update_step(self, gradient: Any, variable: Any, rate: Any) -> None:
            speed = self.speed[self._get_variable_index(variable)]
            self.assign(speed, speed * 0.9 + gradient)
            self.assign_sub(variable, speed * rate)

    model = dense(keras, Own(0.1, object()))
    for fitted in (False, True):
        if fitted:
            model.fit(*zoo.arrays(), verbose=0)
        capture = capture_model(model)
        assert set().union(*slots_of(capture).values()) == {"speed"}
        assert capture.optimizers[0].built == fitted == model.optimizer.built


def test_a_step_that_names_its_model_past_the_twin() -> None:
    class Loop(keras.Sequential):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            variables = model.trainable_variables
            model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return {"loss": loss}

    model = Loop([keras.layers.Input((4,)), keras.layers.Dense(1, name="out")], name="m")
    model.compile("adam", "mse")
    capture = capture_model(model, zoo.arrays())
    assert slots_of(capture) == {key: {"momentum", "velocity"} for key in ["m/out/kernel", "m/out/bias"]}
    assert not capture.optimizers[0].built
    assert not model.optimizer.built
    assert len(model.optimizer.variables) == 2


@pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_an_optimizer_that_cannot_list_its_variables(package: Any) -> None:
    """It is read by what it holds, as TensorFlow Recommenders' CompositeOptimizer, which asks its parts for a list that new ones lack."""

    class Unlisted(package.optimizers.Adam):  # type: ignore[misc, name-defined]
        @property
        def variables(self) -> Any:
            raise AttributeError("'Adam' object has no attribute 'weights'")

    model = dense(package, "sgd")
    model.layers[0].trainable = False
    model.compile(Unlisted(0.1), "mse")
    capture_model(model)
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    before = [np.array(v) for v in model.variables]
    report = introspect.inspect(model)
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    moved = [bool((np.array(v) != old).any()) for v, old in zip(model.variables, before, strict=True)]
    assert [row.updated == "yes" for row in report.variables] == moved == [False, False, True, True]
    assert [len(row.slots) for row in report.variables] == [0, 0, 2, 2]
    assert report.ok
