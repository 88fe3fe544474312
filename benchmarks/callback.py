"""fit with the callback against fit without, after the first step; beside it what else watches a training."""

from __future__ import annotations

import statistics
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from timing import show, time_pairs

import introspect
from introspect.capture.live.watch import Watch
from introspect.capture.measurement.fingerprint import fingerprint_model

EPOCHS, BATCHES, BATCH = 5, 30, 64
MOST_PAIRS, FEWEST_PAIRS, SECONDS = 16, 4, 60
"""Pairs of fits are run until there are enough, or the time is up."""


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


class WithHistograms(keras.Model):
    """What people write by hand: a train step that writes a histogram of each gradient."""

    writer: Any = None

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply(gradients, variables)
        step = tf.cast(self.optimizer.iterations.value, tf.int64)
        with self.writer.as_default():
            for variable, gradient in zip(variables, gradients, strict=True):
                tf.summary.histogram(variable.path, gradient, step=step)
        return {"loss": loss}


def build(kind: type[keras.Model] = keras.Model, layers: int = 12, width: int = 256) -> keras.Model:
    keras.utils.set_random_seed(1)
    inputs = hidden = keras.Input((width,))
    for _ in range(layers):
        hidden = keras.layers.BatchNormalization()(keras.layers.Dense(width, activation="relu")(hidden))
    model = kind(inputs, keras.layers.Dense(10)(hidden))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def time_epochs(model: keras.Model, data: Any, callbacks: Sequence[Any] = (), count: int = EPOCHS) -> list[float]:
    epochs = Epochs()
    model.fit(*data, batch_size=BATCH, epochs=count, verbose=0, shuffle=False, callbacks=[*callbacks, epochs])
    return epochs.seconds


def compare(first: Callable[[], list[float]], second: Callable[[], list[float]]) -> tuple[float, float]:
    """(second fit over first, milliseconds a batch of the first): medians of pairs, the order changed at each.

    Of a fit its fastest epoch counts, as whatever else the machine does only ever adds.
    """
    pairs: list[tuple[float, float]] = []
    first(), second()
    started = time.perf_counter()
    while len(pairs) < FEWEST_PAIRS or (len(pairs) < MOST_PAIRS and time.perf_counter() - started < SECONDS):
        turned = len(pairs) % 2 == 1
        one, two = (min(run()) for run in ((second, first) if turned else (first, second)))
        pairs.append((two, one) if turned else (one, two))
    ratio = statistics.median(other / alone for alone, other in pairs)
    return ratio, 1000 * statistics.median(alone for alone, _ in pairs) / BATCHES


def compare_callback(make: Callable[[str], Any], data: Any) -> tuple[float, float]:
    """The same of one model, fitted without a callback and with it."""
    model = build()
    with tempfile.TemporaryDirectory() as folder:
        watched = [make(folder)]
        return compare(lambda: time_epochs(model, data), lambda: time_epochs(model, data, watched))


def compare_histograms(data: Any) -> float:
    """A train step that writes histograms, against Keras' own."""
    alone, written = build(), build(WithHistograms)
    with tempfile.TemporaryDirectory() as folder:
        written.writer = tf.summary.create_file_writer(folder)
        ratio, _ = compare(lambda: time_epochs(alone, data), lambda: time_epochs(written, data))
        written.writer.close()
    return ratio


def compare_dump(data: Any) -> float:
    """A fit whose tensors are dumped, against one before; dumping cannot be switched off and on between pairs."""
    alone = min(time_epochs(build(), data))
    with tempfile.TemporaryDirectory() as folder:
        tf.debugging.experimental.enable_dump_debug_info(folder, tensor_debug_mode="CONCISE_HEALTH")
        dumped = min(time_epochs(build(), data, count=2))
        tf.debugging.experimental.disable_dump_debug_info()
    return dumped / alone


def time_check(data: Any) -> float:
    """Microseconds of what the callback does before each batch."""
    model = build()
    model.fit(*data, batch_size=BATCH, steps_per_epoch=2, verbose=0)
    watch = Watch(model)
    watch.settle()
    return 1e6 * min(timeit.repeat(watch.has_moved, number=1000, repeat=7)) / 1000


def show_look(data: Any) -> None:
    """One look at all values beside one batch, in turn."""
    model = build()
    time_epochs(model, data)
    parts: dict[Any, Any] = {}
    fingerprint_model(model, None, parts).take()
    x, y = data[0][:BATCH], data[1][:BATCH]
    model.train_on_batch(x, y)
    step, look = time_pairs(
        lambda: model.train_on_batch(x, y), lambda: fingerprint_model(model, None, parts).take(), pairs=4 * MOST_PAIRS
    )
    count = len(fingerprint_model(model, None, parts).paths)
    show(
        f"a look at the values of {count} variables and slots / a batch",
        f"{look / step:.1f} ({1000 * look / count:.2f} ms each)",
    )


def main() -> None:
    random = np.random.default_rng(0)
    data = random.normal(size=(BATCH * BATCHES, 256)).astype("float32"), random.integers(0, 10, BATCH * BATCHES)
    ratio, batch = compare_callback(introspect.IntrospectCallback, data)
    show(f"fit with the callback, after the first step ({batch:.1f} ms a batch)", f"{ratio:.2f} x", "1.00 x")
    model = build()
    ratio, _ = compare(lambda: time_epochs(model, data), lambda: time_epochs(model, data))
    show("the same fit without it, against itself", f"{ratio:.2f} x")
    ratio, _ = compare_callback(lambda folder: introspect.IntrospectCallback(folder, proof="epoch"), data)
    show(f"the same with proof at each epoch of {BATCHES} batches", f"{ratio:.2f} x")
    show_look(data)
    show("what the callback does before each batch", f"{time_check(data):.1f} µs")
    ratio, _ = compare_callback(lambda folder: keras.callbacks.TensorBoard(folder, histogram_freq=1), data)
    show("the same fit with keras.callbacks.TensorBoard, graph and histograms", f"{ratio:.2f} x")
    show("the same fit with a histogram of each gradient, written by hand", f"{compare_histograms(data):.2f} x")
    show("the same fit with enable_dump_debug_info", f"{compare_dump(data):.1f} x")


if __name__ == "__main__":
    main()
