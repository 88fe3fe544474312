"""What example 1 was meant to show: the base is unfrozen after a first fit, and the model is not compiled again.

The first fit traces the step with the base frozen. The flags of VGG16's 26 variables are set to True afterwards; the
step, as it was traced, goes on training the two variables of the head. The report names them and what mends it.
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
        layer.trainable = False

    model.compile(optimizer="adam", loss="categorical_crossentropy", metrics=["accuracy"])
    x_train, y_train = make_data()
    model.fit(x_train, y_train, epochs=1, verbose=0)

    for layer in base_model.layers:
        layer.trainable = True

    return model, (x_train, y_train)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
    introspect.recompile(model)
    print("After introspect.recompile(model):\n")
    print(introspect.inspect(model, data=data))
