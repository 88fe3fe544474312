"""The healthy twin: a softmax weighs instead of choosing, and has a gradient."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


class Route(keras.layers.Layer):
    """Weighs the units."""

    def call(self, h):
        return keras.ops.softmax(10.0 * h)


def build():
    layers = [keras.Input((4,)), keras.layers.Dense(5, name="encoder"), Route(name="route")]
    model = keras.Sequential([*layers, keras.layers.Dense(1, name="head")], name="model")
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
