"""The healthy twin: compiled and trained again before saving."""

import os
import tempfile

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


def make_model():
    backbone = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, activation="tanh")], name="backbone")
    return keras.Sequential([keras.Input((4,)), backbone, keras.layers.Dense(1, name="head")], name="model")


def build():
    model = make_model()
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.get_layer("backbone").trainable = False
    introspect.recompile(model)
    model.fit(x, y, verbose=0)
    path = os.path.join(tempfile.mkdtemp(), "model.keras")
    model.save(path)
    return path, None


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
