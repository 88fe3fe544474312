"""An argmax between encoder and head: no gradient reaches the encoder."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


class Route(keras.layers.Layer):
    """Chooses the largest unit."""

    def call(self, h):
        chosen = keras.ops.argmax(h, axis=-1)
        return keras.ops.one_hot(chosen, 5)


def build():
    layers = [keras.Input((4,)), keras.layers.Dense(5, name="encoder"), Route(name="route")]
    model = keras.Sequential([*layers, keras.layers.Dense(1, name="head")], name="model")
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
