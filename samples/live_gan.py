"""A GAN whose two steps train one half each, with a moving average of the generator: all as meant, so no error.

tensorboard --logdir logs &
python samples/live_gan.py --logdir logs
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import introspect

NOISE = 8


def build_generator(name: str) -> keras.Model:
    layers = [keras.layers.Dense(4 * 4 * 8, activation="relu"), keras.layers.Reshape((4, 4, 8))]
    layers += [keras.layers.Conv2DTranspose(1, 4, strides=2, padding="same", activation="tanh")]
    return keras.Sequential([keras.Input((NOISE,)), *layers], name=name)


def build_discriminator() -> keras.Model:
    layers = [keras.layers.Conv2D(8, 3, strides=2, activation="leaky_relu"), keras.layers.Flatten()]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(1)], name="discriminator")


class Gan(keras.Model):
    """Two optimizers in one `train_step`, and a frozen copy of the generator that follows it."""

    def __init__(self) -> None:
        super().__init__(name="gan")
        self.generator = build_generator("generator")
        self.discriminator = build_discriminator()
        self.average = build_generator("average")
        self.average.trainable = False

    def compile(self, discriminator: Any, generator: Any) -> None:
        super().compile()
        self.discriminator_optimizer, self.generator_optimizer = discriminator, generator
        self.entropy = keras.losses.BinaryCrossentropy(from_logits=True)

    def call(self, noise: Any) -> Any:
        return self.discriminator(self.generator(noise))

    def train_step(self, real: Any) -> dict[str, Any]:
        noise = tf.random.normal((tf.shape(real)[0], NOISE))
        with tf.GradientTape(persistent=True) as tape:
            fake = self.generator(noise, training=True)
            on_real, on_fake = self.discriminator(real, training=True), self.discriminator(fake, training=True)
            ones, zeros = tf.ones_like(on_real), tf.zeros_like(on_fake)
            judged = self.entropy(ones, on_real) + self.entropy(zeros, on_fake)
            fooled = self.entropy(ones, on_fake)
        for loss, half, optimizer in (
            (judged, self.discriminator, self.discriminator_optimizer),
            (fooled, self.generator, self.generator_optimizer),
        ):
            weights = half.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        for slow, fast in zip(self.average.weights, self.generator.weights, strict=True):
            slow.assign(0.99 * slow + 0.01 * fast)
        return {"discriminator": judged, "generator": fooled}


def main(logdir: str, epochs: int) -> introspect.IntrospectCallback:
    """Train; gives back the callback with all its reports."""
    model = Gan()
    model(tf.zeros((1, NOISE)))
    model.average(tf.zeros((1, NOISE)))
    model.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    callback = introspect.IntrospectCallback(logdir)
    images = np.random.default_rng(0).uniform(-1, 1, (64, 8, 8, 1)).astype("float32")
    model.fit(images, batch_size=16, epochs=epochs, verbose=2, callbacks=[callback])
    return callback


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", default="logs")
    parser.add_argument("--epochs", type=int, default=5)
    chosen = parser.parse_args()
    main(chosen.logdir, chosen.epochs)
