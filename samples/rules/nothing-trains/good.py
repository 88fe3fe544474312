"""The healthy twin: the output layer trains."""

import keras
import numpy as np

import introspect

x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).integers(0, 2, (8, 1)).astype("float32")


def build():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, name="hid"), keras.layers.Dense(1, name="out")])
    model.compile("adam", "mse")
    model.get_layer("hid").trainable = False
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
