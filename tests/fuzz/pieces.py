"""Layers, models with a train_step of their own, a loop, and settings of optimizers, for Keras 3 and for tf_keras."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

_CLASSES: dict[tuple[bool, str], dict[str, Any]] = {}
_LAYERS: dict[bool, Any] = {}
_TIED: dict[bool, Any] = {}
_BRANCHES: dict[bool, Any] = {}
_AROUND: dict[tuple[Any, str], Any] = {}


def own_layer(old: bool) -> Any:
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


def tied_layer(old: bool) -> Any:
    """A layer that uses another layer's kernel, turned round."""
    if old not in _TIED:
        k: Any = __import__("tf_keras" if old else "keras")

        class Tied(k.layers.Layer):  # type: ignore[misc]
            def __init__(self, other: Any, **names: Any) -> None:
                super().__init__(**names)
                self.other = other

            def call(self, x: Any) -> Any:
                return tf.matmul(x, tf.cast(tf.convert_to_tensor(self.other.kernel), x.dtype), transpose_b=True)

        _TIED[old] = Tied
    return _TIED[old]


def branch_layer(old: bool) -> Any:
    """A layer that uses one of two weights, as the numbers have it."""
    if old not in _BRANCHES:
        k: Any = __import__("tf_keras" if old else "keras")

        class Branch(k.layers.Layer):  # type: ignore[misc]
            def build(self, shape: Any) -> None:
                self.left = self.add_weight(shape=(shape[-1],), initializer="ones", name="left")
                self.right = self.add_weight(shape=(shape[-1],), initializer="ones", name="right")

            def call(self, x: Any) -> Any:
                return tf.cond(tf.reduce_sum(x) > 0, lambda: x * self.left, lambda: x * self.right)

        _BRANCHES[old] = Branch
    return _BRANCHES[old]


def around(kind: Any, old: bool) -> Any:
    """A class of `kind` that is subclassed and holds a core."""
    key = (kind, "2" if old else "3")
    if key not in _AROUND:

        class Around(kind):  # type: ignore[misc]
            def __init__(self, core: Any) -> None:
                super().__init__(name="net")
                self.core = core

            def call(self, x: Any, training: Any = None) -> Any:
                return self.core(x, training=training)

        _AROUND[key] = Around
    return _AROUND[key]


@tf.custom_gradient
def reverse(x: Any) -> Any:
    """Itself, and its gradient turned round."""
    return tf.identity(x), lambda gradient: -gradient


def step_classes(old: bool, shape: str) -> dict[str, Any]:
    """Models with a train_step of their own. Keras turns a class into a functional one at its first functional use, so
    that each shape has its own."""
    if (old, shape) in _CLASSES:
        return _CLASSES[old, shape]
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

    class Penalty(k.Model):  # type: ignore[misc]
        """A tape in a tape, and gradients clipped by hand."""

        def train_step(self, data: Any) -> Any:
            x, y = data[0], data[1]
            with tf.GradientTape() as tape:
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    predicted = self(x, training=True)
                slope = inner.gradient(predicted, x)
                loss = tf.reduce_mean(tf.square(predicted - y)) + tf.reduce_mean(tf.square(slope))
            variables = self.trainable_variables
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            self.optimizer.apply_gradients(pairs)
            return {"loss": loss}

    class Kept(k.Model):  # type: ignore[misc]
        """Goes on with the variables of its first trace."""

        def train_step(self, data: Any) -> Any:
            x, y = data[0], data[1]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            variables = self.__dict__.setdefault("kept", tuple(self.trainable_variables))
            pairs = [(g, v) for g, v in zip(tape.gradient(loss, variables), variables, strict=True) if g is not None]
            self.optimizer.apply_gradients(pairs)
            return {"loss": loss}

    _CLASSES[old, shape] = {
        "super": Super,
        "scratch": Scratch,
        "two optimizers": TwoOptimizers,
        "by hand": ByHand,
        "penalty": Penalty,
        "kept": Kept,
    }
    return _CLASSES[old, shape]


def make_loop(model: Any, optimizer: Any) -> Any:
    """A step that somebody wrote by hand, as a tf.function."""

    @tf.function
    def train(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(tf.cast(model(x, training=True), "float32") - y))
        variables = model.trainable_variables
        pairs = [(g, v) for g, v in zip(tape.gradient(loss, variables), variables, strict=True) if g is not None]
        optimizer.apply_gradients(pairs)
        return loss

    return train


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Momentum": ("SGD", {"momentum": 0.9}),
    "Nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "Amsgrad": ("Adam", {"amsgrad": True}),
    "Centered": ("RMSprop", {"momentum": 0.5, "centered": True}),
}
"""Optimizers by another name: their class and its arguments."""


def find_arguments(setting: str, old: bool) -> dict[str, Any]:
    """What a setting is as arguments of an optimizer."""
    found: dict[str, dict[str, Any]] = {
        "decay": {"weight_decay": 0.01},
        "clipnorm": {"clipnorm": 0.5},
        "clipvalue": {"clipvalue": 0.1},
        "global_clipnorm": {"global_clipnorm": 0.5},
        "ema": {"use_ema": True, "ema_overwrite_frequency": 1},
        "ema end": {"use_ema": True, "ema_momentum": 0.9},
        "accumulation": {} if old else {"gradient_accumulation_steps": 2},
    }
    return found.get(setting, {})
