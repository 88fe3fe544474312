"""The clusters of a step, functions that XLA must compile, and what they are called with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from introspect.capture.trace.export import as_text
from introspect.capture.trace.traces import is_jit

CALLS = ("StatefulPartitionedCall", "PartitionedCall")
BRANCHES = {"While": 0, "StatelessWhile": 0, "If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}
"""Ops that hold functions, and how many inputs stand before those that the functions take."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A function that XLA must compile, and what it is called with."""

    function: str
    tensors: Sequence[Any]
    """Symbolic, in the function's order."""
    values: Sequence[Any | None]
    """The captured value that each of them is; None for what the step computes or is fed."""
    device: str
    """As the call names it; "" where it is left to TensorFlow."""


def list_clusters(concrete: Any) -> Iterator[Cluster]:
    """The outermost clusters of a step, in program order."""
    graph = concrete.graph
    inputs, captured = list(graph.inputs), list(concrete.captured_inputs)
    free = len(inputs) - len(captured)
    known = {tensor.name: value for tensor, value in zip(inputs[free:], captured, strict=True)}
    if is_jit(concrete):
        yield Cluster(as_text(concrete.name), inputs, [known.get(tensor.name) for tensor in inputs], "")
    else:
        yield from walk_clusters(graph, known)


def walk_clusters(graph: Any, known: dict[str, Any]) -> Iterator[Cluster]:
    """The clusters of one graph and of the functions that it calls; `known` are the values of tensors by name."""
    for op in graph.get_operations():
        if op.type not in CALLS and op.type not in BRANCHES:
            continue
        tensors = list(op.inputs)[BRANCHES.get(op.type, 0) :]
        values = [known.get(tensor.name) for tensor in tensors]
        names = list(list_functions(op))
        if op.type in CALLS and must_compile(op):
            yield Cluster(names[0], tensors, values, op.device)
            continue
        for name in names:
            inner = getattr(graph._get_function(name), "graph", None) if graph._is_function(name) else None
            if inner is not None:
                pairs = zip(inner.inputs, values, strict=False)
                yield from walk_clusters(inner, {own.name: value for own, value in pairs if value is not None})


def list_functions(op: Any) -> Iterator[str]:
    """Names of the functions in an op's attributes. Seen on TensorFlow 2.19 to 2.21."""
    for attr in op.node_def.attr.values():
        yield from [attr.func.name] if attr.HasField("func") else [one.name for one in attr.list.func]


def must_compile(op: Any) -> bool:
    attr = op.node_def.attr
    return "_XlaMustCompile" in attr and bool(attr["_XlaMustCompile"].b)


def list_devices(cluster: Cluster) -> Iterator[str]:
    """Where the resources that a cluster takes live."""
    return (str(value.device) for value in cluster.values if value is not None and value.dtype.name == "resource")
