"""Train steps of the user's own, each healthy, then stale."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.models import Built, freeze, make_data
from tests.oracle import Asked, randomize

pytestmark = pytest.mark.tf

layers = keras.layers


def stack(name: str, outputs: int = 1, width: int = 3, normalize: bool = False) -> Any:
    parts = [layers.Dense(4, activation="tanh", name=f"{name}_a"), layers.Dense(outputs, name=f"{name}_b")]
    if normalize:
        parts.insert(1, layers.BatchNormalization(name=f"{name}_norm"))
    return keras.Sequential([keras.Input((width,)), *parts], name=name)


class Base(keras.Model):
    """A net with layers a, b, c; subclasses say how it trains."""

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.a = layers.Dense(4, activation="tanh", name="a", trainable=False)
        self.b = layers.Dense(4, activation="tanh", name="b")
        self.norm = layers.BatchNormalization(name="norm") if normalize else layers.Activation("linear", name="norm")
        self.c = layers.Dense(1, name="c")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.c(self.norm(self.b(self.a(x)), training=training))


def trained_by(
    kind: Callable[[], Any], optimizer: Any = "adam", data: Any = make_data, **arguments: Any
) -> Callable[[], Built]:
    def build() -> Built:
        model = kind()
        model(np.zeros((2, 3), "float32"))
        randomize(model)
        given = {key: value() if callable(value) else value for key, value in arguments.items()}
        model.compile(optimizer, **{"loss": "mse", **given})
        return model, data()

    return build


class Super(Base):
    """train_step that calls its parent's."""

    def train_step(self, data: Any) -> Any:
        logs = super().train_step(data)
        logs["twice"] = 2.0 * logs["loss"]
        return logs


class Scratch(Base):
    """The step of Keras' guide."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return {"loss": loss}


class Frozen(Base):
    """Trains a list of variables that was taken once."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        mine = self.b.trainable_variables + self.c.trainable_variables
        self.optimizer.apply(tape.gradient(loss, mine), mine)
        return {"loss": loss}


class InnerFunction(Base):
    """The whole loss stands inside a tf.function of its own."""

    @tf.function
    def compute(self, x: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.square(self(x, training=True) - y))

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self.compute(*data)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class WholeInside(Base):
    """Tape and all stand inside a tf.function of its own."""

    @tf.function
    def gradients(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        return tape.gradient(loss, self.trainable_variables)

    def train_step(self, data: Any) -> Any:
        self.optimizer.apply(self.gradients(*data), self.trainable_variables)
        return {"loss": 0.0}


SHAPES = ((4, 4), (4,), (4, 1), (1,))
"""Of what `Base` trains."""


class Accumulating(Base):
    """Sums gradients over two steps in variables of its own and applies them every second time."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = [
            self.add_weight(shape=shape, initializer="zeros", trainable=False, name=f"sum{i}")
            for i, shape in enumerate(SHAPES)
        ]
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="count")

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        for total, gradient in zip(self.sums, tape.gradient(loss, variables), strict=False):
            total.assign_add(gradient)
        self.count.assign_add(1)
        tf.cond(self.count % 2 == 0, lambda: self.apply_sums(variables), lambda: False)
        return {"loss": loss}

    def apply_sums(self, variables: Any) -> bool:
        self.optimizer.apply([tf.convert_to_tensor(total) / 2.0 for total in self.sums[: len(variables)]], variables)
        for total in self.sums:
            total.assign(tf.zeros_like(total))
        return True


def accumulating() -> Built:
    model = Accumulating()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    for total in model.sums:
        total.assign(np.zeros(total.shape))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model, make_data(rows=8, batch=4)


class ByHand(Base):
    """w -= rate * gradient, without an optimizer."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        for v, g in zip(self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True):
            v.assign_sub(0.05 * g)
        return {"loss": loss}


class ByAssign(Base):
    """w = w - rate * gradient by assign, with a norm of all gradients."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self.trainable_variables), 0.5)
        for v, g in zip(self.trainable_variables, gradients, strict=True):
            v.assign(v - 0.05 * g)
        return {"loss": loss}


class PerExample(Base):
    """DP-SGD: each example's gradient clipped, then summed with noise."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables

        def one(pair: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(pair[0][None], training=True) - pair[1][None]))
            gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 0.1)
            return gradients

        stacked = tf.vectorized_map(one, (x, y))
        noisy = [tf.reduce_mean(g, axis=0) + tf.random.normal(g.shape[1:], stddev=0.01) for g in stacked]
        self.optimizer.apply(noisy, variables)
        return {"loss": 0.0}


class Jacobian(Base):
    """Per-example gradients by tape.jacobian."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            losses = tf.reduce_sum(tf.square(self(x, training=True) - y), axis=-1)
        jacobians = tape.jacobian(losses, self.trainable_variables)
        self.optimizer.apply([tf.reduce_mean(j, axis=0) for j in jacobians], self.trainable_variables)
        return {"loss": tf.reduce_mean(losses)}


class Penalized(Base):
    """Gradient penalty: a tape in a tape."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                out = self(x, training=True)
            slope = inner.gradient(out, x)
            loss = tf.reduce_mean(tf.square(out - y)) + tf.reduce_mean(tf.square(tf.norm(slope, axis=-1) - 1.0))
        self.optimizer.apply(outer.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class OnlyPenalty(Base):
    """Only the slope is trained: the bias of c gets no gradient."""

    def train_step(self, data: Any) -> Any:
        x, _ = data
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                out = self(x, training=True)
            loss = tf.reduce_mean(tf.square(inner.gradient(out, x)))
        self.optimizer.apply(outer.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class Adversarial(Base):
    """FGSM: the loss at an input moved along its gradient; BatchNorm sees both."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        moved = x + 0.1 * tf.sign(tape.gradient(loss, x))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(moved, training=True) - y))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class Sharpness(Base):
    """SAM: move the weights uphill, take the gradient there, move them back, then step."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        first = tape.gradient(loss, variables)
        norm = tf.linalg.global_norm(first)
        moves = [0.05 * g / (norm + 1e-12) for g in first]
        for v, e in zip(variables, moves, strict=True):
            v.assign_add(e)
        with tf.GradientTape() as tape:
            second = tf.reduce_mean(tf.square(self(x, training=True) - y))
        gradients = tape.gradient(second, variables)
        for v, e in zip(variables, moves, strict=True):
            v.assign_sub(e)
        self.optimizer.apply(gradients, variables)
        return {"loss": loss}


class NormTracker(Base):
    """Keeps the norm of its gradients in a variable, and a running mean of them."""

    def __init__(self) -> None:
        super().__init__(normalize=True)
        self.latest = self.add_weight(shape=(), trainable=False, initializer="zeros", name="latest")
        self.mean = self.add_weight(shape=(), trainable=False, initializer="zeros", name="mean")

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        norm = tf.linalg.global_norm(gradients)
        self.latest.assign(norm)
        self.mean.assign(0.9 * self.mean + 0.1 * norm)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss, "norm": norm}


class Informed(Base):
    """A PINN whose loss weights follow from gradient norms; the weights scale the loss of the next step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.add_weight(shape=(), trainable=False, initializer="ones", name="loss_weight")

    def train_step(self, data: Any) -> Any:
        x, y = data
        variables = self.trainable_variables
        with tf.GradientTape(persistent=True) as tape:
            with tf.GradientTape() as inner:
                inner.watch(x)
                out = self(x, training=True)
            residual = tf.reduce_mean(tf.square(inner.gradient(out, x) - x))
            edge = tf.reduce_mean(tf.square(out - y))
            loss = residual + self.weight * edge
        of_residual, of_edge = tape.gradient(residual, variables), tape.gradient(edge, variables)
        largest = tf.reduce_max([tf.reduce_max(tf.abs(g)) for g in of_residual if g is not None])
        mean = tf.reduce_mean([tf.reduce_mean(tf.abs(g)) for g in of_edge])
        self.weight.assign(0.9 * self.weight + 0.1 * largest / mean)
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        return {"loss": loss}


class GradNorm(Base):
    """Loss weights that are trained by a gradient of gradient norms."""

    def __init__(self) -> None:
        super().__init__()
        self.d = layers.Dense(1, name="d")
        self.task = self.add_weight(shape=(2,), initializer="ones", name="task")

    def call(self, x: Any, training: bool = False) -> Any:
        h = self.b(self.a(x))
        return self.c(h), self.d(h)

    def train_step(self, data: Any) -> Any:
        x, y = data
        nets = [v for v in self.trainable_variables if v is not self.task]
        with tf.GradientTape(persistent=True) as outer:
            with tf.GradientTape(persistent=True) as tape:
                left, right = self(x, training=True)
                losses = [tf.reduce_mean(tf.square(left - y)), tf.reduce_mean(tf.abs(right - 2.0 * y))]
                weighted = [self.task[i] * losses[i] for i in range(2)]
                loss = weighted[0] + weighted[1]
            norms = [tf.norm(tape.gradient(w, self.b.kernel.value)) for w in weighted]
            target = tf.stop_gradient((norms[0] + norms[1]) / 2.0)
            balance = tf.abs(norms[0] - target) + tf.abs(norms[1] - target)
        task = outer.gradient(balance, [self.task])
        self.optimizer.apply([*tape.gradient(loss, nets), *task], [*nets, self.task])
        return {"loss": loss}


class Uncertain(Base):
    """Loss weights that are trained as log variances."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = self.add_weight(shape=(), initializer="zeros", name="log_variance")

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(self(x, training=True) - y))
            loss = tf.exp(-self.log_variance) * error + self.log_variance
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


@tf.custom_gradient
def reverse(x: Any) -> Any:
    """Gradient reversal."""
    return tf.identity(x), lambda upstream: -0.5 * upstream


@tf.custom_gradient
def clip_upstream(x: Any) -> Any:
    """A gradient of its own with ops of its own."""
    return tf.nn.relu(x), lambda upstream: tf.clip_by_value(upstream, -0.1, 0.1) * tf.cast(x > -1.0, tf.float32)


class Reversal(Base):
    """Domain-adversarial: a second head behind a reversed gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.domain = layers.Dense(1, name="domain")

    def call(self, x: Any, training: bool = False) -> Any:
        h = self.b(self.a(x))
        return self.c(clip_upstream(h)) + 0.1 * self.domain(reverse(h))


class Stopped(Base):
    """stop_gradient in front of one head: a BYOL-like pair with a healthy twin in `Base`."""

    def __init__(self) -> None:
        super().__init__()
        self.d = layers.Dense(4, activation="tanh", name="d")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.c(self.b(self.a(x)) + tf.stop_gradient(self.d(x)))


class Momentum(Base):
    """MoCo: a key encoder follows the query encoder; a queue of keys."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = stack("query", 2), stack("key", 2)
        self.key.trainable = False
        self.queue = self.add_weight(shape=(8, 2), trainable=False, initializer="random_normal", name="queue")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.key(x) + self.query(x) + self.c(self.b(self.a(x)))

    def train_step(self, data: Any) -> Any:
        x, y = data
        keys = self.key(x, training=False)
        with tf.GradientTape() as tape:
            q = self.query(x, training=True)
            logits = tf.concat([tf.reduce_sum(q * keys, 1, keepdims=True), q @ tf.transpose(self.queue.value)], 1)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.one_hot(tf.zeros(4, tf.int32), 9), logits))
            loss += tf.reduce_mean(tf.square(self.c(self.b(self.a(x))) - y))
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        for slow, fast in zip(self.key.weights, self.query.weights, strict=True):
            slow.assign(0.99 * slow + 0.01 * fast)
        self.queue.assign(tf.concat([keys, self.queue.value[:-4]], 0))
        return {"loss": loss}


class Gan(keras.Model):
    """Two optimizers, D trained before G, each with its own loss."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = stack("generator", 3, normalize=True), stack("discriminator", 1)

    def compile(self, optimizer: Any, d_optimizer: Any, **arguments: Any) -> None:
        super().compile(optimizer=optimizer, **arguments)
        self.d_optimizer = d_optimizer

    def call(self, x: Any, training: bool = False) -> Any:
        return self.discriminator(self.generator(x, training=training), training=training)

    def train_step(self, data: Any) -> Any:
        x, _ = data
        noise = tf.random.normal(tf.shape(x))
        with tf.GradientTape() as tape:
            fake = self.generator(noise, training=True)
            d_loss = tf.reduce_mean(tf.nn.softplus(self.discriminator(fake)) + tf.nn.softplus(-self.discriminator(x)))
        variables = self.discriminator.trainable_variables
        self.d_optimizer.apply(tape.gradient(d_loss, variables), variables)
        with tf.GradientTape() as tape:
            g_loss = tf.reduce_mean(tf.nn.softplus(-self.discriminator(self.generator(noise, training=True))))
        variables = self.generator.trainable_variables
        self.optimizer.apply(tape.gradient(g_loss, variables), variables)
        return {"g": g_loss, "d": d_loss}


class Wgan(Gan):
    """Several critic steps in one, with a gradient penalty and clipped weights."""

    def train_step(self, data: Any) -> Any:
        x, _ = data
        critic = self.discriminator.trainable_variables
        for _ in range(2):
            noise = tf.random.normal(tf.shape(x))
            with tf.GradientTape() as tape:
                fake = self.generator(noise, training=True)
                mixed = 0.5 * (x + fake)
                with tf.GradientTape() as inner:
                    inner.watch(mixed)
                    score = self.discriminator(mixed, training=True)
                penalty = tf.reduce_mean(tf.square(tf.norm(inner.gradient(score, mixed), axis=-1) - 1.0))
                loss = tf.reduce_mean(self.discriminator(fake) - self.discriminator(x)) + 10.0 * penalty
            self.d_optimizer.apply(tape.gradient(loss, critic), critic)
        with tf.GradientTape() as tape:
            g_loss = -tf.reduce_mean(self.discriminator(self.generator(tf.random.normal(tf.shape(x)), training=True)))
        variables = self.generator.trainable_variables
        self.optimizer.apply(tape.gradient(g_loss, variables), variables)
        return {"g": g_loss}


class Codebook(Base):
    """VQ-VAE whose codebook follows the encoder by running means, straight through for the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.book = self.add_weight(shape=(5, 4), trainable=False, initializer="random_normal", name="book")
        self.counts = self.add_weight(shape=(5,), trainable=False, initializer="ones", name="counts")
        self.sums = self.add_weight(shape=(5, 4), trainable=False, initializer="random_normal", name="sums")

    def call(self, x: Any, training: bool = False) -> Any:
        h = self.b(self.a(x))
        distance = tf.reduce_sum(tf.square(h[:, None] - self.book.value[None]), -1)
        chosen = tf.one_hot(tf.argmin(distance, 1), 5)
        code = chosen @ self.book.value
        if training:
            self.counts.assign(0.9 * self.counts + 0.1 * tf.reduce_sum(chosen, 0))
            self.sums.assign(0.9 * self.sums + 0.1 * tf.matmul(chosen, h, transpose_a=True))
            self.book.assign(self.sums / (self.counts[:, None] + 1e-3))
        return self.c(h + tf.stop_gradient(code - h))


class Distilled(keras.Model):
    """A frozen teacher and a student."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.student = stack("teacher"), stack("student")
        self.teacher.trainable = False

    def call(self, x: Any, training: bool = False) -> Any:
        return self.student(x, training=training) + 0.0 * self.teacher(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        soft = self.teacher(x, training=False)
        with tf.GradientTape() as tape:
            out = self.student(x, training=True)
            loss = tf.reduce_mean(tf.square(out - y)) + tf.reduce_mean(tf.square(out - soft))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class TwoPhases(Base):
    """Two optimizers over two parts, one apply after the other in one step."""

    def __init__(self) -> None:
        super().__init__()
        self.second = keras.optimizers.SGD(0.01, momentum=0.9)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        left, right = self.b.trainable_variables, self.c.trainable_variables
        gradients = tape.gradient(loss, [*left, *right])
        self.optimizer.apply(gradients[: len(left)], left)
        self.second.apply(gradients[len(left) :], right)
        return {"loss": loss}


class Loop(Base):
    """Three inner steps in a tf.while_loop."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        self.optimizer.build(self.trainable_variables)

        def turn(i: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return i + 1

        tf.while_loop(lambda i: i < 3, turn, [0])
        return {"loss": 0.0}


class Sometimes(Base):
    """Applies only where the loss is large: a branch around the whole update."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        self.optimizer.build(self.trainable_variables)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        gradients = tape.gradient(loss, self.trainable_variables)

        def apply() -> bool:
            self.optimizer.apply(gradients, self.trainable_variables)
            return True

        tf.cond(loss > 1e-9, apply, lambda: False)
        return {"loss": loss}


class Centralized(Base):
    """Gradients are changed on their way: centred, rescaled by their own norm, masked."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients = [g - tf.reduce_mean(g, 0, keepdims=True) if len(g.shape) > 1 else g for g in gradients]
        gradients = [g / (tf.norm(g) + 1e-6) for g in gradients]
        gradients = [tf.where(tf.abs(g) > 1e-6, g, tf.zeros_like(g)) for g in gradients]
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


class Rms(Base):
    """RMSprop by hand with averages of its own in the model."""

    def __init__(self) -> None:
        super().__init__()
        self.squares = [
            self.add_weight(shape=shape, initializer="ones", trainable=False, name=f"square{i}")
            for i, shape in enumerate(SHAPES)
        ]

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        gradients = tape.gradient(loss, self.trainable_variables)
        for v, g, s in zip(self.trainable_variables, gradients, self.squares, strict=False):
            s.assign(0.9 * s + 0.1 * tf.square(g))
            v.assign_sub(0.01 * g / (tf.sqrt(s.value) + 1e-6))
        return {"loss": loss}


def by_hand_rms() -> Built:
    model = Rms()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    for square in model.squares:
        square.assign(np.abs(square.numpy()) + 0.1)
    model.compile("adam", "mse")
    return model, make_data()


class OutputGradients(Base):
    """The backward pass starts from a gradient of the user's own."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            out = self(x, training=True)
        upstream = 2.0 * (out - y) / tf.cast(tf.size(y), tf.float32)
        gradients = tape.gradient(out, self.trainable_variables, output_gradients=upstream)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": tf.reduce_mean(tf.square(out - y))}


class SymbolicGradients(Base):
    """tf.gradients instead of a tape."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
        raw = [v.value for v in self.trainable_variables]
        self.optimizer.apply(tf.gradients(loss, raw), self.trainable_variables)
        return {"loss": loss}


class Reinforce(Base):
    """Policy gradient: the sample carries no gradient, its log probability does."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            mean = self(x, training=True)
            sample = tf.stop_gradient(mean + 0.1 * tf.random.normal(tf.shape(mean)))
            log_probability = -tf.square(sample - mean) / 0.02
            loss = -tf.reduce_mean(log_probability * -tf.square(sample - y))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class Target(Base):
    """DQN: a target network that is copied now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.online, self.target = stack("online"), stack("target")
        self.target.trainable = False
        self.steps = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="steps")

    def call(self, x: Any, training: bool = False) -> Any:
        return self.online(x) + self.c(self.b(self.a(x))) + 0.0 * self.target(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        wanted = y + 0.9 * self.target(x)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.online(x) + self.c(self.b(self.a(x))) - wanted))
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        self.follow()
        return {"loss": loss}

    def follow(self) -> None:
        self.steps.assign_add(1)

        def copy() -> bool:
            for slow, fast in zip(self.target.weights, self.online.weights, strict=True):
                slow.assign(fast)
            return True

        tf.cond(self.steps.value % 1 == 0, copy, lambda: False)


class TargetDue(Target):
    """DQN: the target network is due by the count of the optimizer itself."""

    def follow(self) -> None:
        due = tf.equal(self.optimizer.iterations % 1, 0)
        for slow, fast in zip(self.target.weights, self.online.weights, strict=True):
            slow.assign(tf.where(due, fast.value, slow.value))


HAND = {"*/moving_*": "none", "*/b/*": "dense", "*/c/*": "dense", "*/norm/*": "dense"}
CELLS: dict[str, Cell] = {
    "super": Cell(trained_by(Super)),
    "from scratch": Cell(trained_by(lambda: Scratch(normalize=True))),
    "inner tf.function": Cell(trained_by(lambda: InnerFunction(normalize=True))),
    "tape inside a tf.function": Cell(trained_by(WholeInside)),
    "accumulation by hand": Cell(accumulating),
    "assign_sub by hand": Cell(trained_by(lambda: ByHand(normalize=True)), Asked(arrived=HAND)),
    "assign by hand, clipped": Cell(trained_by(ByAssign), Asked(arrived=HAND)),
    "per example": Cell(trained_by(PerExample)),
    "jacobian": Cell(trained_by(Jacobian)),
    "gradient penalty": Cell(trained_by(lambda: Penalized(normalize=False))),
    "gradient penalty alone": Cell(trained_by(OnlyPenalty)),
    "adversarial": Cell(trained_by(lambda: Adversarial(normalize=True))),
    "sharpness aware": Cell(trained_by(Sharpness)),
    "norm tracker": Cell(trained_by(NormTracker)),
    "informed": Cell(trained_by(Informed)),
    "grad norm": Cell(trained_by(GradNorm)),
    "uncertainty weights": Cell(trained_by(Uncertain)),
    "gradient reversal": Cell(trained_by(Reversal)),
    "stop gradient": Cell(trained_by(Stopped), Asked(rules=("INT104",)), after=Asked(rules=("INT101", "INT104"))),
    "momentum encoder": Cell(trained_by(Momentum), Asked(averaged=("key/key_*",))),
    "gan": Cell(
        trained_by(Gan, optimizer="adam", d_optimizer=lambda: keras.optimizers.Adam(0.01)), act=freeze("generator")
    ),
    "gan with penalty": Cell(
        trained_by(Wgan, optimizer="adam", d_optimizer=lambda: keras.optimizers.RMSprop(0.01)),
        Asked(zero=("discriminator/discriminator_b/bias",)),
        act=freeze("discriminator"),
    ),
    "codebook": Cell(trained_by(Codebook)),
    "distillation": Cell(trained_by(Distilled), act=freeze("student")),
    "two optimizers": Cell(trained_by(TwoPhases)),
    "steps in a loop": Cell(trained_by(Loop)),
    "update in a branch": Cell(trained_by(Sometimes)),
    "changed gradients": Cell(trained_by(Centralized)),
    "rmsprop by hand": Cell(by_hand_rms, Asked(arrived=HAND)),
    "output gradients": Cell(trained_by(OutputGradients)),
    "tf.gradients": Cell(trained_by(SymbolicGradients)),
    "policy gradient": Cell(trained_by(Reinforce)),
    "target network": Cell(trained_by(Target), Asked(averaged=("target/target_*",))),
    "target network due by the optimizer": Cell(trained_by(TargetDue), Asked(averaged=("target/target_*",))),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then stale."""
    assert CELLS[name].run() == []
