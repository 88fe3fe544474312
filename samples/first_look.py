"""A fine-tune with two faults that no flag shows, trained for a step and saved: python samples/first_look.py FILE

The backbone is unfrozen after the first `fit`, without compile; and a router in the head takes the argmax of its
layer, through which no gradient goes. `python -m introspect FILE` then reads the step that a loaded model would train.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np

import introspect


def build() -> keras.Model:
    """VGG16 without weights on small images, its features routed to one of eight embeddings."""
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    base.trainable = False
    images = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D(name="pool")(base(images))
    scores = keras.layers.Dense(8, name="router")(features)
    route = keras.layers.Embedding(8, 16, name="routes")(keras.ops.argmax(scores, axis=-1))
    both = keras.layers.Concatenate(name="both")([features, route])
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="head")(both), name="finetune")


def main(file: str) -> None:
    """Train, unfreeze, look, save."""
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = np.random.rand(8, 32, 32, 3).astype("float32"), np.random.randint(0, 3, 8)
    model.fit(x, y, verbose=0)

    model.get_layer("vgg16").trainable = True  # no compile: the next fit does not train it
    print(introspect.inspect(model, data=(x, y)))

    Path(file).parent.mkdir(parents=True, exist_ok=True)
    model.save(file)


if __name__ == "__main__":
    main(sys.argv[1])
