"""Models in states that have one right explanation; each builder gives the model, or a report of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from introspect.records import Report

x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).random((8, 1), dtype="float32")

SITUATIONS: dict[str, Callable[[], Any]] = {}


def situation(build: Callable[[], Any]) -> Callable[[], Any]:
    SITUATIONS[build.__name__] = build
    return build


def look_at(name: str) -> Report:
    keras.utils.clear_session()
    if "several" in name and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip(f"Keras has MultiOptimizer since 3.15, and this is {keras.__version__}")
    built = SITUATIONS[name]()
    return built if isinstance(built, Report) else introspect.inspect(built, data=(x, y))


def mlp(name: str = "m") -> Any:
    layers = [keras.layers.Dense(5, activation="tanh", name="hid"), keras.layers.Dense(1, name="out")]
    return keras.Sequential([keras.Input((4,)), *layers], name=name)


def fitted(model: Any, optimizer: Any = "adam") -> Any:
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0)
    return model


def around(layer: Any, width: int = 1) -> Any:
    """A functional model of one layer and a head."""
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(width, name="head")(layer(inputs)), name="m")


@situation
def lora_without_compile():
    model = fitted(mlp())
    model.get_layer("hid").enable_lora(2)
    return model


@situation
def lora_recompiled():
    model = fitted(mlp())
    model.get_layer("hid").enable_lora(2)
    model.compile("adam", "mse")
    return model


@situation
def layer_added_after_fit():
    model = fitted(mlp())
    model.add(keras.layers.Dense(1, name="new"))
    return model


@situation
def optimizer_of_another_model():
    optimizer = keras.optimizers.Adam()
    fitted(mlp("a"), optimizer)
    model = mlp("b")
    model.compile(optimizer, "mse")
    return model


@situation
def legacy_file_loaded():
    model = mlp()
    model.compile("adam", keras.losses.MeanSquaredError())
    with tempfile.TemporaryDirectory() as folder:
        model.save(os.path.join(folder, "model.h5"))
        return keras.models.load_model(os.path.join(folder, "model.h5"))


@situation
def optimizer_reused_after_unfreezing():
    model = mlp()
    model.get_layer("hid").trainable = False
    fitted(model)
    model.get_layer("hid").trainable = True
    model.compile(model.optimizer, "mse")
    return model


@situation
def unfrozen_and_known_to_the_optimizer():
    model = fitted(mlp())
    model.get_layer("hid").trainable = False
    model.make_train_function(force=True)
    model.fit(x, y, verbose=0)
    model.get_layer("hid").trainable = True
    return model


@situation
def norm_frozen_late():
    model = fitted(around(keras.layers.BatchNormalization(name="bn")))
    model.get_layer("bn").trainable = False
    return model


@situation
def norm_without_weights_frozen_late():
    model = fitted(around(keras.layers.BatchNormalization(center=False, scale=False, name="bn")))
    model.get_layer("bn").trainable = False
    return model


@situation
def norm_frozen_and_called_in_training():
    """Keras' own layer asks its flag, however it is called: nothing to report."""
    inputs = keras.Input((4,))
    norm = keras.layers.BatchNormalization(name="bn", trainable=False)
    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(norm(inputs, training=True)), name="m")
    model.compile("adam", "mse")
    return model


@situation
def spectral_norm_frozen():
    layer = keras.layers.SpectralNormalization(keras.layers.Dense(3, name="inner"), name="sn")
    model = around(layer)
    model.get_layer("sn").trainable = False
    model.compile("adam", "mse")
    return model


class RunningMean(keras.layers.Layer):
    def build(self, shape):
        self.mean = self.add_weight(shape=(shape[-1],), trainable=False, name="mean")

    def call(self, h, training=None):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(h, 0))  # assigned here
        return h - self.mean


@situation
def own_statistics_frozen():
    model = around(RunningMean(name="norm", trainable=False))
    model.compile("adam", "mse")
    return model


@situation
def own_statistics_frozen_late():
    model = fitted(around(RunningMean(name="norm")))
    model.get_layer("norm").trainable = False
    return model


@situation
def frozen_for_another_model():
    shared = keras.layers.Dense(5, name="shared")
    first = fitted(around(shared))
    shared.trainable = False
    fitted(around(shared))
    return first


@situation
def discriminator_frozen_for_the_gan():
    model = fitted(mlp("d"))
    model.trainable = False
    return model


class ScaledInPython(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1],), name="w")

    def call(self, h):
        scaled = tf.py_function(lambda values: values * self.w.value, [h], tf.float32)  # Python reads the weight
        return tf.ensure_shape(scaled, h.shape)


@situation
def weight_read_by_python():
    model = around(ScaledInPython(name="scaled"))
    model.compile("adam", "mse")
    return model


class OwnStep(keras.Model):
    """Encoder and head; `step` says how it trains."""

    def __init__(self, step):
        super().__init__(name="own")
        self.enc = keras.layers.Dense(5, name="enc")
        self.head = keras.layers.Dense(1, name="head")
        self.step = step

    def call(self, h):
        return self.head(self.enc(h))

    def train_step(self, data):
        return {"loss": self.step(self, *data)}


def own(step):
    model = OwnStep(step)
    model(x)
    model.compile("sgd", "mse")
    return model


def apply_found(model, tape, loss):
    """An update by the gradients that there are."""
    variables = model.trainable_variables
    pairs = zip(tape.gradient(loss, variables), variables, strict=True)
    model.optimizer.apply_gradients([(gradient, one) for gradient, one in pairs if gradient is not None])
    return loss


@situation
def part_of_the_forward_pass_outside_the_tape():
    def step(model, inputs, target):
        hidden = model.enc(inputs)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.head(hidden) - target) ** 2)
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return own(step)


@situation
def output_goes_into_a_metric_only():
    def step(model, inputs, target):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.head(tf.zeros([8, 5])) - target) ** 2)
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return tf.reduce_mean(model.enc(inputs))

    return own(step)


@situation
def output_goes_into_what_the_step_returns():
    def step(model, inputs, target):
        with tf.GradientTape() as tape:
            hidden = model.enc(inputs)
            loss = tf.reduce_mean((model.head(tf.zeros([8, 5])) - target) ** 2)
            beside = tf.reduce_mean((hidden - 1.0) ** 2)
        variables = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss + beside

    return own(step)


@situation
def argmax_beside_a_sum():
    def step(model, inputs, target):
        with tf.GradientTape() as tape:
            taken = tf.cast(tf.argmax(model.head(model.enc(inputs)), 1), tf.float32)
            loss = tf.reduce_mean((taken - target[:, 0]) ** 2) + tf.reduce_sum(model.head.bias)
        return apply_found(model, tape, loss)

    return own(step)


@situation
def gradients_filtered_by_the_step():
    def step(model, inputs, target):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs) - target) ** 2)
        variables = model.trainable_variables
        pairs = zip(tape.gradient(loss, variables), variables, strict=True)
        model.optimizer.apply_gradients([(gradient, one) for gradient, one in pairs if "head" in one.path])
        return loss

    return own(step)


@situation
def bias_assigned_by_the_step():
    def step(model, inputs, target):
        model.enc.bias.assign(tf.reduce_mean(inputs) + tf.zeros([5]))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs) - target) ** 2)
        variables = model.trainable_variables[:1] + model.trainable_variables[2:]
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return own(step)


@situation
def bias_of_a_derivative_alone():
    def step(model, inputs, target):
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                energy = model.head(model.enc(inputs))
            loss = tf.reduce_mean((inner.gradient(energy, inputs) - target) ** 2)
        return apply_found(model, tape, loss)

    return own(step)


@situation
def constant_made_of_the_value():
    class Baked(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1],), name="w", initializer="ones")

        def call(self, h):
            with tf.init_scope():
                value = self.w.numpy() if hasattr(self.w, "numpy") else np.asarray(self.w)
            return h * tf.constant(value)

    model = around(Baked(name="baked"))
    model.compile("sgd", "mse")
    return model


@situation
def metric_on_an_output_without_loss():
    inputs = keras.Input((4,))
    trunk = keras.layers.Dense(5, name="trunk")(inputs)
    heads = {name: keras.layers.Dense(1, name=name)(trunk) for name in ("a", "b")}
    model = keras.Model(inputs, heads, name="m")
    model.compile("adam", loss={"a": "mse"}, metrics={"a": ["mae"], "b": ["mae"]})
    model.fit(x, {"a": y, "b": y}, verbose=0)
    return introspect.inspect(model, data=(x, {"a": y, "b": y}))


@situation
def own_loop_frozen_late():
    model, optimizer = mlp(), keras.optimizers.Adam()

    @tf.function
    def advance(inputs, target):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs, training=True) - target) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    arguments = (tf.constant(x), tf.constant(y))
    advance(*arguments)
    model.get_layer("hid").trainable = False
    return introspect.inspect(advance, args=arguments, model=model, optimizer=optimizer)


@situation
def part_of_a_backbone_unfrozen_late():
    blocks = [keras.layers.Dense(4, name=f"block{i}") for i in range(4)]
    base = keras.Sequential([keras.Input((4,)), *blocks], name="base")
    base.trainable = False
    model = fitted(around(base))
    for block in blocks[2:]:
        block.trainable = True
    return model


@situation
def whole_backbone_unfrozen_late():
    blocks = [keras.layers.Dense(4, name=f"block{i}") for i in range(12)]
    base = keras.Sequential([keras.Input((4,)), *blocks], name="base")
    base.trainable = False
    model = fitted(around(base))
    base.trainable = True
    return model


class KeptStep(keras.Model):
    """Keras compiles the step; this one is a tf.function besides."""

    @tf.function
    def train_step(self, data):
        features, labels = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(features, training=True) - labels))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


def kept_step() -> Any:
    inputs = keras.Input((4,))
    return KeptStep(inputs, keras.layers.Dense(1, name="out")(keras.layers.Dense(5, name="hid")(inputs)))


@situation
def step_of_a_tf_function_frozen():
    model = fitted(kept_step())
    model.get_layer("hid").trainable = False
    model.compile(model.optimizer, "mse")
    return model


@situation
def step_of_a_tf_function_with_a_new_optimizer():
    model = fitted(kept_step())
    KEPT[:] = [model.optimizer]
    model.compile(keras.optimizers.SGD(name="sgd"), "mse")  # its default name was "SGD" before Keras 3.15
    return model


KEPT: list[Any] = []


class StepByFlags:
    """A train_step that goes by the flags, for tf_keras."""

    def train_step(self, data):
        features, labels = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(features, training=True) - labels))
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return {"loss": loss}


def own_step_of_tf_keras(hidden_trains: bool) -> Any:
    import tf_keras

    inputs = tf_keras.Input((4,))
    hidden = tf_keras.layers.Dense(5, name="hid", trainable=hidden_trains)(inputs)
    model = type("M", (StepByFlags, tf_keras.Model), {})(inputs, tf_keras.layers.Dense(1, name="out")(hidden))
    model.compile("adam", "mse")
    return model


@situation
def own_step_of_tf_keras_frozen_after_compile():
    model = own_step_of_tf_keras(True)
    model.get_layer("hid").trainable = False
    return model


@situation
def own_step_of_tf_keras_unfrozen_after_fit():
    model = own_step_of_tf_keras(False)
    model.fit(x, y, verbose=0)
    model.get_layer("hid").trainable = True
    return model


@situation
def rates_of_several_optimizers():
    model = mlp()
    places = {".*hid.*": keras.optimizers.Adam(0.01)}
    model.compile(
        keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), places)), "mse"
    )
    return model


@situation
def one_rate_of_several_is_zero():
    model = mlp()
    places = {".*hid.*": keras.optimizers.Adam(0.0)}
    model.compile(
        keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), places)), "mse"
    )
    return model


def tied(module: Any) -> Any:
    """Layers first and second hold one kernel; first is frozen, second set last."""

    class Second(module.layers.Layer):
        def __init__(self, other, **names):
            super().__init__(**names)
            self.w = other.kernel

        def call(self, inputs):
            return tf.matmul(inputs, tf.convert_to_tensor(self.w), transpose_b=True)

    inputs = module.Input((4,))
    first = module.layers.Dense(5, name="first")
    hidden = first(inputs)
    model = module.Model(inputs, module.layers.Dense(1, name="out")(Second(first, name="second")(hidden)))
    first.trainable = False
    model.get_layer("second").trainable = False
    model.get_layer("second").trainable = True
    model.compile("sgd", "mse")
    return model


@situation
def tied_weight_of_a_frozen_layer():
    return tied(keras)


@situation
def tied_weight_of_a_frozen_layer_of_tf_keras():
    import tf_keras

    return tied(tf_keras)


@situation
def weights_property_of_tf_keras():
    import tf_keras

    class Bare(tf_keras.layers.Dense):
        @property
        def trainable_weights(self):
            return []

    inputs = tf_keras.Input((4,))
    model = tf_keras.Model(inputs, tf_keras.layers.Dense(1, name="out")(Bare(5, name="hid")(inputs)))
    model.compile("sgd", "mse")
    return model


@situation
def layers_in_a_set_of_tf_keras():
    import tf_keras

    class Net(tf_keras.Model):
        def __init__(self):
            super().__init__()
            self.parts = {tf_keras.layers.Dense(4, name="part")}
            self.out = tf_keras.layers.Dense(1, name="out")

        def call(self, inputs):
            for part in list(self.parts):
                inputs = part(inputs)
            return self.out(inputs)

    model = Net()
    model(x)
    model.compile("sgd", "mse")
    return model


@situation
def bare_variable_in_an_attribute():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(tf.ones(4), name="scale")
            self.out = keras.layers.Dense(1, name="out")

        def call(self, inputs):
            return self.out(inputs * self.scale)

    model = Net()
    model(x)
    model.compile("sgd", "mse")
    return model


class Phased(keras.Model):
    """Chooses what it trains by an attribute, which is read when the step is traced."""

    phase = "head"

    def train_step(self, data):
        features, labels = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(features, training=True) - labels))
        chosen = self.trainable_variables if self.phase == "all" else self.get_layer("out").trainable_variables
        self.optimizer.apply(tape.gradient(loss, chosen), chosen)
        return {"loss": loss}


@situation
def own_step_that_chose_by_an_attribute():
    inputs = keras.Input((4,))
    model = Phased(inputs, keras.layers.Dense(1, name="out")(keras.layers.Dense(5, name="hid")(inputs)))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.fit(x, y, verbose=0)
    model.phase = "all"
    return model


class KeptCall(keras.Model):
    """A call that is a tf.function."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization(name="norm")
        self.out = keras.layers.Dense(1, name="out")

    @tf.function
    def call(self, inputs, training=False):
        return self.out(self.norm(inputs, training=training))


@situation
def call_of_a_tf_function_frozen_and_fitted():
    model = KeptCall()
    model(x)
    fitted(model)
    model.norm.trainable = False
    return fitted(model)


class Choosy(keras.Model):
    """Overrides the list that Keras' step does not ask."""

    @property
    def trainable_variables(self):
        return self.get_layer("out").trainable_variables


@situation
def trainable_variables_overridden():
    inputs = keras.Input((4,))
    model = Choosy(inputs, keras.layers.Dense(1, name="out")(keras.layers.Dense(5, name="hid")(inputs)))
    model.compile("sgd", "mse")
    return model
