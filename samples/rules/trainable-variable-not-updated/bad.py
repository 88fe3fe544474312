"""Fine-tuning that is switched on after the first fit, without compile: the backbone stays as it is."""

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
    model.get_layer("backbone").trainable = False
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    model.get_layer("backbone").trainable = True
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
