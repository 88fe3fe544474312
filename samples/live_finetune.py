"""A VGG16-style fine-tune that unfreezes its backbone while it trains, first without compiling again, then with it.

    tensorboard --logdir logs &
    python samples/live_finetune.py --logdir logs

From the fourth epoch on the flags say that the backbone trains, and it does not; from the seventh on it does.
"""

from __future__ import annotations

import argparse
import time

import keras
import numpy as np

import introspect

UNFREEZE, RECOMPILE = 3, 6


class Unfreeze(keras.callbacks.Callback):
    """Sets the flag at one epoch, and compiles again at a later one."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == UNFREEZE:
            self.model.get_layer("backbone").trainable = True  # no compile: nothing more trains
        if epoch == RECOMPILE:
            introspect.recompile(self.model)  # keeps the optimizer's state; now it does


class Pause(keras.callbacks.Callback):
    """Waits after each epoch, so that there is time to watch."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        time.sleep(self.seconds)


def build_backbone() -> keras.Model:
    """VGG16's five blocks, narrow."""
    blocks = [(2, 8), (2, 16), (3, 32), (3, 32), (3, 32)]
    images = hidden = keras.Input((32, 32, 3))
    for number, (depth, width) in enumerate(blocks, 1):
        for place in range(1, depth + 1):
            name = f"block{number}_conv{place}"
            hidden = keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(hidden)
        hidden = keras.layers.MaxPooling2D(name=f"block{number}_pool")(hidden)
    return keras.Model(images, hidden, name="backbone")


def build() -> keras.Model:
    """A frozen backbone and a head of three dense layers."""
    backbone = build_backbone()
    backbone.trainable = False
    images = keras.Input((32, 32, 3))
    hidden = keras.layers.Flatten()(backbone(images))
    for name in ("fc1", "fc2"):
        hidden = keras.layers.Dense(32, activation="relu", name=name)(hidden)
    return keras.Model(images, keras.layers.Dense(3, activation="softmax", name="head")(hidden), name="finetune")


def main(logdir: str, epochs: int, pause: float, measure: bool) -> introspect.IntrospectCallback:
    """Train; gives back the callback with all its reports."""
    callback = introspect.IntrospectCallback(logdir, every="epoch", measure=measure, proof="epoch")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(64, 32, 32, 3)).astype("float32"), random.integers(0, 3, 64)
    with introspect.trace_flags():
        model = build()
        model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=16, epochs=epochs, verbose=2, callbacks=[Unfreeze(), callback, Pause(pause)])
    return callback


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", default="logs")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--pause", type=float, default=2.0, metavar="SECONDS", help="after each epoch")
    parser.add_argument("--measure", action="store_true", help="norms of one step at each epoch")
    chosen = parser.parse_args()
    main(chosen.logdir, chosen.epochs, chosen.pause, chosen.measure)
