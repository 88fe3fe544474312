"""Looks at the values under MirroredStrategy, in a process of their own: `python -m tests.callback.replicated keras`.

Prints one JSON object: at each epoch what really changed in any replica's copy, what the proof says, what moved.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf

import introspect
from introspect.capture.variables import list_copies, unwrap_variable
from tests.fixes.steps import make_data, make_model, path_of

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
KERNEL, BIAS = 0, 1


def build(library: str) -> Any:
    """A model of two replicas with a frozen layer, compiled in the strategy's scope."""
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = make_model(library, norm=True)
        model.get_layer("d1").trainable = False
        model.compile("adam", "mse")
    return model


def read_copies(model: Any) -> dict[str, bytes]:
    """The values of all replicas."""
    return {
        path_of(variable): b"".join(copy.numpy().tobytes() for copy in list_copies(unwrap_variable(variable)))
        for variable in model.variables
    }


def touch(model: Any, epoch: int) -> None:
    """At the third epoch write all copies of a kernel, at the fourth the second replica's of a bias."""
    if epoch not in (2, 3):
        return
    variable = model.get_layer("d1").weights[KERNEL if epoch == 2 else BIAS]
    for copy in list_copies(unwrap_variable(variable))[-1 if epoch == 3 else 0 :]:
        copy.assign(np.nextafter(copy.numpy(), np.float32(9)))


def main(library: str) -> None:
    """Train five epochs."""
    keras = importlib.import_module(library)
    model, seen = build(library), []
    callback = introspect.IntrospectCallback(proof="epoch", on_mismatch="log")
    x, y = make_data()

    class Act(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        before: dict[str, bytes] | None = None

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            touch(model, epoch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            before, self.before = self.before, read_copies(model)
            proof = callback.proof
            if before is not None and proof is not None:
                really = [path for path, value in self.before.items() if value != before[path]]
                told = [row.path for row in proof.variables if row.age == 0]
                seen.append({"really": sorted(really), "told": sorted(told), "moved": sorted(proof.moved)})

    model.fit(x, y, batch_size=4, shuffle=False, epochs=5, verbose=0, callbacks=[callback, Act()])
    paths = [path_of(variable) for variable in model.get_layer("d1").weights]
    slots = [] if callback.proof is None else [row.age for row in callback.proof.slots]
    print(json.dumps({"seen": seen, "kernel": paths[KERNEL], "bias": paths[BIAS], "slots": slots}))


if __name__ == "__main__":
    main(sys.argv[1])
