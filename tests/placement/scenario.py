"""One scenario in a process of its own: trains, reads the placement its own way, and compares it with the report.

    python -m tests.placement.scenario NAME       prints a JSON object

INTROSPECT_FAKE_GPU names the library of the stand-in GPU; INTROSPECT_REAL_GPU=1 takes the machine's own; without both, CPU
devices are split in two.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context

import introspect

FIRST, SECOND = "CPU:0", "CPU:1"
REAL = os.environ.get("INTROSPECT_REAL_GPU") == "1"
library = os.environ.get("INTROSPECT_FAKE_GPU")
if library or REAL:
    FIRST, SECOND = ("GPU:0", "GPU:1") if os.environ.get("FAKE_GPU_COUNT") == "2" else ("CPU:0", "GPU:0")
    if library:
        tf.load_op_library(library)
else:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )

BATCH = 8


@dataclass(frozen=True)
class Scenario:
    """How the model is built and compiled."""

    tf_keras: bool = False
    jit: bool | None = False
    steps: int = 1
    mixed: bool = False
    mirrored: bool = False
    optimizer: str = "adam"


SCENARIOS = {
    "plain": Scenario(),
    "mixed": Scenario(mixed=True),
    "jit": Scenario(jit=True),
    "jit-by-default": Scenario(jit=None),
    "steps": Scenario(steps=2),
    "jit-steps": Scenario(jit=True, steps=2),
    "mixed-steps": Scenario(mixed=True, steps=2),
    "mirrored": Scenario(mirrored=True),
    "tf_keras": Scenario(tf_keras=True, jit=None),
    "tf_keras-steps": Scenario(tf_keras=True, jit=None, steps=2),
    "tf_keras-jit": Scenario(tf_keras=True, jit=True),
    "tf_keras-mirrored": Scenario(tf_keras=True, jit=None, mirrored=True),
}


def build(scenario: Scenario) -> Any:
    """A perceptron of two layers; `mixed` builds the first one on the first device by hand."""
    keras = __import__("tf_keras" if scenario.tf_keras else "keras")
    keras.utils.set_random_seed(3)
    if REAL and (scenario.tf_keras or scenario.jit is not None):
        # A GPU adds up in any order, so that twins differ by themselves. Keras 3 leaves XLA out by default where it must not.
        tf.config.experimental.enable_op_determinism()
    options: dict[str, Any] = {} if scenario.jit is None else {"jit_compile": scenario.jit}
    strategy = tf.distribute.MirroredStrategy([FIRST, SECOND]) if scenario.mirrored else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        hid = keras.layers.Dense(6, activation="tanh", name="hid")
        with tf.device(f"/{FIRST if library or REAL else SECOND}") if scenario.mixed else contextlib.nullcontext():
            hid.build((None, 4))
        model = keras.Sequential([keras.Input((4,)), hid, keras.layers.Dense(1, name="out")])
        model.compile(scenario.optimizer, "mse", steps_per_execution=scenario.steps, **options)
    return model


def make_data() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.random((2 * BATCH, 4), dtype="float32"), random.random((2 * BATCH, 1), dtype="float32")


class Executed:
    """The partition graphs of a training, searched by op type and the end of the name."""

    def __init__(self, graphs: Any) -> None:
        self.nodes = [n for g in graphs for p in g.partition_graphs for n in p.node]
        self.functions = {f.signature.name: f for g in graphs for p in g.partition_graphs for f in p.library.function}

    def devices_of(self, op: str, op_type: str, function: str) -> set[str]:
        """Devices of the nodes that are this op; in clusters, of the calls that reach its function."""
        found = {n.device for n in self.nodes if n.op == op_type and (n.name == op or n.name.endswith("/" + op))}
        clusters = (n for n in self.nodes if "_XlaMustCompile" in n.attr)
        return found or {n.device for n in clusters if self._reaches(n.attr["f"].func.name, function)}

    def _reaches(self, called: str, function: str) -> bool:
        inner = self.functions[called].node_def if called in self.functions else ()
        below = (attr.func.name for n in inner for attr in n.attr.values() if attr.HasField("func"))
        return called == function or any(self._reaches(name, function) for name in below)

    def gradient_devices(self, layer: str) -> set[str]:
        """Devices of the products that yield a layer's gradients."""
        found = {
            n.device for n in self.nodes if n.op == "MatMul" and "gradient_tape" in n.name and f"/{layer}" in n.name
        }
        return found or {n.device for n in self.nodes if "_XlaMustCompile" in n.attr}


def collect(work: Callable[[], Any]) -> Executed:
    """The graphs that the executor made while `work` ran."""
    context.context().ensure_initialized()
    context.context().enable_graph_collection()
    work()
    executed = Executed(list(context.context().export_run_metadata().function_graphs))
    context.context().disable_graph_collection()
    return executed


def run(name: str) -> dict[str, Any]:
    """Train two batches, look, train two more; a twin that nobody looks at must end with the same weights."""
    scenario = SCENARIOS[name]
    model, (x, y) = build(scenario), make_data()
    fit = {"batch_size": BATCH, "epochs": 1, "shuffle": False, "verbose": 0}
    executed = collect(lambda: model.fit(x, y, **fit))
    losses = list(model.fit(x, y, **fit).history["loss"])

    derived = introspect.inspect(model)
    report = introspect.inspect(model, measure=True)
    again = introspect.inspect(model, measure=True)
    losses += model.fit(x, y, **fit).history["loss"]

    twin, callback = build(scenario), introspect.IntrospectCallback(on_mismatch="log")
    twin.fit(x, y, callbacks=[callback], **fit)
    other = twin.fit(x, y, **fit).history["loss"] + twin.fit(x, y, **fit).history["loss"]
    same = all(np.array_equal(a, b) for a, b in zip(model.get_weights(), twin.get_weights(), strict=True))
    return {
        **compare(report, executed),
        "derived": [row.path for row in derived.variables if any(flatten(where(row)))],
        "same": same and losses == other,
        "steady": [row.measured for row in report.variables] == [row.measured for row in again.variables],
        "followed": [agree(one, report) for one in (*callback.reports, introspect.inspect(twin))],
        "findings": [finding.rule for finding in report.findings if finding.rule != "INT506"],
        "gradients": {row.path: row.gradient_device for row in report.variables},
        "crossing": next((f.message for f in report.findings if f.rule == "INT601"), None),
    }


def compare(report: Any, executed: Executed) -> dict[str, Any]:
    """Faults of the report's placement, and how many devices were compared."""
    faults, compared = [], 0
    for row in report.variables:
        replicas: dict[str, set[str]] = {}
        for write in row.writes:
            truth = executed.devices_of(write.op, write.op_type, write.function)
            compared += len(truth)
            if truth != {write.placed}:
                faults.append(f"{row.path}: {write.op} ran on {sorted(truth)}, placed {write.placed}")
            replicas.setdefault(write.kind, set()).add(write.placed)
        if row.replicas and replicas["gradient"] != set(row.replicas):
            faults.append(f"{row.path}: replicas on {row.replicas}, written on {replicas}")
        layer = "hid" if "hid" in row.path or row.path in ("kernel:0", "bias:0") else "out"
        truth = executed.gradient_devices(layer)
        if row.gradient_device not in truth or row.measured is None or row.measured.placed != row.gradient_device:
            faults.append(f"{row.path}: gradient on {sorted(truth)}, placed {row.gradient_device}, {row.measured}")
        faults += [f"{row.path}: slot {s.name} {s}" for s in row.slots if s.placed is None or s.placed != s.device]
        faults += [f"{row.path}: no slot"] if not row.slots else []
    return {"faults": faults, "compared": compared, "variables": len(report.variables)}


def agree(followed: Any, report: Any) -> bool:
    """Whether what a callback collects at the first step of a twin places everything as the report does."""
    return [where(row) for row in followed.variables] == [where(row) for row in report.variables]


def where(row: Any) -> Any:
    """All devices of one row."""
    return row.gradient_device, [w.placed for w in row.writes], [s.placed for s in row.slots]


def flatten(found: Any) -> list[str | None]:
    """The devices of `where` in one list."""
    gradient, writes, slots = found
    return [gradient, *writes, *slots]


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
