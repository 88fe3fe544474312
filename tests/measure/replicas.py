"""Two replicas on CPU devices, in a process of its own: measured gradients against an eager tape on the whole batch.

python -m tests.measure.replicas KERAS        prints the faults as JSON
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf

import introspect
from tests.measure.truth import read_state, same, take_tape
from tests.measure.zoo import ZOO


def run(name: str, kind: str) -> list[str]:
    """Faults of one model."""
    keras = __import__(name)
    keras.utils.set_random_seed(1)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model, x, y = ZOO[kind](keras)
        model.compile("adam", "mse")
    model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    before = read_state(model)
    report = introspect.inspect(model, data=tf.data.Dataset.from_tensor_slices((x, y)).batch(len(x)), measure=True)
    faults = [] if same(before, read_state(model)) else ["measuring changed something"]
    single, _, _ = ZOO[kind](keras)
    single.compile("adam", "mse")
    single.set_weights(model.get_weights())
    tape = take_tape(single, x, y)
    for row, variable in zip(report.variables, single.variables, strict=True):
        gradient = tape.get(id(variable))
        if gradient is None:
            continue
        norm = float(np.linalg.norm(gradient))
        if row.measured is None or row.measured.gradient_norm is None:
            faults.append(f"{row.path}: {row.measured}, {report.findings}")
        elif abs(row.measured.gradient_norm - norm) > 2e-4 * norm:
            faults.append(f"{row.path}: {row.measured.gradient_norm} measured, {norm} by the tape")
        elif not row.measured.update_norm:
            faults.append(f"{row.path}: no update")
    callback = introspect.IntrospectCallback(on_mismatch="log", measure=True)
    model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0, callbacks=[callback])
    if callback.report is None or all(row.measured is None for row in callback.report.variables):
        faults.append("the callback measures nothing in a running fit")
    return faults


if __name__ == "__main__":
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    print(json.dumps(run(*sys.argv[1:])))
