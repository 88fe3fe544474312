"""What all clusters share: a model for either Keras with a frozen layer, trained ones and statistics; its data."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def make_model(keras: Any, normalize: bool = True) -> Any:
    """A Sequential model named net; call it in the strategy's scope, and compile it."""
    layers = [keras.Input((3,)), keras.layers.Dense(4, activation="tanh", name="cold", trainable=False)]
    layers += [keras.layers.BatchNormalization(name="norm")] if normalize else []
    layers += [keras.layers.Dense(4, activation="tanh", name="hid"), keras.layers.Dense(1, name="out")]
    return keras.Sequential(layers, name="net")


def make_arrays(rows: int = 8) -> tuple[Any, Any]:
    """Inputs and targets, the same in each process."""
    generator = np.random.default_rng(7)
    x, y = generator.normal(size=(rows, 3)), generator.normal(size=(rows, 1))
    return x.astype("float32"), y.astype("float32")


def make_pairs() -> tf.data.Dataset:
    """One batch of (x, y)."""
    return tf.data.Dataset.from_tensor_slices(make_arrays()).batch(8)


def make_threes() -> tf.data.Dataset:
    """One batch of (x, y, weights): another signature."""
    x, y = make_arrays()
    return tf.data.Dataset.from_tensor_slices((x, y, np.ones(len(x), "float32"))).batch(8)


def describe(report: Any) -> dict[str, Any]:
    """What the tests look at, as JSON takes it."""
    return {
        "source": report.source,
        "strategy": report.environment.strategy,
        "rules": sorted({finding.rule for finding in report.findings}),
        "current": [trace.current for trace in report.traces],
        "devices": sorted({row.device for row in report.variables}),
        "updated": {row.path.replace(":0", ""): row.updated for row in report.variables},
        "slots": sum(len(row.slots) for row in report.variables),
        "verified": [finding.rule for finding in report.findings if finding.verified],
        "causes": {finding.rule: finding.cause for finding in report.findings},
    }
