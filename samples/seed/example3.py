"""Example 3 of the question "Why does setting layers.trainable to True in Keras transfer learning have no effect?"

There a sub-model is made to "fine-tune only a portion of a model". It fine-tunes no portion: the sub-model shares its
layers with the model, their flags are True already, and setting True what is True changes nothing. All four variables
train, the two of the Dense layer outside of the sub-model too. To train a portion, freeze the rest:
`model.layers[-1].trainable = False` before compile.
"""

import keras
import numpy as np

import introspect


def make_data():
    draw = np.random.default_rng(0)
    return draw.random((8, 28, 28, 1), dtype="float32"), draw.integers(0, 10, 8)


def build():
    model = keras.models.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D((2, 2)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )

    sub_model = keras.models.Model(inputs=model.inputs, outputs=model.layers[2].output)

    for layer in sub_model.layers:
        layer.trainable = True

    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x_train, y_train = make_data()
    model.fit(x_train, y_train, epochs=1, verbose=0)
    return model, (x_train, y_train)


if __name__ == "__main__":
    model, data = build()
    print(introspect.inspect(model, data=data))
    print("Example 3: all four variables train, those outside of the sub-model too. It selects nothing.")
