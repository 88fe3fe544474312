"""Where an op stands: its line, its layer, or the layers before and after it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.graph.ops import THROUGH_NUMPY
from introspect.records import EvidenceStep
from introspect.rules._groups import shorten
from introspect.rules._steps import op_step
from introspect.rules._wording import place

MOST_FOLLOWED = 200
"""Ops that are asked for their layer, on the search for the nearest one in another layer."""


def name_op(facts: Facts, current: TraceEvidence, node: int, path: Sequence[int] = ()) -> str:
    """ "ArgMax (train.py:41, in layer route)", or "ArgMax (m/ArgMax, between layers enc and head)"."""
    flow = current.flow
    layer = _inner_layer(facts, current, node)
    line = place(facts.locate_written(current, flow.function(node), flow.name(node)))
    near = "" if line else find_neighbours(facts, current, node, path)
    inside = near or (f"in layer {layer}" if layer else "")
    told = ", ".join(part for part in (line or (flow.name(node) if near or not layer else ""), inside) if part)
    return f"{'numpy' if is_numpy(current, node) else flow.op_type(node)} ({told})"


def is_numpy(current: TraceEvidence, node: int) -> bool:
    """Whether the op stands for what an eager step did in Python."""
    return current.flow.op_type(node) == "StopGradient" and current.flow.has_attribute(node, THROUGH_NUMPY)


def note_cut(facts: Facts, current: TraceEvidence, node: int, path: Sequence[int]) -> str:
    """What the evidence says of a cut; where nothing tells the line, why that is."""
    said = "cuts the gradient"
    if facts.locate_written(current, current.flow.function(node), current.flow.name(node)) is not None:
        return said
    near = find_neighbours(facts, current, node, path)
    return f"{said}, {near}; of an operation that stands between layers Keras keeps no line" if near else said


def show_cut(facts: Facts, current: TraceEvidence, node: int, note: str) -> Iterator[EvidenceStep]:
    """An op that ends a gradient, at the line that wrote it; else the call that runs the model which holds it."""
    function, name = current.flow.function(node), current.flow.name(node)
    step = op_step(facts, current, node, note, facts.layer_of_node(current, node))
    location = facts.locate_written(current, function, name)
    yield replace(step, location=location)
    if location is None and step.location is not None:
        yield EvidenceStep("the model that holds it is run here", location=step.location, trace=step.trace)


def find_neighbours(facts: Facts, current: TraceEvidence, node: int, path: Sequence[int] = ()) -> str:
    """ "between layers enc and head": what stands before and after an op; nothing where a layer without layers holds it.

    `path` is the way on which the op was met.
    """
    if _is_in_layer(facts, current, node):
        return ""
    back = path[: path.index(node)][::-1] if node in path else _walk(current, node, back=True)
    before = _find_other(facts, current, node, back)
    after = _find_other(facts, current, node, _walk(current, node, back=False))
    if before and after:
        return f"between layers {before} and {after}"
    return f"after layer {before}" if before else f"before layer {after}" if after else ""


def _is_in_layer(facts: Facts, current: TraceEvidence, node: int) -> bool:
    """Whether a layer that holds no further ones has the op."""
    path = facts.layer_of_node(current, node)
    return path is not None and all(layer.parent != path for layer in facts.tree.by_path.values())


def _find_other(facts: Facts, current: TraceEvidence, node: int, nodes: Iterable[int]) -> str | None:
    """The layer of the first of the nodes that is in another one than the op."""
    own = _inner_layer(facts, current, node)
    found = (_inner_layer(facts, current, one) for one in nodes)
    return next((layer for layer in found if layer and layer != own), None)


def _walk(current: TraceEvidence, node: int, back: bool) -> Iterator[int]:
    """Forward ops before an op, or after it, the nearest first."""
    seen, queue = {node}, deque([node])
    while queue and len(seen) < MOST_FOLLOWED:
        for near in _step(current, queue.popleft(), back):
            if near >= 0 and near not in seen and not current.marked[near]:
                seen.add(near)
                queue.append(near)
                yield near


def _step(current: TraceEvidence, node: int, back: bool) -> Iterator[int]:
    edges = current.edges
    if back:
        yield from (edges.producer[port] for port in edges.inputs[node] if port >= 0)
        return
    yield from (reader for port in edges.outputs[node] for reader in edges.readers[port])


def _inner_layer(facts: Facts, current: TraceEvidence, node: int) -> str | None:
    """The layer below the model that holds the op."""
    path = facts.layer_of_node(current, node)
    outermost = facts.tree.root.path if facts.tree.root is not None else None
    return shorten(facts, path) if path is not None and path != outermost else None
