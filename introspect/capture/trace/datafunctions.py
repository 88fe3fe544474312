"""What tf.data sets run of their own: the functions of their map and filter, which feed the step and are no part of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from introspect.capture.record import CapturedTrace
from introspect.capture.trace.inputs import is_dataset
from introspect.capture.trace.traces import LiveTrace, freeze_trace
from introspect.capture.variables import VariableTable, bind_resources, list_strange
from introspect.collector import list_alive

CALLER = "Dataset.map"
OF_SET = "_variant_tensor_attr"


def list_functions(data: Any, lives: Iterable[LiveTrace], table: VariableTable) -> list[Any]:
    """Concrete functions of the data, if it is a tf.data set, and of the sets that the step itself holds, which use variables."""
    sets = [*([data] if is_dataset(data) else []), *_find_held(lives, table)]
    return [one for one in _walk_functions(sets) if bind_resources(one.graph.captures, table)]


def list_fed(functions: Iterable[Any], table: VariableTable) -> frozenset[int]:
    """Rows of the variables that these functions use."""
    return frozenset(one.variable for function in functions for one in bind_resources(function.graph.captures, table))


def freeze_functions(functions: Iterable[Any], table: VariableTable) -> tuple[CapturedTrace, ...]:
    """Saved forms, which are read as a step is."""
    return tuple(
        freeze_trace(
            LiveTrace(function, CALLER), f"data/{number}", bind_resources(function.graph.captures, table), False
        )
        for number, function in enumerate(functions, 1)
    )


def _find_held(lives: Iterable[LiveTrace], table: VariableTable) -> list[Any]:
    """Sets of which the step captured the tensor, or that of an iterator. Seen on TensorFlow 2.19 to 2.21.

    Only the tensor is in the graph. All objects are looked through for the set, where there is such a tensor.
    """
    captured = (pair for live in lives for pair in list_strange(live.resources, table))
    wanted = {id(outside) for outside, inside in captured if inside.dtype.name in ("resource", "variant")}
    if not wanted:
        return []
    held = ((one, attribute) for one, attribute in list_alive(_name_tensor) if id(vars(one).get(attribute)) in wanted)
    return [one if attribute == OF_SET else vars(one).get("_dataset") for one, attribute in held]


def _name_tensor(kind: type) -> str | None:
    """The attribute in which objects of a class keep their tensor, if they are sets or iterators."""
    from tensorflow.python.data.ops import dataset_ops, iterator_ops

    if issubclass(kind, dataset_ops.DatasetV2):
        return OF_SET
    return "_iterator_resource" if issubclass(kind, iterator_ops.OwnedIterator) else None


def _walk_functions(sets: Iterable[Any]) -> Iterator[Any]:
    """Functions of sets and of those that they are made of. Seen on TensorFlow 2.19 to 2.21."""
    queue, seen = list(sets), set[int]()
    while queue:
        part = queue.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for wrapped in _ask(part, "_functions"):
            function = getattr(wrapped, "function", None)
            if getattr(function, "graph", None) is not None:
                yield function
        queue += _ask(part, "_inputs")


def _ask(dataset: Any, name: str) -> list[Any]:
    method = getattr(dataset, name, None)
    return list(method()) if callable(method) else []
