"""A layer frozen after the averages (use_ema) began: the end of fit writes its average into the next layer."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


def make_model():
    layers = [keras.layers.Dense(4, name=name) for name in ("first", "second")]
    head = keras.layers.Dense(1, name="head", trainable=False)
    return keras.Sequential([keras.Input((4,)), *layers, head], name="model")


def build():
    model = make_model()
    optimizer = keras.optimizers.SGD(use_ema=True)
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0)
    model.get_layer("first").trainable = False
    model.compile(optimizer, "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
