"""Example 1 of the question "Why does setting layers.trainable to True in Keras transfer learning have no effect?"

There it is called incorrect: the flags are said to come too late for compile. They do not. They are set before compile
and before the first fit, and Keras reads them when the step is traced, by the first fit. All 28 variables train, here as
in example 2, which is the same code. See example1_as_meant.py for the mistake that was meant.

VGG16 stands here without its pretrained weights and with small images, so that this runs in seconds.
"""

import keras
import numpy as np
from keras.applications import VGG16

import introspect


def make_data():
    draw = np.random.default_rng(0)
    return draw.random((4, 32, 32, 3), dtype="float32"), keras.utils.to_categorical(draw.integers(0, 10, 4), 10)


def build():
    base_model = VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    pool, head = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, activation="softmax")
    model = keras.Sequential([base_model, pool, head])

    for layer in base_model.layers:
        layer.trainable = True

    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    x_train, y_train = make_data()
    model.fit(x_train, y_train, epochs=1, verbose=0)
    return model, (x_train, y_train)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
    print("Example 1, called incorrect: it trains all of VGG16, just as example 2 does. It is the same code.")
