"""Layers whose call changes their variables, frozen before and after compile: whom the cause blames, and whether its fix mends it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect
from introspect.records import Finding
from tests.oracle import Asked, ask, ask_loop

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
WHEN = pytest.mark.parametrize("when", ["before compile", "after compile", "after fit"])
DATA = tuple(np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32"))


def centers(package: Any, asks: bool) -> Any:
    class Centers(package.layers.Layer):
        def build(self, shape: Any) -> None:
            self.mean = self.add_weight(shape=(shape[-1],), name="mean", trainable=False)

        def call(self, values: Any) -> Any:
            if not asks or self.trainable:
                self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(values, 0))
            return values - tf.convert_to_tensor(self.mean)

    return Centers(name="centers")


def look(package: Any, layer: Any, when: str) -> tuple[Any, list[Finding]]:
    """The model with the layer frozen at that time, and what is loud then; the oracle has judged it."""
    dense = [package.layers.Dense(4, name=name) for name in ("enc", "head")]
    model = package.Sequential([package.layers.Input((4,)), dense[0], layer, dense[1]])
    layer.trainable = when != "before compile"
    model.compile("sgd", "mse")
    if when == "after fit":
        model.fit(*DATA, verbose=0)
    layer.trainable = False
    return model, judge(model)


def judge(model: Any, **asked: Any) -> list[Finding]:
    outcome = ask(model, tf.data.Dataset.from_tensor_slices(DATA).batch(8), Asked(**asked))
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    return [finding for finding in outcome.report.findings if finding.severity != "info"]


@PACKAGES
@WHEN
def test_a_layer_that_does_not_ask_its_flag_is_blamed_whenever_it_was_frozen(package: Any, when: str) -> None:
    _, (found,) = look(package, centers(package, asks=False), when)
    assert found.rule == "INT102"
    assert found.cause.startswith("A step traced now does it too: Centers assigns at test_calls.py:")
    assert "recompile" not in found.fix


@PACKAGES
@WHEN
def test_one_that_asks_is_stale_at_most_and_recompile_mends_it(package: Any, when: str) -> None:
    model, found = look(package, centers(package, asks=True), when)
    late = when == "after fit" or (when == "after compile" and package is tf_keras)
    assert [finding.rule for finding in found] == ["INT102"] * late
    assert all(" while layer centers was trainable" in f.cause or "then layer centers was" in f.cause for f in found)
    introspect.recompile(model)
    assert judge(model) == []


def test_what_a_call_goes_on_writing_is_not_what_the_optimizer_is_given() -> None:
    wrapped = keras.layers.SpectralNormalization(keras.layers.Dense(4, name="in"), name="norm")
    model, found = look(keras, wrapped, "after fit")
    trained = [finding for finding in found if finding.rule == "INT101"]
    assert [len(finding.variables) for finding in trained] == [2]
    assert "trainable" in trained[0].cause
    assert "whatever the flags say" not in trained[0].cause
    introspect.recompile(model)
    assert {finding.rule for finding in judge(model)} == {"INT102"}


def taught(package: Any, asks: bool, eager: bool) -> Any:
    """A frozen layer that the model's own step sets, in the graph or by Python."""

    class Taught(package.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            weights = self.head.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            if not asks or self.enc.trainable:
                if eager:
                    self.enc.set_weights([0.9 * value + 0.1 for value in self.enc.get_weights()])
                else:
                    self.enc.bias.assign(tf.reduce_mean(x, 0))
            return {"loss": loss}

    inputs = package.layers.Input((4,))
    enc, head = (package.layers.Dense(4, name=name) for name in ("enc", "head"))
    model = Taught(inputs, head(enc(inputs)))
    model.enc, model.head, enc.trainable = enc, head, False
    model.compile("sgd", run_eagerly=eager)
    return model


@PACKAGES
@pytest.mark.parametrize("eager", [False, True], ids=["graph", "eager"])
def test_a_step_that_assigns_to_a_frozen_layer_is_blamed_itself(package: Any, eager: bool) -> None:
    (found,) = judge(taught(package, asks=False, eager=eager))
    told = {  # what is assigned is made of the data, or of what the variable holds
        False: ("INT102", "the model's own train_step assigns at test_calls.py:"),
        True: ("INT101", "The step itself assigns to them at test_calls.py:"),
    }
    rule, cause = told[eager]
    assert found.rule == rule
    assert cause in found.cause
    assert "leave out what is frozen" in found.fix
    assert judge(taught(package, asks=True, eager=eager)) == []


@PACKAGES
def test_a_layer_whose_lists_were_emptied_is_named(package: Any) -> None:
    def build() -> tuple[Any, Any]:
        layers = [package.layers.Dense(4, name="enc"), package.layers.Dense(4, name="head")]
        return layers[0], package.Sequential([package.layers.Input((4,)), *layers])

    enc, model = build()
    weights = [enc.kernel, enc.bias]
    (enc._trainable_variables if package is keras else enc._trainable_weights).clear()
    model.compile("sgd", "mse")
    (found,) = judge(model, extra=lambda model: weights)
    assert found.rule == "INT105"
    assert "used by layer enc, which does not give them among its weights" in found.cause

    enc, model = build()
    enc.trainable = False
    model.compile("sgd", "mse")
    assert judge(model) == []


def pair(package: Any, by_data: bool) -> Any:
    """A net and a frozen one that follows it, statistics and all; or whose statistics the step takes of the data."""

    def net(name: str) -> Any:
        layers = [package.layers.Dense(4, name=f"{name}_enc"), package.layers.BatchNormalization(name=f"{name}_bn")]
        return package.Sequential([package.layers.Input((4,)), *layers], name=name)

    class Pair(package.Model):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.target = net("net"), net("target")
            self.target.trainable = False

        def call(self, x: Any) -> Any:
            return self.net(x)

        def train_step(self, data: Any) -> Any:
            x, _ = data
            aim = tf.stop_gradient(self.target(x, training=True))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.net(x, training=True) - aim) ** 2)
            weights = self.net.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            for own, other in zip(self.target.weights, self.net.weights, strict=True):
                own.assign(0.9 * tf.convert_to_tensor(own) + 0.1 * tf.convert_to_tensor(other))
            if by_data:
                self.target.layers[-1].moving_mean.assign(tf.reduce_mean(x, 0))
            return {"loss": loss}

    model = Pair()
    model(DATA[0])
    model.compile("sgd")
    return model


@PACKAGES
def test_a_target_network_follows_with_its_statistics(package: Any) -> None:
    averaged = ("*target*",)
    model = pair(package, by_data=False)
    assert judge(model, averaged=averaged) == []
    (note,) = (finding for finding in introspect.inspect(model).findings if finding.rule == "INT301")
    assert len(note.variables) == 6

    (found,) = judge(pair(package, by_data=True), averaged=averaged, arguable=True)
    assert (found.rule, len(found.variables)) == ("INT102", 1)


@PACKAGES
def test_an_old_trace_inside_of_a_plain_function_is_named(package: Any) -> None:
    model = package.Sequential([package.layers.Input((4,)), package.layers.Dense(4, name="enc")])
    model.add(package.layers.Dense(4, name="head"))
    optimizer = package.optimizers.SGD()

    @tf.function
    def inner(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    def step(x: Any, y: Any) -> float:
        return float(inner(x, y))

    assert not ask_loop(step, DATA, model, optimizer).faults
    model.layers[0].trainable = False
    outcome = ask_loop(step, DATA, model, optimizer)
    assert not outcome.faults
    assert outcome.report is not None
    assert outcome.rules == {"INT101"}
    assert outcome.report.findings[0].cause.startswith("inner is a tf.function of your own, with a cache of its own")


class Moments(keras.layers.Layer):
    """Statistics of its own, and beside them weights that could train."""

    def __init__(self, scales: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.scales = scales

    def build(self, shape: Any) -> None:
        self.mean = self.add_weight(shape=(shape[-1],), name="mean", trainable=False)
        self.scale = self.add_weight(shape=(shape[-1],), name="scale") if self.scales else None

    def call(self, values: Any) -> Any:
        self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(values, 0))
        out = values - tf.convert_to_tensor(self.mean)
        return out if self.scale is None else out * self.scale


@pytest.mark.parametrize(
    ("made", "frozen", "severity"),
    [
        ({"trainable": False}, "", "warning"),
        ({"trainable": False, "scales": True}, "", "error"),
        ({"trainable": False}, "block", "error"),
        ({}, "moments", "error"),
        ({}, "", None),
    ],
    ids=["made so", "could train", "in a frozen block", "frozen later", "not frozen"],
)
def test_statistics_of_a_layer_that_was_made_with_trainable_false(
    made: dict[str, bool], frozen: str, severity: str | None
) -> None:
    """Where nothing in it could train and nobody froze it since, its flag may be how it was written: a warning, and no error."""
    block = keras.Sequential([keras.layers.Dense(4), Moments(**made, name="moments")], name="block")
    model = keras.Sequential([keras.layers.Input((4,)), block, keras.layers.Dense(4)])
    for layer in (block, *block.layers):
        if layer.name == frozen:
            layer.trainable = False
    model.compile("sgd", "mse")
    for fitted in (False, True):
        if fitted:
            model.fit(*DATA, verbose=0)
        outcome = ask(model, tf.data.Dataset.from_tensor_slices(DATA).batch(8))
        assert not outcome.faults, outcome.faults
        found = [(one.rule, one.severity) for one in outcome.report.findings] if outcome.report is not None else None
        assert found == ([] if severity is None else [("INT102", severity)])
