"""Kinds of models on a real GPU, cuDNN's LSTM among them: verdicts, measured numbers and placement against what happens.

python -m tests.gpu.kinds KIND keras|tf_keras default|plain POLICY       prints a JSON object
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

import tensorflow as tf

import introspect
from tests.measure.truth import check_measure, read_state, same
from tests.measure.zoo import ROWS, ZOO
from tests.oracle import Asked, ask
from tests.placement.scenario import Executed, collect

FIT = {"epochs": 2, "verbose": 0}
Built = tuple[Any, tf.data.Dataset, Any, Any]
"""(compiled model, data, x, y): one batch, as a data set and as arrays."""


def build(kind: str, keras: Any, jit: str, policy: str) -> Built:
    """A compiled model; `default` leaves it to Keras whether XLA compiles the step."""
    set_policy = keras.mixed_precision.set_global_policy if keras.__name__ == "tf_keras" else None
    (set_policy or keras.config.set_dtype_policy)(policy)
    keras.utils.set_random_seed(3)
    if jit != "default" or keras.__name__ == "tf_keras":
        tf.config.experimental.enable_op_determinism()  # Keras 3 would leave XLA out by default
    model, x, y = ZOO[kind](keras)
    model.compile("adam", "mse", **({} if jit == "default" else {"jit_compile": False}))
    return model, tf.data.Dataset.from_tensor_slices((x, y)).batch(ROWS), x, y


def run(kind: str, name: str, jit: str, policy: str) -> dict[str, Any]:
    """Faults of each part, and which devices and kernels there were."""
    make = lambda: build(kind, __import__(name), jit, policy)  # noqa: E731
    (model, data, x, y), faults = make(), []
    executed = collect(lambda: model.fit(data, **FIT))
    report = introspect.inspect(model, data=data, measure=True)
    faults += [f"placement: {fault}" for fault in compare_writes(report, executed)]
    if policy == "float32":
        faults += catch("measure", lambda: check_measure(model, x, y))
    steady, watched = train_alike(make)
    faults += ["training differs under the callback"] if steady and not watched else []
    next(layer for layer in model.layers if layer.trainable_weights).trainable = False
    # The first steps of a loss scale may be skipped, and dead units have gradients of 0.
    asked = Asked(numeric=policy == "mixed_float16" or kind == "dead")
    faults += [f"verdict: {fault}" for fault in ask(model, data, asked).faults]
    return {
        "faults": faults,
        "steady": steady,
        "gradients": sorted({str(row.gradient_device) for row in report.variables if row.expected}),
        "compared": sum(len(row.writes) for row in report.variables),
        "cudnn": any(node.op.startswith("CudnnRNN") for node in list_nodes(executed)),
        "findings": [finding.rule for finding in report.findings],
    }


def list_nodes(executed: Executed) -> list[Any]:
    """All nodes, those of functions that clusters call among them."""
    return [*executed.nodes, *(node for function in executed.functions.values() for node in function.node_def)]


def compare_writes(report: Any, executed: Executed) -> list[str]:
    """Writes that the report places elsewhere than the partition graphs do."""
    return [
        f"{row.path}: {write.op} ran on {sorted(truth)}, placed {write.placed}"
        for row in report.variables
        for write in row.writes
        if (truth := executed.devices_of(write.op, write.op_type, write.function)) != {write.placed}
    ]


def train_alike(make: Callable[[], Built]) -> tuple[bool, bool]:
    """Whether two trainings end the same to the bit, and whether one with the callback and a look does."""
    states = []
    for callbacks in ([], [], [introspect.IntrospectCallback(on_mismatch="log")]):
        model, data, _, _ = make()
        model.fit(data, callbacks=callbacks, **FIT)
        if callbacks:
            introspect.inspect(model, data=data, measure=True)
        model.fit(data, **FIT)
        states.append(read_state(model))
    return same(states[0], states[1]), same(states[0], states[2])


def catch(what: str, check: Callable[[], Any]) -> list[str]:
    """What an assertion says, as a fault."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            check()
    except AssertionError as error:
        return [f"{what}: {error}"]
    return []


if __name__ == "__main__":
    print(json.dumps(run(*sys.argv[1:5])))
