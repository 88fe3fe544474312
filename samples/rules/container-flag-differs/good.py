"""The healthy twin: the container trains, and the layers that are not to train are frozen one by one."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


def make_model():
    blocks = [keras.layers.Dense(4, name=name) for name in ("block1", "block2")]
    base = keras.Sequential([keras.Input((4,)), *blocks], name="base")
    return keras.Sequential([keras.Input((4,)), base, keras.layers.Dense(1, name="head")], name="model")


def build():
    model = make_model()
    model.get_layer("base").get_layer("block1").trainable = False
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
