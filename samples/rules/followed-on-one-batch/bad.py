"""A step that runs eagerly, and trains only while a number in Python says so."""

import keras
import numpy as np
import tensorflow as tf

import introspect

x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).random((8, 1), dtype="float32")


class Model(keras.Sequential):
    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        if float(loss) > 0.0:
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


def build():
    model = Model([keras.Input((4,)), keras.layers.Dense(5, name="hid"), keras.layers.Dense(1, name="out")])
    model.compile("adam", run_eagerly=True)
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
