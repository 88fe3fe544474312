"""The clusters of a step, functions that XLA must compile, and what they are called with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from introspect.capture.trace.export import as_text
from introspect.capture.trace.traces import is_jit, must_compile

CALLS = ("StatefulPartitionedCall", "PartitionedCall")
LOOPS = ("While", "StatelessWhile")
CONDITIONS = ("If", "StatelessIf")


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
    """The outermost clusters that a step is sure to run, in program order."""
    graph = concrete.graph
    inputs, captured = list(graph.inputs), list(concrete.captured_inputs)
    free = len(inputs) - len(captured)
    known = {tensor.name: value for tensor, value in zip(inputs[free:], captured, strict=True)}
    if is_jit(concrete):
        yield Cluster(as_text(concrete.name), inputs, [known.get(tensor.name) for tensor in inputs], "")
    else:
        yield from walk_clusters(graph, known)


def walk_clusters(graph: Any, known: dict[str, Any]) -> Iterator[Cluster]:
    """The clusters of one graph and of the functions that it runs; `known` are the values of tensors by name."""
    for op in graph.get_operations():
        if op.type not in CALLS and op.type not in LOOPS and not waits_for_batch(op):
            continue
        tensors = list(op.inputs)[op.type in CONDITIONS :]
        values = [known.get(tensor.name) for tensor in tensors]
        names = list(list_functions(op))
        if op.type in CALLS and must_compile(op.node_def.attr):
            yield Cluster(names[0], tensors, values, op.device)
            continue
        for name in names:
            inner = getattr(graph._get_function(name), "graph", None) if graph._is_function(name) else None
            if inner is not None:
                pairs = zip(inner.inputs, values, strict=False)
                yield from walk_clusters(inner, {own.name: value for own, value in pairs if value is not None})


def waits_for_batch(op: Any) -> bool:
    """Whether a condition only asks if there is one more batch: so Keras 3 runs each of several steps.

    Of another condition's branches none is sure to run.
    """
    if op.type not in CONDITIONS:
        return False
    asked, queue = set[str](), [op.inputs[0].op]
    while queue:
        found = queue.pop()
        asked.add(found.type)
        queue += [tensor.op for tensor in found.inputs] if found.type in ("LogicalAnd", "Identity") else []
    return "OptionalHasValue" in asked


def list_functions(op: Any) -> Iterator[str]:
    """Names of the functions in an op's attributes. Seen on TensorFlow 2.19 to 2.21."""
    for attr in op.node_def.attr.values():
        yield from [attr.func.name] if attr.HasField("func") else [one.name for one in attr.list.func]


def list_devices(cluster: Cluster) -> Iterator[str]:
    """Where the resources that a cluster takes live."""
    return (str(value.device) for value in cluster.values if value is not None and value.dtype.name == "resource")
