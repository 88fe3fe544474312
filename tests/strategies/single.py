"""Strategies of one process with two logical CPUs: `python -m tests.strategies.single`; prints one JSON object.

CentralStorageStrategy over one device and over two, OneDeviceStrategy on the second; Keras 3 and tf_keras each.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from tests.matrix.cells import Cell
from tests.oracle import TOTALS, Asked, randomize
from tests.strategies.models import make_model, make_pairs

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
CENTRAL = tf.distribute.experimental.CentralStorageStrategy
STRATEGIES: dict[str, Callable[[], Any]] = {
    "central": CENTRAL,
    "central over two": lambda: CENTRAL(["CPU:0", "CPU:1"], "CPU:0"),
    "one device": lambda: tf.distribute.OneDeviceStrategy("CPU:1"),
}
ASKED = Asked(kinds={"out/*": "gradient"})


def build(package: str, name: str) -> tuple[Any, Any]:
    """A compiled model in the strategy's scope, and its data."""
    keras = importlib.import_module(package)
    with STRATEGIES[name]().scope():
        model = make_model(keras)
        randomize(model)
        model.compile(keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    return model, make_pairs()


def freeze(model: Any, data: Any) -> None:
    """Set the flag of `hid`, and do not compile."""
    model.get_layer("hid").trainable = False


def main() -> None:
    """Run all cells."""
    faults = {}
    for package in ("keras", "tf_keras"):
        for name in STRATEGIES:
            # Keras 3's BatchNormalization cannot write a variable that several replicas share; its own fit says so.
            fails = package == "keras" and name == "central over two"
            cell = Cell(lambda package=package, name=name: build(package, name), ASKED, freeze)
            if fails:
                cell = replace(cell, asked=Asked(raises=True), act=None)
            faults[f"{package}, {name}"] = cell.run()
    print(json.dumps({"faults": faults, "totals": TOTALS}))


if __name__ == "__main__":
    sys.exit(main())
