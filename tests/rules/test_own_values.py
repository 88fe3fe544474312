"""Weights that a layer masks, or that weight decay makes smaller, and no gradient reaches; a net held for its features alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from introspect.records import Finding, Report
from tests.oracle import Asked, ask

pytestmark = pytest.mark.tf

BACKENDS = ("keras", "tf_keras")
X = np.random.default_rng(0).random((8, 4), dtype="float32")
Y = np.ones((8, 1), "float32")


def make_data() -> Any:
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)


def find(report: Report, rule: str) -> Finding:
    (found,) = (one for one in report.findings if one.rule == rule)
    return found


def make_masked(keras: Any) -> Any:
    """Its first layer keeps half of its kernel at 0."""

    class Masked(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")
            self.mask = np.repeat([[1.0], [0.0]], 2, axis=0).repeat(3, axis=1)

        def call(self, inputs: Any) -> Any:
            self.kernel.assign(self.kernel * self.mask)
            return tf.matmul(inputs, tf.convert_to_tensor(self.kernel))

    return keras.Sequential([keras.Input((4,)), Masked(name="masked"), keras.layers.Dense(1, name="out")], name="net")


@pytest.mark.parametrize("backend", BACKENDS)
def test_masked_by_its_layer(backend: str) -> None:
    """Frozen, it is written with what it is already from the second step on."""
    model = make_masked(pytest.importorskip(backend))
    model.get_layer("masked").trainable = False
    model.compile("sgd", "mse")
    model.fit(make_data(), verbose=0)
    assert "goes on writing 1 variable" in find(introspect.inspect(model), "INT102").message
    before = np.array(model.get_layer("masked").kernel)
    model.fit(make_data(), verbose=0)
    assert np.array_equal(before, model.get_layer("masked").kernel)
    model.get_layer("masked").trainable = True
    told = find(introspect.inspect(model), "INT301")
    assert "is written without a gradient, by an assign of what is made of its own value" in told.message
    assert "decay" not in f"{told.message} {told.cause}"
    introspect.recompile(model)
    outcome = ask(model, make_data())
    assert not outcome.faults, outcome.faults


def make_averaging(keras: Any, asks: bool, carried: bool = True) -> Any:
    """Its first layer keeps an average of its own weights, or a copy of them."""

    class Averaging(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
            self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="mean")

        def call(self, inputs: Any) -> Any:
            scale = tf.convert_to_tensor(self.scale)
            if self.trainable or not asks:
                self.mean.assign(0.9 * tf.convert_to_tensor(self.mean) + 0.1 * scale if carried else scale)
            return inputs * scale

    return keras.Sequential(
        [keras.Input((4,)), Averaging(name="averaging"), keras.layers.Dense(1, name="out")], name="net"
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_averaged_by_its_layer(backend: str) -> None:
    """Of a frozen layer that is no target network; one that asks its flag stands still, as a copy of what is frozen does."""
    keras = pytest.importorskip(backend)
    for asks in (False, True):
        model = make_averaging(keras, asks)
        model.get_layer("averaging").trainable = False
        model.compile("sgd", "mse")
        outcome = ask(model, make_data())
        assert not outcome.faults, outcome.faults
        assert outcome.rules == (set() if asks else {"INT102"})
        assert outcome.report is not None
        assert asks or "Averaging assigns at test_own_values.py:" in find(outcome.report, "INT102").cause
    copying = make_averaging(keras, asks=False, carried=False)
    copying.get_layer("averaging").trainable = False
    copying.compile("sgd", "mse")
    copying.fit(make_data(), verbose=0)
    outcome = ask(copying, make_data(), Asked(numeric=True))
    assert not outcome.faults, outcome.faults
    assert not outcome.rules


@pytest.mark.parametrize("backend", BACKENDS)
def test_decayed_by_the_optimizer(backend: str) -> None:
    keras = pytest.importorskip(backend)
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hid", kernel_initializer="ones")(inputs)
    cut = keras.layers.Lambda(tf.stop_gradient, output_shape=(3,))(hidden)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(cut), name="net")
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "mse")
    outcome = ask(model, make_data(), Asked(arguable=True))
    assert outcome.report is not None
    found = [one for one in outcome.report.findings if one.rule == "INT301"]
    moves = {path.split("/")[-1] for path, truth in outcome.truth.items() if truth.moves and "hid" in path}
    assert bool(found) == ("kernel" in moves)
    assert all("without a gradient, by weight decay" in one.message for one in found)


def make_compared(keras: Any, frozen: bool) -> Any:
    """Trained by features that a net computes which a helper holds."""

    class Compare:
        def __init__(self) -> None:
            self.net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="tanh", name="features")])
            self.net.trainable = not frozen

        def __call__(self, target: Any, made: Any) -> Any:
            return tf.reduce_mean((self.net(target) - self.net(made)) ** 2)

    class Trainer(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="trainer")
            self.make = keras.layers.Dense(4, name="make")
            self.compare = Compare()

        def call(self, inputs: Any) -> Any:
            return self.make(inputs)

        def train_step(self, data: Any) -> Any:
            x, _ = data
            with tf.GradientTape() as tape:
                loss = self.compare(x, self(x))
            weights = self.make.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Trainer()
    model.build((None, 4))
    model.compile("sgd")
    return model


@pytest.mark.parametrize("backend", BACKENDS)
def test_net_held_for_its_features(backend: str) -> None:
    """Frozen, as the second proposal says, it is no finding."""
    keras = pytest.importorskip(backend)
    told = find(introspect.inspect(make_compared(keras, frozen=False), data=(X, Y)), "INT105")
    assert "# or, where it is to stay as it is, say so of the layer, or net:\nnet.trainable = False" in told.fix
    outcome = ask(make_compared(keras, frozen=True), make_data())
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    assert not outcome.report.findings


@pytest.mark.parametrize("backend", BACKENDS)
def test_bias_that_falls_out_of_a_difference(backend: str) -> None:
    keras = pytest.importorskip(backend)

    class Critic(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="critic")
            self.score = keras.layers.Dense(1, name="score")

        def call(self, inputs: Any) -> Any:
            return self.score(inputs)

        def train_step(self, data: Any) -> Any:
            x, _ = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(self(x[:, ::-1])) - tf.reduce_mean(self(x))
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Critic()
    model.build((None, 4))
    model.compile("sgd")
    told = find(introspect.inspect(model, data=(X, Y), measure=True), "INT502")
    assert [path.removesuffix(":0").rpartition("/")[2] for path in told.variables] == ["bias"]
    assert "parts of the loss cancel each other out" in told.cause
