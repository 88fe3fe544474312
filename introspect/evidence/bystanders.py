"""Ops that carry a trained value and that no loss is made of: a metric's, which stand inside of the tape all the same.

A tape that differentiates a product reads the one factor for the gradient of the other; for that of a power or of an
activation it reads what went in or what came out. Where nothing of it goes into the backward pass, no tape has
differentiated the op, and neither what is made of it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from introspect.evidence.scan import TO_BACKWARD
from introspect.graph.derivatives import READ_ITSELF, READ_OTHERS

if TYPE_CHECKING:
    from introspect.evidence.collect import TraceEvidence
    from introspect.evidence.slopes import Terrain

Ports = dict[int, list[int]]


def find_bystanders(terrain: Terrain, trained: Iterable[int]) -> frozenset[int]:
    """Those among the nodes `trained`, by which values of trained variables come on differentiable ways."""
    evidence, nodes = terrain.evidence, sorted(trained)
    carried = _find_carried(terrain, nodes)
    hidden = _find_hidden(terrain, carried, nodes)
    found: set[int] = set()
    for node in nodes:
        ports = carried[node]
        if not ports or node in hidden:
            continue
        alone = all(evidence.edges.producer[port] in found for port in ports)
        if alone or not _may_be_differentiated(evidence, node, ports):
            found.add(node)
    return frozenset(found)


def _find_carried(terrain: Terrain, nodes: list[int]) -> Ports:
    """By node: the ports by which trained values come to it, and through which a gradient can go."""
    carried: Ports = {node: [] for node in nodes}
    outputs = terrain.evidence.edges.outputs
    for node in nodes:
        for reader in dict.fromkeys(terrain.after(node, smooth=True)):
            if reader in carried:
                carried[reader] += [port for port in outputs[node] if port in terrain.evidence.edges.inputs[reader]]
    return carried


def _find_hidden(terrain: Terrain, carried: Ports, nodes: list[int]) -> set[int]:
    """What stands before a gradient that the user wrote: it may compute all of that again."""
    producer = terrain.evidence.edges.producer
    hidden: set[int] = set()
    for node in reversed(nodes):
        if node in hidden or terrain.obstacles.has_own_gradient(node):
            hidden.add(node)
            hidden.update(producer[port] for port in carried[node])
    return hidden


def _may_be_differentiated(evidence: TraceEvidence, node: int, ports: list[int]) -> bool:
    """Whether the backward pass has what the gradient for one of `ports` is made of, or the op's gradient asks nothing."""
    op = evidence.flow.op_type(node)
    inputs, outputs = list(evidence.edges.inputs[node]), evidence.edges.outputs[node]
    if op in READ_OTHERS:
        return any(_goes_back(evidence, _without(inputs, port)) for port in ports)
    return op not in READ_ITSELF or _goes_back(evidence, (*inputs, *outputs))


def _without(inputs: list[int], port: int) -> Iterator[int]:
    """The other inputs; in a product of a value with itself, the value."""
    place = inputs.index(port)
    return (other for number, other in enumerate(inputs) if number != place)


def _goes_back(evidence: TraceEvidence, ports: Iterable[int]) -> bool:
    return any(port >= 0 and evidence.goes[port] & TO_BACKWARD for port in ports)
