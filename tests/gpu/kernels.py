"""Profiles some steps of a scenario and compares the report's placed devices with the kernels that the GPU ran.

python -m tests.gpu.kernels NAME       prints a JSON object
"""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import tensorflow as tf

import introspect
from introspect.devices import is_accelerator
from tests.gpu.xplane import read_kernels
from tests.placement.scenario import BATCH, SCENARIOS, build, make_data


def run(name: str) -> dict[str, Any]:
    """Faults: writes placed on a GPU without a kernel there, and writes placed on the host with one."""
    model, (x, y) = build(SCENARIOS[name]), make_data()
    fit = {"batch_size": BATCH, "epochs": 1, "shuffle": False, "verbose": 0}
    model.fit(x, y, **fit)
    report = introspect.inspect(model, measure=True)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        model.fit(x, y, **fit)
        tf.profiler.experimental.stop()
        kernels = read_kernels(folder)
    faults, compared = [], 0
    for row in report.variables:
        for write in (write for write in row.writes if write.kind == "gradient"):
            ran = any(kernel == write.op or kernel.endswith(f"/{write.op}") for kernel in kernels)
            compared += 1
            if ran != is_accelerator(write.placed):
                faults.append(f"{row.path}: {write.op} placed on {write.placed}, kernel on a GPU: {ran}")
    return {"faults": faults, "compared": compared, "kernels": len(kernels)}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
