"""Plays a plan with the real Keras 3 or tf_keras and asks the oracle at its end."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.fuzz.plans import Act, Part, Plan
from tests.oracle import Asked, ask, randomize

WIDTH = 4


def play(plan: Plan) -> list[str]:
    """Faults of the report on the plan's last fit; empty where all is right."""
    return Player(plan).run()


class Player:
    """One plan, its framework and its model."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.old = plan.keras == 2
        if self.old:
            import tf_keras

            self.k: Any = tf_keras
        else:
            self.k = keras
        self.generator = np.random.default_rng(11)

    def run(self) -> list[str]:
        """Build, compile, do all acts, ask."""
        self.k.backend.clear_session()
        self.k.utils.set_random_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = self.make_model()
            randomize(self.model)
            self.compile(self.make_optimizer())
            for act in self.plan.acts:
                # What a history raises (Unknown variable) leaves the model as it stands: that is part of it.
                with contextlib.suppress(
                    ValueError, KeyError, TypeError, RuntimeError, AttributeError, tf.errors.OpError
                ):
                    self.act(act)
            data = self.make_data(self.plan.rows, self.plan.fixed, self.plan.weighted)
            asked = Asked(numeric=True, arguable=self.plan.setting == "ema", raises=None, arrived=self.by_hand())
            return ask(self.model, data, asked).faults

    def by_hand(self) -> dict[str, str]:
        """A step without an optimizer hands no gradient to one: what trains is judged by what moves."""
        return {}

    def make_model(self) -> Any:
        k = self.k
        inputs = k.Input((WIDTH,))
        h = k.layers.Dense(WIDTH, activation="tanh", name="first")(inputs)
        for number, part in enumerate(self.plan.parts):
            h = self.add(part, h, f"p{number}")
        outputs = k.layers.Dense(1, name="last")(h)
        return self.model_class()(inputs, outputs, name="net")

    def model_class(self) -> Any:
        """The functional model, or one with a train_step of its own."""
        base = self.k.Model
        if self.plan.step in ("plain", "own"):
            return base
        return _step_classes(self.old)[self.plan.step]

    def add(self, part: Part, h: Any, name: str) -> Any:
        """One part behind `h`; the result is `WIDTH` wide again."""
        k, layers = self.k, self.k.layers
        flags: dict[str, Any] = {"name": name, "trainable": not part.frozen}
        extra = {"kernel_regularizer": "l2", "kernel_constraint": "max_norm"} if part.regularized else {}
        dense = lambda **names: layers.Dense(WIDTH, activation="tanh", **{**extra, **names})  # noqa: E731
        match part.kind:
            case "batchnorm":
                return layers.BatchNormalization(**flags)(h)
            case "layernorm":
                return layers.LayerNormalization(**flags)(h)
            case "dropout":
                return layers.Dropout(0.25, **flags)(h)
            case "prelu":
                return layers.PReLU(**flags)(h)
            case "nested":
                inner = k.Sequential([dense(), k.Sequential([layers.BatchNormalization(), dense()])], name=name)
                h = inner(h)
                inner.trainable = not part.frozen
                return h
            case "residual":
                return layers.Add()([h, dense(**flags)(h)])
            case "shared":
                layer = dense(**flags)
                return layer(layer(h))
            case "stopped":
                return layers.Add()([h, layers.Lambda(lambda x: tf.stop_gradient(x))(dense(**flags)(h))])
            case "rounded":
                return layers.Add()([h, layers.Lambda(lambda x: tf.round(3.0 * x))(dense(**flags)(h))])
            case "unused":
                return layers.Lambda(lambda pair: pair[0])([h, dense(**flags)(h)])
            case "spectral" if not self.old:
                return layers.SpectralNormalization(layers.Dense(WIDTH), **flags)(h)
            case "lora" if not self.old:
                layer = layers.Dense(WIDTH, **flags)
                h = layer(h)
                layer.enable_lora(2)
                return h
            case "recurrent":
                return layers.GRU(WIDTH, **flags)(layers.Reshape((2, 2))(h))
            case "attention":
                wide = layers.Reshape((2, 2))(h)
                layer = layers.MultiHeadAttention(1, 2, name=name)
                wide = layer(wide, wide)
                layer.trainable = not part.frozen
                return layers.Flatten()(wide)
            case "own":
                return _own_layer(self.old)(**flags)(h)
            case _:
                return dense(**flags)(h)

    def make_optimizer(self) -> Any:
        k, plan = self.k, self.plan
        rate: Any = 0.05
        if plan.setting == "schedule":
            rate = k.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
        arguments: dict[str, Any] = {
            "decay": {"weight_decay": 0.01},
            "clipnorm": {"clipnorm": 0.5},
            "clipvalue": {"clipvalue": 0.1},
            "global_clipnorm": {"global_clipnorm": 0.5},
            "ema": {"use_ema": True, "ema_overwrite_frequency": 1},
            "accumulation": {} if self.old else {"gradient_accumulation_steps": 2},
        }.get(plan.setting, {})
        if plan.optimizer == "Momentum":
            return k.optimizers.SGD(rate, momentum=0.9, **arguments)
        made = getattr(k.optimizers, plan.optimizer, k.optimizers.Adam)(rate, **arguments)
        if plan.setting == "scaled" and not self.old:
            return k.optimizers.LossScaleOptimizer(made)
        return made

    def compile(self, optimizer: Any) -> None:
        arguments = dict(self.plan.compile)
        if self.plan.step not in ("plain", "own", "super"):
            # Keras 3 raises at the end of the epoch where a step of one's own leaves the metrics alone.
            arguments.pop("metrics", None)
            arguments.pop("weighted_metrics", None)
        if arguments.get("run_eagerly"):
            arguments.pop("jit_compile", None)
        self.model.compile(optimizer, "mse", **arguments)
        if self.plan.step == "two optimizers":
            self.model.second = self.k.optimizers.SGD(0.01, momentum=0.5)

    def make_data(self, rows: int, fixed: bool, weighted: bool = False) -> Any:
        x, y = self.make_arrays(4 * rows)
        parts = (x, y, np.ones(len(x), "float32")) if weighted else (x, y)
        # More than one batch, so that a whole number of executions fits.
        return tf.data.Dataset.from_tensor_slices(parts).batch(rows, drop_remainder=fixed)

    def make_arrays(self, rows: int) -> tuple[Any, Any]:
        x = self.generator.normal(size=(rows, WIDTH)).astype("float32")
        return x, x[:, :1] * 2.0

    def act(self, act: Act) -> None:
        model = self.model
        match act.name:
            case "layer":
                found = model.layers[1:]
                found[act.number % len(found)].trainable = act.flag
            case "inner":
                found = [layer for layer in model._flatten_layers(include_self=False) if layer is not model]
                found[act.number % len(found)].trainable = act.flag
            case "variable" if not self.old:
                variables = [v for v in model.variables if v.dtype == "float32"]
                chosen = variables[act.number % len(variables)]
                chosen.trainable = act.flag
            case "root":
                model.trainable = act.flag
            case "fit":
                model.fit(self.make_data(act.number, act.flag), verbose=0)
            case "fit weighted":
                model.fit(self.make_data(act.number, act.flag, weighted=True), verbose=0)
            case "fit arrays":
                model.fit(*self.make_arrays(act.number), verbose=0)
            case "batch":
                x, y = self.make_arrays(act.number)
                weights = {"sample_weight": np.ones(len(x), "float32")} if act.flag else {}
                model.train_on_batch(x, y, **weights)
            case "compile":
                self.compile(self.make_optimizer() if act.flag else model.optimizer)
            case "evaluate":
                model.evaluate(self.make_data(4, False), verbose=0)
            case "predict":
                model.predict(self.make_data(4, False), verbose=0)
            case "force":
                model.make_train_function(force=True)
            case "save":
                self.save()
            case "eager":
                model.run_eagerly = not model.run_eagerly

    def save(self) -> None:
        if self.plan.step not in ("plain", "own"):
            return
        kinds = {part.kind for part in self.plan.parts}
        if kinds & {"stopped", "rounded", "unused", "own"}:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.keras")
            self.model.save(path)
            self.model = self.k.models.load_model(path)


_CLASSES: dict[bool, dict[str, Any]] = {}
_LAYERS: dict[bool, Any] = {}


def _own_layer(old: bool) -> Any:
    """A layer that keeps a running mean, asks its flag, and has a loss of its own."""
    if old not in _LAYERS:
        k: Any = __import__("tf_keras" if old else "keras")

        class Own(k.layers.Layer):  # type: ignore[misc]
            def build(self, shape: Any) -> None:
                self.w = self.add_weight(shape=(shape[-1],), initializer="ones", name="w")
                self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="mean")

            def call(self, x: Any, training: bool = False) -> Any:
                if training and self.trainable:
                    self.mean.assign(0.9 * self.mean + 0.1 * tf.reduce_mean(x, axis=0))
                self.add_loss(0.01 * tf.reduce_sum(tf.square(self.w)))
                return (x - self.mean) * self.w

        _LAYERS[old] = Own
    return _LAYERS[old]


def _step_classes(old: bool) -> dict[str, Any]:
    """Models with a train_step of their own."""
    if old in _CLASSES:
        return _CLASSES[old]
    k: Any = __import__("tf_keras" if old else "keras")

    class Super(k.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    class Scratch(k.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            x, y = data[0], data[1]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y)) + tf.add_n([0.0, *self.losses])
            variables = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return {"loss": loss}

    class TwoOptimizers(k.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            x, y = data[0], data[1]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            variables = self.trainable_variables
            gradients = tape.gradient(loss, variables)
            half = len(variables) // 2
            for optimizer, part in ((self.optimizer, slice(None, half)), (self.second, slice(half, None))):
                pairs = [(g, v) for g, v in zip(gradients[part], variables[part], strict=True) if g is not None]
                if pairs:
                    optimizer.apply_gradients(pairs)
            return {"loss": loss}

    class ByHand(k.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> Any:
            from tests.recording import note_gradients

            x, y = data[0], data[1]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            variables = self.trainable_variables
            gradients = tape.gradient(loss, variables)
            note_gradients(gradients, variables)
            for variable, gradient in zip(variables, gradients, strict=True):
                if gradient is not None:
                    variable.assign_sub(0.05 * gradient)
            return {"loss": loss}

    _CLASSES[old] = {"super": Super, "scratch": Scratch, "two optimizers": TwoOptimizers, "by hand": ByHand}
    return _CLASSES[old]
