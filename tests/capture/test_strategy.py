"""Distribution strategies: one row for each variable, a binding for each replica's copy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("tensorflow")

pytestmark = pytest.mark.tf

ROOT = str(Path(__file__).resolve().parents[2])
SCRIPT = """
import importlib, sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
package = importlib.import_module(sys.argv[1])
from introspect.capture import capture_function, capture_model

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layers = [package.layers.Input((4,)), package.layers.Dense(5, name="hid")]
    layers += [package.layers.BatchNormalization(name="bn"), package.layers.Dense(1, name="out")]
    model = package.Sequential(layers, name="m")
    model.compile("adam", "mse", metrics=["mae"])
x, y = np.random.rand(8, 4).astype("float32"), np.random.rand(8, 1).astype("float32")
pairs = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
threes = tf.data.Dataset.from_tensor_slices((x, y, y[:, 0])).batch(8)

def check(capture, current, source):
    assert [trace.current for trace in capture.traces] == current, capture.traces
    assert capture.source == source
    assert capture.environment.strategy == "MirroredStrategy"
    assert capture.failure is None
    rows = capture.variables
    assert [row.role for row in rows].count("model") == 8
    assert not [row for row in rows if row.role == "untracked"]
    for row in rows[:8]:
        assert [device[-5:] for device in row.replicas] == ["CPU:0", "CPU:1"], row
    for trace in capture.traces:
        bound = {(binding.variable, binding.replica) for binding in trace.bindings}
        assert {(index, replica) for index in range(8) for replica in (0, 1)} <= bound
    assert len(capture.optimizers[0].slots) == 12

before = [v.numpy().tobytes() for v in model.variables]
check(capture_model(model), [True], "traced")
check(capture_model(model, pairs), [True], "traced")
assert [v.numpy().tobytes() for v in model.variables] == before
assert model.train_function is None and not getattr(model.optimizer, "built", getattr(model.optimizer, "_built", False))
model.fit(pairs, verbose=0)
check(capture_model(model), [True], "compiled")
check(capture_model(model, pairs), [True], "compiled")
check(capture_model(model, threes), [False, True], "compiled")
model.get_layer("hid").trainable = False
stale = model.get_layer("hid").kernel.numpy()
model.fit(pairs, verbose=0)
assert (model.get_layer("hid").kernel.numpy() != stale).any()
print("done")
"""


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_two_replicas(package: str, tmp_path: Path) -> None:
    script = tmp_path / "replicas.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), package]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert result.stdout.strip().endswith("done"), result.stderr[-3000:]
