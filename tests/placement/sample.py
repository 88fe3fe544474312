"""Runs a rule's pair of samples on the stand-in GPU, or a real one; prints the ids of the findings of each.

python -m tests.placement.sample NAME
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path

import tensorflow as tf

import introspect

SAMPLES = Path(__file__).parents[2] / "samples" / "rules"


def run(name: str, kind: str) -> list[str]:
    import keras

    keras.utils.clear_session()
    module = runpy.run_path(str(SAMPLES / name / f"{kind}.py"))
    target, data = module["build"]()
    report = introspect.inspect(target, data=data, measure=module.get("MEASURE", False))
    return [f"{finding.rule} {finding.severity} {finding.certainty}" for finding in report.findings]


if __name__ == "__main__":
    if library := os.environ.get("INTROSPECT_FAKE_GPU"):
        tf.load_op_library(library)
    print(json.dumps({kind: run(sys.argv[1], kind) for kind in ("bad", "good")}))
