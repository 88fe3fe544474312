"""A frozen teacher that the train step itself averages from the student: it changes, and no gradient does it."""

import keras
import numpy as np
import tensorflow as tf

import introspect

x = np.random.rand(8, 4).astype("float32")
y = np.random.rand(8, 1).astype("float32")


class Teacher(keras.Model):
    """A student, and a teacher that follows it slowly."""

    def __init__(self):
        super().__init__(name="model")
        self.student = keras.layers.Dense(1, name="student")
        self.teacher = keras.layers.Dense(1, name="teacher", trainable=False)

    def call(self, h):
        return self.student(h)

    def train_step(self, data):
        inputs, target = data
        with tf.GradientTape() as tape:
            goal = 0.5 * target + 0.5 * self.teacher(inputs)
            loss = tf.reduce_mean((self(inputs, training=True) - goal) ** 2)
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        for mine, other in zip(self.teacher.variables, self.student.variables, strict=True):
            mine.assign(0.99 * mine + 0.01 * other)
        return {"loss": loss}


def build():
    model = Teacher()
    model(x)
    model.teacher(x)
    model.compile("adam", "mse")
    return model, (x, y)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
