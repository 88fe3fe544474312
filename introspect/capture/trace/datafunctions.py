"""What a tf.data set runs of its own: the functions of its map and filter, which feed the step and are no part of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.trace.inputs import is_dataset
from introspect.capture.variables import VariableTable, list_captures


def list_fed(data: Any, table: VariableTable) -> frozenset[int]:
    """Rows of the variables that these functions use; none where the data is no tf.data set."""
    found = (table.find_handle(outside) for graph in _list_graphs(data) for outside, _ in list_captures(graph))
    return frozenset(row for row, _ in filter(None, found))


def _list_graphs(data: Any) -> Iterator[Any]:
    """Graphs of the functions of a set and of those that it is made of. Seen on TensorFlow 2.19 to 2.21."""
    queue, seen = [data] if is_dataset(data) else [], set[int]()
    while queue:
        part = queue.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        for wrapped in _ask(part, "_functions"):
            graph = getattr(getattr(wrapped, "function", None), "graph", None)
            if graph is not None:
                yield graph
        queue += _ask(part, "_inputs")


def _ask(dataset: Any, name: str) -> list[Any]:
    method = getattr(dataset, name, None)
    return list(method()) if callable(method) else []
