"""The healthy twin: the branch is in the graph, and every batch is covered."""

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
        gradients = tape.gradient(loss, self.trainable_variables)
        kept = [tf.where(loss > 0.0, gradient, 0.0) for gradient in gradients]
        self.optimizer.apply(kept, self.trainable_variables)
        return {"loss": loss}


def build():
    model = Model([keras.Input((4,)), keras.layers.Dense(5, name="hid"), keras.layers.Dense(1, name="out")])
    model.compile("adam", run_eagerly=True)
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
