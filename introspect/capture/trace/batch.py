"""One batch for a step on a copy: the first that `fit` would feed, or one made up; nothing is taken from the data."""

from __future__ import annotations

from typing import Any

from introspect.capture.framework import KerasName
from introspect.capture.trace.inputs import (
    DEFAULT_BATCH,
    copy_dataset,
    first_line,
    is_dataset,
    is_indexed,
    is_loader,
    protect_state,
    split_arrays,
    take_rows,
)
from introspect.errors import DataError

BATCH = 8
"""Rows of a batch that is made up, for each replica."""
OPEN_SIZE = 16
"""What an open size other than the batch's becomes there."""

PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "GeneratorDataset", "NumpyIter")
PASSED_OVER = (
    "ShuffleDataset",
    "ShuffleAndRepeat",
    "CacheDataset",
    "SnapshotDataset",
    "SaveDataset",
    "AssertCardinality",
)
"""Beginnings of the types of datasets that keep something between iterators (an order, files): left out of the copy."""


def take_batch(model: Any, data: Any, keras: KerasName, batch_size: int | None = None) -> Any:
    """The first batch that `fit(data)` would feed, in the data's own order where `fit` shuffles it.

    `batch_size` counts for arrays only.

    Raises:
        DataError: a look would take from the data or run Python of the user's.
    """
    if is_dataset(data):
        return first_element(data)
    if is_indexed(data):
        return protect_state(lambda: read_first(model, data, keras), data)
    if hasattr(data, "__next__") or is_loader(data):
        raise DataError(
            f"data is a {type(data).__name__}, and to measure would take a batch away; pass one batch, data=(x, y)"
        )
    x, y, weights = split_arrays(data)
    return protect_state(lambda: adapt_arrays(model, (x, y, weights), keras, batch_size or DEFAULT_BATCH))


def adapt_arrays(model: Any, arrays: tuple[Any, Any, Any], keras: KerasName, batch_size: int) -> Any:
    """Keras' own adapter's first batch, in the arrays' order."""
    x, y, weights = (take_rows(part, batch_size) for part in arrays)
    given = {"x": x, "y": y, "sample_weight": weights, "batch_size": batch_size, "shuffle": False}
    try:
        if keras == "tf_keras":
            from tf_keras.src.engine.data_adapter import get_data_handler

            dataset = get_data_handler(model=model, **given)._adapter.get_dataset()
        else:
            from keras.src.trainers.data_adapters import get_data_adapter

            dataset = get_data_adapter(**given).get_tf_dataset()
        return next(iter(dataset))
    except Exception as error:
        raise DataError(f"fit() cannot take this data: {first_line(error)}; pass arrays as data=(x, y)") from error


def read_first(model: Any, data: Any, keras: KerasName) -> Any:
    """The first item of a copy of a PyDataset."""
    held = copy_dataset(data)
    try:
        if keras == "tf_keras":
            item = held[0]
            return tuple(item) if isinstance(item, list) else item
        from keras.src.trainers.data_adapters import get_data_adapter

        return get_data_adapter(x=data)._standardize_batch(held[0])
    except Exception as error:
        raise DataError(f"the first item of {type(data).__name__} cannot be read: {first_line(error)}") from error


def first_element(dataset: Any) -> Any:
    """The first element of a copy of a tf.data set that neither shuffles nor caches.

    A second iterator over the set itself would move on the seed of its shuffle.

    Raises:
        DataError: the set runs Python, is distributed, is empty, or cannot be copied.
    """
    import tensorflow as tf

    dataset = getattr(dataset, "_original_dataset", dataset)
    if not isinstance(dataset, tf.data.Dataset):
        raise DataError(f"data is a {type(dataset).__name__}, which cannot be copied; pass one batch, data=(x, y)")
    graph = export_dataset(dataset)
    types = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    python = sorted(types & set(PYTHON))
    if python:
        raise DataError(
            f"data runs Python ({python[0]}), and to measure would take from it; pass one batch, data=(x, y)"
        )
    try:
        return next(iter(import_dataset(graph, dataset.element_spec)))
    except StopIteration:
        raise DataError("data holds no batch; pass one batch, data=(x, y)") from None
    except (tf.errors.OpError, ValueError) as error:
        raise DataError(f"data cannot be copied: {first_line(error)}; pass one batch, data=(x, y)") from error


def export_dataset(dataset: Any) -> Any:
    """GraphDef that makes the set anew, without what keeps something between iterators. Seen on TensorFlow 2.19 to 2.21."""
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2

    try:
        text = tf.raw_ops.DatasetToGraphV2(
            input_dataset=dataset._variant_tensor, external_state_policy=1, strip_device_assignment=True
        )
    except tf.errors.OpError as error:
        raise DataError(f"data cannot be copied: {first_line(error)}; pass one batch, data=(x, y)") from error
    graph = graph_pb2.GraphDef.FromString(text.numpy())
    passed = {n.name: n.input[0] for n in graph.node if n.op.startswith(PASSED_OVER) and "Random" not in n.op}
    for node in graph.node:
        for place, name in enumerate(node.input):
            while name.partition(":")[0] in passed:
                name = passed[name.partition(":")[0]]
            node.input[place] = name
    return graph


def import_dataset(graph: Any, spec: Any) -> Any:
    """The set that a GraphDef of `export_dataset` makes, in host memory. Seen on TensorFlow 2.19 to 2.21.

    Without a device scope its constants lie on the GPU, and the first element that the host reads from them ends the
    process (seen on an H100).
    """
    import tensorflow as tf
    from tensorflow.python.data.ops.dataset_ops import _VariantDataset

    (made,) = [node.input[0] for node in graph.node if node.op == "_Retval"]
    kept = type(graph)()
    kept.CopyFrom(graph)
    del kept.node[:]
    kept.node.extend(needed_nodes(graph, made))

    def build() -> Any:
        (variant,) = tf.graph_util.import_graph_def(
            kept, return_elements=[made if ":" in made else f"{made}:0"], name=""
        )
        return variant

    with tf.device("/CPU:0"):
        return _VariantDataset(tf.compat.v1.wrap_function(build, [])(), spec)


def needed_nodes(graph: Any, end: str) -> list[Any]:
    """The nodes on the way to one tensor."""
    by_name = {node.name: node for node in graph.node}
    needed: set[str] = set()
    queue = [end]
    while queue:
        name = queue.pop().lstrip("^").partition(":")[0]
        if name not in needed:
            needed.add(name)
            queue += by_name[name].input
    return [node for node in graph.node if node.name in needed]


def invent_batch(spec: Any, replicas: int = 1) -> Any:
    """Values of a structure of TypeSpecs, always the same ones: floats at random, whole numbers and strings 0 and ""."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    whole = tf.nest.map_structure(lambda part: widen(part, replicas), spec)
    return tf.nest.map_structure(lambda part: invent_part(part, random, BATCH * replicas), whole)


def widen(spec: Any, replicas: int) -> Any:
    """The spec of the global batch that is cut into such parts."""
    import tensorflow as tf

    if replicas == 1 or not isinstance(spec, tf.TensorSpec) or not spec.shape.rank or spec.shape[0] is None:
        return spec
    return tf.TensorSpec([spec.shape[0] * replicas, *spec.shape[1:]], spec.dtype)


def invent_part(spec: Any, random: Any, rows: int) -> Any:
    """The value of one spec.

    Raises:
        DataError: no value of this kind can be made up.
    """
    import tensorflow as tf

    if isinstance(spec, tf.TensorSpec):
        return invent_tensor(spec, random, rows)
    if isinstance(spec, tf.OptionalSpec):
        return tf.experimental.Optional.empty(spec._value_spec)
    if isinstance(spec, tf.RaggedTensorSpec):
        inner = tf.TensorSpec([rows, *(1 for _ in spec.shape[1:])], spec.dtype)
        return tf.RaggedTensor.from_tensor(
            invent_tensor(inner, random, rows), ragged_rank=spec.ragged_rank, row_splits_dtype=spec.row_splits_dtype
        )
    if isinstance(spec, tf.SparseTensorSpec):
        return tf.sparse.from_dense(invent_tensor(tf.TensorSpec(spec.shape, spec.dtype), random, rows))
    raise DataError(f"no value can be made up for {spec}; pass one batch, data=(x, y)")


def invent_tensor(spec: Any, random: Any, rows: int) -> Any:
    import tensorflow as tf

    sizes = [1] if spec.shape.rank is None else list(spec.shape)
    sizes = [(OPEN_SIZE if place else rows) if size is None else size for place, size in enumerate(sizes)]
    if spec.dtype == tf.string:
        return tf.fill(sizes, "")
    values = random.random(sizes) if spec.dtype.is_floating else 0
    return tf.cast(tf.broadcast_to(tf.convert_to_tensor(values), sizes), spec.dtype)
