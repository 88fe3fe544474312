"""Takes a batch from a data set on a machine with a GPU; prints the ops of the set's copy that ran on the GPU.

python -m tests.placement.host LIBRARY
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context


def run(library: str) -> list[str]:
    """`type on device` of each such op."""
    tf.load_op_library(library)
    from introspect.capture.trace.batch import take_batch

    data = tf.data.Dataset.from_tensor_slices(np.ones((8, 4), "float32")).map(lambda row: row * 2.0).batch(4)
    context.context().ensure_initialized()
    context.context().enable_graph_collection()
    batch = take_batch(None, data, "keras")
    graphs = context.context().export_run_metadata().function_graphs
    context.context().disable_graph_collection()
    assert batch.shape == (4, 4)
    nodes = [node for graph in graphs for part in graph.partition_graphs for node in part.node]
    assert any(node.op == "TensorSliceDataset" for node in nodes)
    return sorted(f"{node.op} on {node.device}" for node in nodes if "GPU" in node.device)


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1])))
