"""A layer of one's own that writes its running mean whatever its flag says."""

import keras
import numpy as np

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


class RunningMean(keras.layers.Layer):
    """Takes the mean of what it has seen away."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(shape[-1],), trainable=False, name="mean")

    def call(self, h, training=False):
        if training:
            self.mean.assign(0.9 * self.mean + 0.1 * keras.ops.mean(h, axis=0))
        return h - self.mean


def make_model():
    layers = [keras.Input((4,)), RunningMean(name="norm"), keras.layers.Dense(1, name="head")]
    return keras.Sequential(layers, name="model")


def build():
    model = make_model()
    model.get_layer("norm").trainable = False
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
