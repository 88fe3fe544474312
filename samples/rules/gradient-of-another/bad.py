"""Gradients asked in one order, and applied in another."""

import keras
import numpy as np
import tensorflow as tf

import introspect

x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).random((8, 4), dtype="float32")


class Halves(keras.Model):
    def __init__(self):
        super().__init__()
        self.encoder = keras.layers.Dense(4, activation="tanh", name="encoder")
        self.decoder = keras.layers.Dense(4, name="decoder")

    def call(self, inputs):
        return self.decoder(self.encoder(inputs))

    def train_step(self, data):
        inputs, target = data
        variables = self.encoder.trainable_variables + self.decoder.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(inputs) - target) ** 2)
        gradients = tape.gradient(loss, self.decoder.trainable_variables + self.encoder.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"loss": loss}


def build():
    model = Halves()
    model(x)
    model.compile("sgd")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
