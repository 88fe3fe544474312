"""Weights of 1 in bfloat16, which resolves steps of 1/128 there, and updates far below."""

import keras
import numpy as np

import introspect

MEASURE = True
x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).random((8, 1), dtype="float32")


def build():
    hid = keras.layers.Dense(5, dtype="bfloat16", kernel_initializer="ones", use_bias=False, name="hid")
    model = keras.Sequential([keras.Input((4,)), hid, keras.layers.Dense(1, name="out")])
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data, measure=True))
