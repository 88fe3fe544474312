"""A layer put into a list afterwards: Keras does not see it, and it stays as it was initialised."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


class Blocks(keras.Model):
    def __init__(self):
        super().__init__(name="model")
        self.blocks = [None]
        self.blocks[0] = keras.layers.Dense(4, name="block")
        self.head = keras.layers.Dense(1, name="head")

    def call(self, h):
        for block in self.blocks:
            h = block(h)
        return self.head(h)


def build():
    model = Blocks()
    model(x)
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
