"""fit with the callback against fit without, after the first step; beside it what else watches a training."""

from __future__ import annotations

import statistics
import tempfile
import time
import timeit
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from timing import show, time_pairs

import introspect
from introspect.capture.fingerprint import fingerprint_model
from introspect.capture.watch import Watch

EPOCHS, BATCHES, BATCH, PAIRS = 6, 30, 64, 15


class Epochs(keras.callbacks.Callback):
    """Seconds of each epoch but the first, in which steps are traced and read."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch:
            self.seconds.append(time.perf_counter() - self.started)


def build(layers: int = 12, width: int = 256) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = hidden = keras.Input((width,))
    for _ in range(layers):
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width, activation="relu")(hidden))
    model = keras.Model(inputs, keras.layers.Dense(10)(hidden))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def time_epochs(model: keras.Model, data: Any, callbacks: list[Any]) -> list[float]:
    epochs = Epochs()
    model.fit(*data, batch_size=BATCH, epochs=EPOCHS, verbose=0, shuffle=False, callbacks=[*callbacks, epochs])
    return epochs.seconds


def compare(make: Callable[[str], list[Any]], data: Any, pairs: int = PAIRS) -> tuple[float, float]:
    """(fastest epoch with over fastest epoch without, milliseconds a batch without), in turn on one model.

    The fastest, as whatever else the machine does only ever adds.
    """
    model = build()
    time_epochs(model, data, [])
    with tempfile.TemporaryDirectory() as folder:
        watched = make(folder)
        time_epochs(model, data, watched)
        runs = [(time_epochs(model, data, []), time_epochs(model, data, watched)) for _ in range(pairs)]
    alone, with_it = (min(t for run in part for t in run) for part in zip(*runs, strict=True))
    return with_it / alone, 1000 * alone / BATCHES


def show_look(data: Any) -> None:
    """One look at all values beside one batch, in turn."""
    model = build()
    time_epochs(model, data, [])
    parts: dict[Any, Any] = {}
    fingerprint_model(model, None, parts).take()
    x, y = data[0][:BATCH], data[1][:BATCH]
    model.train_on_batch(x, y)
    step, look = time_pairs(
        lambda: model.train_on_batch(x, y), lambda: fingerprint_model(model, None, parts).take(), pairs=4 * PAIRS
    )
    count = len(fingerprint_model(model, None, parts).paths)
    show(
        f"a look at the values of {count} variables and slots / a batch",
        f"{look / step:.1f} ({1000 * look / count:.2f} ms each)",
    )


def main() -> None:
    random = np.random.default_rng(0)
    data = random.normal(size=(BATCH * BATCHES, 256)).astype("float32"), random.integers(0, 10, BATCH * BATCHES)
    ratio, batch = compare(lambda folder: [introspect.IntrospectCallback(folder)], data)
    show(f"fit with the callback, after the first step ({batch:.1f} ms a batch)", f"{ratio:.2f} x", "1.00 x")
    ratio, _ = compare(lambda folder: [introspect.IntrospectCallback(folder, proof="epoch")], data)
    show(f"the same with proof at each epoch of {BATCHES} batches", f"{ratio:.2f} x")
    show_look(data)
    ratio, _ = compare(lambda folder: [keras.callbacks.TensorBoard(folder, histogram_freq=1)], data, 3)
    show("the same with keras.callbacks.TensorBoard, graph and histograms", f"{ratio:.2f} x")
    model = build()
    model.fit(*data, batch_size=BATCH, steps_per_epoch=2, verbose=0)
    watch = Watch(model)
    watch.settle()
    micro = 1e6 * min(timeit.repeat(watch.has_moved, number=1000, repeat=7)) / 1000
    show("what the callback does before each batch", f"{micro:.1f} µs")
    alone = time_epochs(model, data, [])
    with tempfile.TemporaryDirectory() as folder:
        tf.debugging.experimental.enable_dump_debug_info(folder, tensor_debug_mode="CONCISE_HEALTH")
        dumped = time_epochs(build(), data, [])
        tf.debugging.experimental.disable_dump_debug_info()
    show("the same with enable_dump_debug_info", f"{statistics.median(dumped) / statistics.median(alone):.1f} x")


if __name__ == "__main__":
    main()
