"""On a machine with a GPU: a strategy that uses the host alone."""

import keras
import numpy as np
import tensorflow as tf

import introspect

MEASURE = True
x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).random((8, 1), dtype="float32")


def build():
    with tf.distribute.OneDeviceStrategy("/CPU:0").scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name="out")])
        model.compile("sgd", "mse", jit_compile=False)
    model.fit(x, y, batch_size=8, verbose=0)
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data, measure=True))
