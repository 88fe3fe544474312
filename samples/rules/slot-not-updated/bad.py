"""A train step that moves half of the variables by hand, beside Adam, which keeps slots for all."""

import keras
import numpy as np
import tensorflow as tf

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


class TwoSpeeds(keras.Model):
    """Its encoder learns more slowly than its head."""

    def __init__(self):
        super().__init__(name="model")
        self.encoder = keras.layers.Dense(5, name="encoder")
        self.head = keras.layers.Dense(1, name="head")

    def call(self, h):
        return self.head(self.encoder(h))

    def train_step(self, data):
        inputs, target = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(inputs, training=True) - target) ** 2)
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        for variable, gradient in zip(variables[:2], gradients[:2], strict=True):
            variable.assign_sub(0.001 * gradient)
        self.optimizer.apply_gradients(zip(gradients[2:], variables[2:], strict=True))
        return {"loss": loss}


def build():
    model = TwoSpeeds()
    model(x)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
