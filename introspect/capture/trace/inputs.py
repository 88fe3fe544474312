"""The type of the batches that `fit` would feed to the step, read without taking a batch."""

from __future__ import annotations

import copy
import gc
import types
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from introspect.capture.framework import KerasName, class_descends, descends
from introspect.capture.trace.guard import save_keras, save_random, save_tf_keras
from introspect.capture.trace.innerstate import MOST_OF_ARRAY
from introspect.capture.trace.snapshot import take_snapshot
from introspect.errors import DataError

LEAVES = (str, bytes, int, float, complex, type(None), type, types.ModuleType, types.FunctionType, types.GeneratorType)
BULKY = ("h5py", "mmap", "array", "zarr", "tables", "pandas", "pyarrow", "polars", "tensorflow", "torch")
"""Packages of arrays, tables and files that have no array's own marks."""

DEFAULT_BATCH = 32
"""The batch size of `fit` where none is given: arrays of a multiple of it give batches of static size."""


def read_spec(model: Any, data: Any, keras: KerasName, batch_size: int | None = None) -> Any:
    """The structure of TypeSpecs that `fit(data)` would iterate over.

    `data` is a tf.data set, a PyDataset (tf_keras: Sequence), or arrays: `x`, `(x, y)` or `(x, y, sample_weight)`;
    `batch_size` is as `fit` is given it, and counts for arrays only.

    Raises:
        DataError: a look would take from the data (a generator), or Keras cannot read it.
    """
    if is_dataset(data):
        return data.element_spec
    if is_indexed(data):
        return protect_state(lambda: read_item(model, data, keras), data)
    if hasattr(data, "__next__") or is_loader(data):
        raise DataError(
            f"data is a {type(data).__name__}, and a look at it would take a batch away; "
            "pass one batch as arrays, data=(x, y), or a tf.data set"
        )
    x, y, weights = split_arrays(data)
    return protect_state(lambda: read_arrays(model, (x, y, weights), batch_size or DEFAULT_BATCH, keras))


def is_dataset(data: Any) -> bool:
    """Whether the data is a tf.data set, distributed or not."""
    return descends(data, ("tensorflow",), ("DatasetV2", "DistributedDataset", "DistributedDatasetsFromFunction"))


def is_split(spec: Any) -> bool:
    """Whether the batches of a distributed set come in a part for each of several replicas."""
    import tensorflow as tf

    return any(is_replicas(part) for part in tf.nest.flatten(spec))


def take_part(spec: Any) -> Any:
    """What one replica is given of the batches."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda part: part._component_specs[0] if is_replicas(part) else part, spec)


def is_replicas(spec: Any) -> bool:
    """Whether the type is of a value for each replica; its parts are components as any TypeSpec has them.

    Seen on TensorFlow 2.19 to 2.21.
    """
    return descends(spec, ("tensorflow",), ("PerReplicaSpec",))


def is_indexed(data: Any) -> bool:
    """Whether the data is a Keras PyDataset or a tf_keras Sequence."""
    return descends(data, ("keras", "tf_keras"), ("PyDataset", "Sequence"))


def is_loader(data: Any) -> bool:
    """Whether the data is a loader of another framework, which can only be looked at by iterating."""
    return type(data).__module__.partition(".")[0] in ("torch", "grain") and hasattr(data, "__iter__")


def split_arrays(data: Any) -> tuple[Any, Any, Any]:
    """`x, y, sample_weight` of what `fit` would take apart."""
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise DataError(f"data is a tuple of {len(data)}; pass (x, y) or (x, y, sample_weight)")
    x, y, weights = (*data, None, None)[:3]
    return x, y, weights


def read_arrays(model: Any, arrays: tuple[Any, Any, Any], batch_size: int, keras: KerasName) -> Any:
    """Ask Keras' own adapter about a few rows: a whole number of batches has a static size, any other has none."""
    counts = sorted(count_rows(arrays))
    if len(counts) > 1:
        raise DataError(f"the arrays of data= have {counts[0]} and {counts[-1]} rows; pass x and y of one length")
    few = batch_size if counts and counts[0] and counts[0] % batch_size == 0 else 1
    x, y, weights = (take_rows(part, few) for part in arrays)
    settings = {"x": x, "y": y, "sample_weight": weights, "batch_size": batch_size}
    try:
        if keras == "tf_keras":
            from tf_keras.src.engine.data_adapter import get_data_handler

            return get_data_handler(model=model, **settings)._dataset.element_spec
        from keras.src.trainers.data_adapters import get_data_adapter

        return get_data_adapter(**settings).get_tf_dataset().element_spec
    except Exception as error:
        raise DataError(f"fit() cannot take this data: {first_line(error)}; pass arrays as data=(x, y)") from error


def count_rows(data: Any) -> set[int]:
    """Lengths of the arrays in a structure."""
    if isinstance(data, (list, tuple, dict)):
        parts = data.values() if isinstance(data, dict) else data
        return {count for part in parts for count in count_rows(part)}
    shape = getattr(data, "shape", None)
    return {int(shape[0])} if shape else set()


def take_rows(data: Any, rows: int) -> Any:
    """The first rows of each array in a structure."""
    if isinstance(data, dict):
        return type(data)((key, take_rows(part, rows)) for key, part in data.items())
    if isinstance(data, (list, tuple)):
        return type(data)(take_rows(part, rows) for part in data)
    return data if data is None or not getattr(data, "shape", None) else data[:rows]


def read_item(model: Any, data: Any, keras: KerasName) -> Any:
    """The type of a PyDataset's batches, by its first item alone."""
    try:
        if keras == "tf_keras":
            from tf_keras.src.engine.data_adapter import KerasSequenceAdapter

            return KerasSequenceAdapter(copy_dataset(data), model=model).get_dataset().element_spec
        from keras.src.trainers.data_adapters import data_adapter_utils, get_data_adapter

        item = get_data_adapter(x=data)._standardize_batch(copy_dataset(data)[0])
        return data_adapter_utils.get_tensor_spec([item])
    except Exception as error:
        raise DataError(f"the first item of {type(data).__name__} cannot be read: {first_line(error)}") from error


def copy_dataset(data: Any) -> Any:
    """A copy to read an item from: an item may draw from a generator of the set's own, or note that it was asked for.

    Large arrays and what stands for a file are shared. A set that cannot be copied (a lock, an open file) is read
    itself, and `read_item` puts its state back.
    """
    try:
        return copy.deepcopy(data, {id(part): part for part in walk_parts(data) if is_bulk(part)})
    except Exception:
        return data


def walk_parts(data: Any) -> Iterator[Any]:
    """All objects below one, whatever holds them; not below classes, modules, functions, arrays."""
    seen, stack = {id(data)}, [data]
    while stack:
        part = stack.pop()
        yield part
        if is_bulk(part):
            continue
        for inner in gc.get_referents(part):
            if id(inner) not in seen and not isinstance(inner, LEAVES):
                seen.add(id(inner))
                stack.append(inner)


def is_bulk(value: Any) -> bool:
    """Whether an object is data that a copy shares: an array (but for small ones, which an item may write), a table, a model."""
    kind: Any = type(value)
    if kind is np.ndarray and value.nbytes <= MOST_OF_ARRAY:
        return False
    return is_array_kind(kind)


@cache
def is_array_kind(kind: Any) -> bool:
    package = str(kind.__module__).partition(".")[0]
    if class_descends(kind, ("keras", "tf_keras"), ("Layer",)):
        return True
    return package in BULKY or any(hasattr(kind, name) for name in ("__array__", "__array_interface__", "__buffer__"))


def protect_state(read: Callable[[], Any], *roots: Any) -> Any:
    """Call `read` and put random state, Keras' name counters and the roots back: an item may be augmented at random."""
    restores = (*save_random(), *save_keras(), *save_tf_keras(), take_snapshot(roots).restore)
    try:
        return read()
    finally:
        for restore in restores:
            restore()


def first_line(error: BaseException) -> str:
    """Cut where Keras writes out all of the data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def empty_dataset(spec: Any) -> Any:
    """A tf.data set of that element type which holds nothing, for iterators that only lend their type."""
    import tensorflow as tf

    def invent(_: Any) -> Any:
        return tf.nest.map_structure(invent_value, spec, expand_composites=False)

    return tf.data.Dataset.range(0).map(invent)


def invent_value(spec: Any) -> Any:
    """A value of one TypeSpec, inside a graph; sizes that the spec leaves open stay open."""
    import tensorflow as tf

    parts = []
    for component in tf.nest.flatten(spec, expand_composites=True):
        sizes = [1 if size is None else size for size in component.shape] if component.shape.rank is not None else []
        parts.append(tf.compat.v1.placeholder_with_default(tf.zeros(sizes, component.dtype), component.shape))
    return tf.nest.pack_sequence_as(spec, parts, expand_composites=True)
