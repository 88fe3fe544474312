"""Steps that XLA compiles for a GPU and that use what lives on the host, and their twins; prints what the oracle says.

python -m tests.placement.elsewhere NAME       prints a JSON object
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import tensorflow as tf

from tests.oracle import Asked, ask
from tests.placement.scenario import BATCH, make_data


def build(name: str) -> Any:
    """`int32` counts in a variable that TensorFlow keeps on the host, `int64` in one on the GPU."""
    keras.utils.set_random_seed(3)
    count = tf.Variable(0, trainable=False, dtype=name.removeprefix("plain-"))

    class Counting(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            count.assign_add(1)
            return super().train_step(data)

    model = Counting([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.compile("adam", "mse", **({"jit_compile": False} if name.startswith("plain-") else {}))
    return model


def run(name: str) -> dict[str, Any]:
    """Train one step for real and hold it against what was told before."""
    data = tf.data.Dataset.from_tensor_slices(make_data()).batch(BATCH)
    outcome = ask(build(name), data, Asked(raises=name == "int32"))
    assert outcome.report is not None
    told = {finding.rule: finding.message for finding in outcome.report.findings if finding.rule != "INT604"}
    return {"faults": outcome.faults, "told": told, "error": outcome.error}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
