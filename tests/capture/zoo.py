"""Small models of many kinds: `build(K)` gives `(model, (x, y))`, uncompiled state aside; K is keras or tf_keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from introspect.capture.record import Capture

Built = tuple[Any, tuple[Any, Any]]
Builder = Callable[[Any], Built]


def arrays(inputs: tuple[int, ...] = (4,), outputs: tuple[int, ...] = (1,), rows: int = 8) -> tuple[Any, Any]:
    """Random float32 arrays that are the same at each call."""
    random = np.random.RandomState(0)
    return random.rand(rows, *inputs).astype("float32"), random.rand(rows, *outputs).astype("float32")


def mlp(package: Any, outputs: int = 1, **frozen: bool) -> Any:
    """Two dense layers, hid and out, whose flags are given by name; not compiled."""
    layers = [package.layers.Input((4,)), package.layers.Dense(5, name="hid")]
    model = package.Sequential([*layers, package.layers.Dense(outputs, name="out")], name="m")
    for name, trainable in frozen.items():
        model.get_layer(name).trainable = trainable
    return model


def failing(capture: Capture) -> set[str]:
    """Paths of the variables that a capture says the next step or fit fails by."""
    assert capture.failure is not None
    return {capture.variables[index].path.removesuffix(":0") for index in capture.failure.variables}


def plain(K: Any) -> Built:  # noqa: N803
    """Dense, BatchNormalization, Dropout; Adam and a metric."""
    layers = [K.layers.Input((4,)), K.layers.Dense(5, activation="tanh", name="hid")]
    layers += [K.layers.BatchNormalization(name="bn"), K.layers.Dropout(0.5), K.layers.Dense(1, name="out")]
    model = K.Sequential(layers, name="m")
    model.compile(K.optimizers.Adam(), "mse", metrics=["mae"])
    return model, arrays()


def momentum(K: Any) -> Built:  # noqa: N803
    """A functional model of two outputs, regularizer and constraint; SGD with momentum, a schedule and clipping."""
    inputs = K.Input((4,))
    base = K.layers.Dense(5, kernel_regularizer="l2", kernel_constraint="max_norm", name="base")(inputs)
    outputs = [K.layers.Dense(1, name="a")(base), K.layers.Dense(1, name="b")(base)]
    model = K.Model(inputs, outputs, name="m")
    rate = K.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(K.optimizers.SGD(rate, momentum=0.9, clipnorm=1.0), ["mse", "mae"], loss_weights=[1.0, 0.5])
    x, y = arrays()
    return model, (x, [y, y])


def subclassed(K: Any) -> Built:  # noqa: N803
    """A subclassed model that writes Python state while it is traced, with `add_loss` and a metric of its own."""

    class Net(K.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.blocks = [K.layers.Dense(4, activity_regularizer="l2", name="b0"), K.layers.Dense(1, name="b1")]
            self.seen: list[int] = []
            self.calls = 0
            self.watch = K.metrics.Mean(name="watch")

        def call(self, x: Any, training: bool = False) -> Any:
            self.calls += 1
            self.seen.append(self.calls)
            for block in self.blocks:
                x = block(x)
            self.add_loss(tf.reduce_mean(x) * 0.1)
            return x

        def train_step(self, data: Any) -> Any:
            logs = super().train_step(data)
            self.watch.update_state(1.0)
            return {**logs, "watch": self.watch.result()}

    model = Net()
    x, y = arrays()
    model(x[:2])
    model.compile("rmsprop", "mse")
    return model, (x, y)


def adversarial(K: Any) -> Built:  # noqa: N803
    """Two optimizers that the model holds itself, and a `compile` of its own."""

    class Gan(K.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="gan")
            self.maker = K.Sequential([K.layers.Input((2,)), K.layers.Dense(4, name="g")], name="maker")
            self.judge = K.Sequential([K.layers.Input((4,)), K.layers.Dense(1, name="d")], name="judge")

        def compile(self, g: Any, d: Any) -> None:  # type: ignore[override]
            super().compile()
            self.g, self.d = g, d
            self.error = K.losses.BinaryCrossentropy(from_logits=True)

        def call(self, x: Any) -> Any:
            return self.judge(x)

        def train_step(self, data: Any) -> Any:
            real = data[0] if isinstance(data, (tuple, list)) else data
            noise = tf.random.normal((tf.shape(real)[0], 2))
            with tf.GradientTape() as tape:
                made = self.judge(self.maker(noise, training=True), training=True)
                loss = self.error(tf.zeros_like(made), made) + self.error(tf.ones_like(made), self.judge(real))
            variables = self.judge.trainable_variables
            self.d.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            with tf.GradientTape() as tape:
                made = self.judge(self.maker(noise, training=True), training=True)
                other = self.error(tf.ones_like(made), made)
            variables = self.maker.trainable_variables
            self.g.apply_gradients(zip(tape.gradient(other, variables), variables, strict=True))
            return {"d": loss, "g": other}

    model = Gan()
    x, y = arrays()
    model(x[:2])
    model.compile(K.optimizers.Adam(0.01, name="g_adam"), K.optimizers.Adam(0.01, name="d_adam"))
    return model, (x, y)


def nested_function(K: Any) -> Built:  # noqa: N803
    """A layer whose `call` goes through a tf.function of the user's, with a cache of its own."""

    class Twice(K.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="twice")
            self.dense = K.layers.Dense(4, name="inner")

        def build(self, shape: Any) -> None:
            self.dense.build(shape)
            super().build(shape)

        @tf.function  # type: ignore[untyped-decorator]
        def double(self, x: Any) -> Any:
            return self.dense(x) * 2.0

        def call(self, x: Any) -> Any:
            return self.double(x)

    model = K.Sequential([K.layers.Input((4,)), Twice(), K.layers.Dense(1, name="out")], name="m")
    model.compile("adam", "mse")
    return model, arrays()


def recurrent(K: Any) -> Built:  # noqa: N803
    """A while loop and an Embedding, whose gradient is sparse."""
    layers = [K.layers.Input((6,), dtype="int32"), K.layers.Embedding(10, 4, name="emb"), K.layers.LSTM(3, name="rnn")]
    model = K.Sequential([*layers, K.layers.Dense(3, activation="softmax", name="out")], name="m")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    random = np.random.RandomState(0)
    return model, (random.randint(0, 10, (8, 6)).astype("int32"), random.randint(0, 3, (8,)).astype("int64"))


def averaged(K: Any) -> Built:  # noqa: N803
    """EMA, weight decay; in Keras 3 gradient accumulation too."""
    model = K.Sequential([K.layers.Input((4,)), K.layers.Dense(4, name="d1"), K.layers.Dense(4, name="d2")], name="m")
    more = {"gradient_accumulation_steps": 2} if K.__name__ == "keras" else {}
    model.compile(K.optimizers.AdamW(0.1, use_ema=True, ema_momentum=0.5, **more), "mse")
    return model, arrays(outputs=(4,))


def mixed(K: Any) -> Built:  # noqa: N803
    """mixed_float16: the optimizer is wrapped by a loss scale."""
    layers = [K.layers.Input((4,)), K.layers.Dense(5, dtype="mixed_float16", name="hid")]
    model = K.Sequential([*layers, K.layers.Dense(1, dtype="float32", name="out")], name="m")
    package = K.mixed_precision if K.__name__ == "tf_keras" else K.optimizers
    model.compile(package.LossScaleOptimizer(K.optimizers.Adam()), "mse")
    return model, arrays()


def eager(K: Any) -> Built:  # noqa: N803
    """run_eagerly."""
    model, data = plain(K)
    model.compile(K.optimizers.SGD(0.1, momentum=0.9), "mse", run_eagerly=True)
    return model, data


def several_steps(K: Any) -> Built:  # noqa: N803
    """steps_per_execution."""
    model, data = plain(K)
    model.compile(K.optimizers.Nadam(), "mse", steps_per_execution=2)
    return model, data


def seeded(K: Any) -> Built:  # noqa: N803
    """A loss and a callable that draw from Python's and numpy's random state while they are traced."""
    import random

    def noisy(truth: Any, prediction: Any) -> Any:
        return tf.reduce_mean((truth - prediction) ** 2) * (1.0 + random.random() + np.random.rand())

    model, data = plain(K)
    model.compile("adagrad", noisy)
    return model, data


BUILDERS: tuple[Builder, ...] = (
    plain,
    momentum,
    subclassed,
    adversarial,
    nested_function,
    recurrent,
    averaged,
    mixed,
    eager,
    several_steps,
    seeded,
)
