"""Each part of a plan as layers, and its optimizer."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tests.fuzz.pieces import VARIANTS, branch_layer, find_arguments, own_layer, reverse, tied_layer
from tests.fuzz.plans import Part, Plan

WIDTH = 4
CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def add_part(k: Any, part: Part, h: Any, name: str) -> Any:
    """One part behind `h`; the result is `WIDTH` wide again."""
    layers, old = k.layers, k is not keras
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
            return tied_layer(old)(other, **flags)(other(h))
        case "branch":
            return branch_layer(old)(**flags)(h)
        case "unused":
            return layers.Lambda(lambda pair: pair[0])([h, dense(**flags)(h)])
        case "spectral" if not old:
            return layers.SpectralNormalization(layers.Dense(WIDTH), **flags)(h)
        case "lora" if not old:
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
        case "cut":
            return layers.Lambda(lambda x: tf.stop_gradient(x))(dense(**flags)(h))
        case "reversed":
            return layers.Lambda(reverse)(dense(**flags)(h))
        case "bidirectional":
            wide = layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True), **flags)(layers.Reshape((2, 2))(h))
            return layers.Dense(WIDTH)(layers.Flatten()(wide))
        case "each":
            return layers.Flatten()(layers.TimeDistributed(layers.Dense(2), **flags)(layers.Reshape((2, 2))(h)))
        case "groupnorm":
            return layers.GroupNormalization(2, **flags)(h)
        case "activity":
            return dense(activity_regularizer="l2", **flags)(h)
        case "shared norm":
            norm = layers.BatchNormalization(**flags)
            return norm(dense()(norm(h)))
        case "own":
            return own_layer(old)(**flags)(h)
        case _:
            return dense(**flags)(h)


def make_optimizer(k: Any, plan: Plan) -> Any:
    """The plan's optimizer with its settings."""
    old = k is not keras
    rate: Any = 0.05
    if "schedule" in (plan.setting, plan.more):
        rate = k.optimizers.schedules.ExponentialDecay(0.05, 10, 0.9)
    arguments: dict[str, Any] = {}
    chosen = [plan.setting] if plan.more in CLIPS and plan.setting in CLIPS else [plan.setting, plan.more]
    for setting in chosen:
        arguments |= find_arguments(setting, old)
    made = _make_plain(k, plan.optimizer, rate, arguments)
    if "scaled" in chosen:
        return (k.mixed_precision if old else k.optimizers).LossScaleOptimizer(made)
    return made


def _make_plain(k: Any, optimizer: str, rate: Any, arguments: dict[str, Any]) -> Any:
    """The plan's own one, or Adam where this Keras lacks it."""
    optimizers, old = k.optimizers, k is not keras
    family, _, name = optimizer.rpartition(" ")
    if family and old:
        return getattr(optimizers.legacy, name)(0.05)
    if name == "Multi" and not old:
        places = optimizers.OptimizerMap(optimizers.SGD(rate, **arguments))
        places[".*first.*"] = optimizers.Adam(rate, **arguments)
        return optimizers.MultiOptimizer(places)
    name, more = VARIANTS.get(name, (name, {}))
    kind = getattr(optimizers, name, None)
    return (kind if isinstance(kind, type) else optimizers.Adam)(rate, **more, **arguments)
