"""The weights of a BatchNormalization frozen one by one: its statistics go on moving."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


def make_model():
    layers = [keras.Input((4,)), keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1, name="head")]
    return keras.Sequential(layers, name="model")


def build():
    model = make_model()
    model.get_layer("norm").gamma.trainable = False
    model.get_layer("norm").beta.trainable = False
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
