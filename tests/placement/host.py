"""Takes a batch from a data set on a machine with a GPU; prints the ops of the set's copy that ran on the GPU.

python -m tests.placement.host KERAS
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf

from introspect.capture.trace.batch import take_batch
from tests.placement.scenario import collect


def run(keras: Any) -> list[str]:
    """`type on device` of each such op."""
    data = tf.data.Dataset.from_tensor_slices(np.ones((8, 4), "float32")).map(lambda row: row * 2.0).batch(4)
    batches: list[Any] = []
    executed = collect(lambda: batches.append(take_batch(None, data, keras)))
    assert batches[0].shape == (4, 4)
    assert any(node.op == "TensorSliceDataset" for node in executed.nodes)
    return sorted(f"{node.op} on {node.device}" for node in executed.nodes if "GPU" in node.device)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
