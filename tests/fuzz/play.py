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

import introspect
from tests.fuzz.pieces import around, branch_layer, find_arguments, make_loop, own_layer, step_classes, tied_layer
from tests.fuzz.plans import Act, Part, Plan
from tests.oracle import Asked, ask, ask_loop, fit_once, randomize

WIDTH = 4
RAISED = (
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,
    AttributeError,
    StopIteration,
    introspect.IntrospectError,
    tf.errors.OpError,
)
"""What a history may raise: an unknown variable, a batch too few for steps_per_execution, a model that cannot be cloned."""
UNSAVED = {"stopped", "rounded", "chosen", "unused", "embedding", "tied", "branch", "own"}
"""Parts with a lambda, or a class that is not registered."""
CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


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
            self.set_policy(self.plan.policy)
            try:
                self.model = self.make_model()
            finally:
                self.set_policy("float32")
            randomize(self.model)
            self.compile(self.make_optimizer())
            self.start_loop()
            for act in self.plan.acts:
                # What a history raises (Unknown variable) leaves the model as it stands: that is part of it.
                with contextlib.suppress(*RAISED):
                    self.act(act)
            return self.ask()

    def start_loop(self) -> None:
        """A loop of one's own on the model as it is now."""
        self.loop_optimizer = self.make_optimizer()
        self.loop = make_loop(self.model, self.loop_optimizer)

    def ask(self) -> list[str]:
        """What the oracle says of the next step."""
        asked = Asked(numeric=True, arguable="ema" in (self.plan.setting, self.plan.more), raises=None)
        rows = self.plan.rows
        if self.plan.loop:
            args = tuple(tf.constant(part) for part in self.make_arrays(rows))
            return ask_loop(self.loop, args, self.model, self.loop_optimizer, asked).faults
        if self.plan.arrays:
            fit = lambda model, data: model.fit(*data, batch_size=rows, verbose=0)  # noqa: E731
            return ask(self.model, self.make_arrays(4 * rows), asked, fit).faults
        return ask(self.model, self.make_data(rows, self.plan.fixed, self.plan.weighted), asked, fit_once).faults

    def set_policy(self, name: str) -> None:
        """The policy of layers that are made from now on."""
        (self.k.mixed_precision.set_global_policy if self.old else self.k.config.set_dtype_policy)(name)

    def make_model(self) -> Any:
        """The parts as a functional model, or that as the core of another one."""
        if self.plan.shape == "functional":
            return self.make_core(self.model_class())
        core = self.make_core(self.k.Model, "core")
        if self.plan.shape == "sequential" and self.plan.step in ("plain", "own"):
            return self.k.Sequential([self.k.Input((WIDTH,)), core], name="net")
        model = around(self.model_class(), self.old)(core)
        model(np.zeros((2, WIDTH), "float32"))
        return model

    def make_core(self, kind: Any, name: str = "net") -> Any:
        k = self.k
        inputs = k.Input((WIDTH,))
        h = k.layers.Dense(WIDTH, activation="tanh", name="first")(inputs)
        for number, part in enumerate(self.plan.parts):
            h = self.add(part, h, f"p{number}")
        outputs = k.layers.Dense(1, name="last", dtype="float32")(h)
        return kind(inputs, outputs, name=name)

    def model_class(self) -> Any:
        """The functional model, or one with a train_step of its own."""
        base = self.k.Model
        if self.plan.step in ("plain", "own"):
            return base
        return step_classes(self.old, self.plan.shape)[self.plan.step]

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
            case "chosen":
                choice = layers.Lambda(lambda x: tf.one_hot(tf.argmax(x, axis=-1), WIDTH, dtype=x.dtype))
                return layers.Add()([h, choice(dense(**flags)(h))])
            case "embedding":
                number = layers.Lambda(lambda x: tf.cast(tf.abs(3.0 * x[:, 0]), "int32") % 5)(h)
                return layers.Add()([h, layers.Embedding(5, WIDTH, **flags)(number)])
            case "convolution":
                wide = layers.Conv2D(2, 2, padding="same", **extra, **flags)(layers.Reshape((2, 2, 1))(h))
                return layers.Dense(WIDTH)(layers.Flatten()(wide))
            case "tied":
                other = dense(name=f"{name}_other")
                return tied_layer(self.old)(other, **flags)(other(h))
            case "branch":
                return branch_layer(self.old)(**flags)(h)
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
                return own_layer(self.old)(**flags)(h)
            case _:
                return dense(**flags)(h)

    def make_optimizer(self) -> Any:
        k, plan = self.k, self.plan
        rate: Any = 0.05
        if "schedule" in (plan.setting, plan.more):
            rate = k.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
        arguments: dict[str, Any] = {}
        chosen = [plan.setting] if plan.more in CLIPS and plan.setting in CLIPS else [plan.setting, plan.more]
        for setting in chosen:
            arguments |= find_arguments(setting, self.old)
        if plan.optimizer == "Momentum":
            return k.optimizers.SGD(rate, momentum=0.9, **arguments)
        if plan.optimizer == "legacy" and self.old:
            return k.optimizers.legacy.Adam(0.05)
        kind = getattr(k.optimizers, plan.optimizer, None)
        made = (kind if isinstance(kind, type) else k.optimizers.Adam)(rate, **arguments)
        if "scaled" in chosen and not self.old:
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
                found = model.layers[1:] or model.layers
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
            case "recompile":
                introspect.recompile(model)
            case "rate":
                model.optimizer.learning_rate = 0.0
            case "lora" if not self.old:
                found = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
                found[act.number % len(found)].enable_lora(2)
            case "clone":
                self.clone()
            case "loop":
                self.loop(*(tf.constant(part) for part in self.make_arrays(act.number)))

    def clone(self) -> None:
        """Another model of the same layers' configurations, compiled anew."""
        if self.plan.step not in ("plain", "own") or self.plan.shape == "subclassed":
            return
        self.model = self.k.models.clone_model(self.model)
        randomize(self.model)
        self.compile(self.make_optimizer())
        self.start_loop()

    def save(self) -> None:
        if self.plan.step not in ("plain", "own"):
            return
        kinds = {part.kind for part in self.plan.parts}
        if self.plan.shape == "subclassed" or kinds & UNSAVED:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.keras")
            self.model.save(path)
            self.model = self.k.models.load_model(path)
        self.start_loop()
