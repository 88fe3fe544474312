"""Two replicas under MirroredStrategy, on two halves of one CPU where there are no two GPUs.

    tensorboard --logdir logs &
    python samples/live_replicas.py --logdir logs

The report tells for each variable where its copies and its slots live. A layer is frozen late, without compile.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
import tensorflow as tf

import introspect

FREEZE = 2


class Freeze(keras.callbacks.Callback):
    """Sets the flag, which the step does not notice."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        if epoch == FREEZE:
            self.model.get_layer("stem").trainable = False


def find_devices() -> list[str]:
    """Two GPUs, else the CPU twice; before TensorFlow starts."""
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) >= 2:
        return ["GPU:0", "GPU:1"]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return ["CPU:0", "CPU:1"]


def build() -> keras.Model:
    images = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(8, 3, name="stem")(images)
    hidden = keras.layers.BatchNormalization(name="norm")(hidden)
    hidden = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(hidden))
    return keras.Model(images, keras.layers.Dense(3, name="head")(hidden), name="replicas")


def main(logdir: str, epochs: int) -> introspect.IntrospectCallback:
    """Train; gives back the callback with all its reports."""
    with tf.distribute.MirroredStrategy(find_devices()).scope():
        model = build()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    callback = introspect.IntrospectCallback(logdir, proof="epoch")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(64, 8, 8, 3)).astype("float32"), random.integers(0, 3, 64)
    with introspect.trace_flags():
        model.fit(x, y, batch_size=16, epochs=epochs, verbose=2, callbacks=[callback, Freeze()])
    return callback


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", default="logs")
    parser.add_argument("--epochs", type=int, default=5)
    chosen = parser.parse_args()
    main(chosen.logdir, chosen.epochs)
