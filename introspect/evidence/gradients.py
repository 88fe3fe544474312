"""Which gradient reaches a variable, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from introspect.evidence.resources import Place
from introspect.evidence.scan import GRADIENT, TO_BACKWARD
from introspect.graph.ops import PYTHON_OPS
from introspect.graph.walk import select_nodes
from introspect.records import GradientKind

if TYPE_CHECKING:
    from introspect.evidence.collect import TraceEvidence
    from introspect.evidence.writes import WriteFact

FOLLOWED = ("gradient", "accumulate", "other", "average")
"""Kinds of writes by which a slot may come to hold a gradient."""

BY_ROWS = ("ResourceScatter", "ResourceSparseApply", "UnsortedSegmentSum")
"""Beginnings of the op types in which IndexedSlices end."""


def find_gradient(evidence: TraceEvidence, variable: int) -> tuple[GradientKind, str | None]:
    """(kind, reason where it is unknown) for one variable in one trace."""
    writes = evidence.gradient_writes(variable)
    if not writes:
        return _without_write(evidence, variable)
    if evidence.trace.source == "eager" and _is_chosen(evidence, variable):
        return "unknown", "the step runs eagerly, and takes the branch that uses it for some batches only"
    return (
        "sparse" if any(write.sparse for write in writes) or _is_sparse(evidence, variable, writes) else "dense"
    ), None


def _without_write(evidence: TraceEvidence, variable: int) -> tuple[GradientKind, str | None]:
    flow, resources = evidence.flow, evidence.resources
    node = resources.opaque.get(variable, resources.ambiguous.get(variable))
    if node is not None:
        return "unknown", f"op {flow.name(node)!r} ({flow.op_type(node)}) uses it in a way that the graph does not show"
    if flow.opaque_calls and variable not in evidence.reads:
        node = flow.opaque_calls[0]
        return "unknown", f"op {flow.name(node)!r} ({flow.op_type(node)}) runs a function that the graph does not hold"
    if evidence.python and not evidence.trains and variable not in evidence.reads:
        node = int(select_nodes(flow, PYTHON_OPS)[0])
        return "unknown", f"op {flow.name(node)!r} ({flow.op_type(node)}) runs Python, and nothing else here trains"
    return "none", None


def _is_chosen(evidence: TraceEvidence, variable: int) -> bool:
    """Whether a branch decides if the forward pass uses it, and not if its gradient is written.

    Run eagerly, a tape sees no other branch, and has no zeros of it. Steps that run in a branch as a whole, as Keras
    writes those after the first where it runs several at once, read and write in the same one.
    """
    forward = (node for node in evidence.reads.get(variable, ()) if not evidence.marked[node])
    reads = [evidence.choices(node) for node in forward if evidence.reaches(node, TO_BACKWARD)]
    writes = [evidence.choices(write.node) for write in evidence.gradient_writes(variable)]
    return bool(reads) and not any(read <= write for read in reads for write in writes)


def _is_sparse(evidence: TraceEvidence, variable: int, writes: Sequence[WriteFact]) -> bool:
    """Whether IndexedSlices were handed to the optimizer, which then wrote slots row by row or made them dense."""
    fed = evidence.fed_by_slices
    if not fed or not any(write.node in fed for write in writes):
        return False
    return any(_ends_slices(evidence, node) for node in walk_update(evidence, variable))


def _ends_slices(evidence: TraceEvidence, node: int) -> bool:
    op = evidence.flow.op_type(node)
    if evidence.marked[node] or not op.startswith(BY_ROWS):
        return False
    return op != "UnsortedSegmentSum" or not _joins_dense(evidence, node)


def find_fed(evidence: TraceEvidence) -> frozenset[int]:
    """Ops in which IndexedSlices end, and those of the update behind them, through the slots: no fewer than `walk_update` meets."""
    edges, accesses = evidence.edges, evidence.resources.accesses
    nodes = select_nodes(evidence.flow, {name for name in evidence.flow.op_types if name.startswith(BY_ROWS)})
    queue = [node for node in nodes.tolist() if _ends_slices(evidence, node)]
    seen = set(queue)
    users = _list_users(evidence) if queue else {}
    while queue:
        node = queue.pop()
        access = accesses.get(node)
        carrying = (p for p in edges.outputs[node] if evidence.tags[p] & GRADIENT or p in evidence.spread.ports)
        behind = [reader for port in carrying for reader in edges.readers[port]]
        if access is not None and access.effect != "read":
            behind += [user for place in access.places for user in users.get(place, ())]
        behind = [other for other in behind if other not in seen and not evidence.marked[other]]
        seen.update(behind)
        queue += behind
    return frozenset(seen)


def _list_users(evidence: TraceEvidence) -> dict[Place, list[int]]:
    """By place of what the forward pass does not use: the ops that read it, or use it as a slot."""
    found: dict[Place, list[int]] = {}
    for access in evidence.resources.accesses.values():
        for place in access.places if access.effect == "read" else access.places[1:]:
            if place[0] not in evidence.forward:
                found.setdefault(place, []).append(access.node)
    return found


def _joins_dense(evidence: TraceEvidence, node: int) -> bool:
    """Whether the tape made slices dense to add another gradient: what arrives is dense (tied embeddings)."""
    edges, flow = evidence.edges, evidence.flow
    return any(flow.op_type(reader) == "AddN" for port in edges.outputs[node] for reader in edges.readers[port])


def walk_update(evidence: TraceEvidence, variable: int) -> list[int]:
    """Nodes between the backward pass and a variable's gradient writes, through the slots, the backward pass left out."""
    seen, _ = _walk(evidence, variable)
    return seen


def gradient_nodes(evidence: TraceEvidence, variable: int) -> list[int]:
    """The last ops of the backward pass whose values reach a variable's gradient writes: they yield its gradient."""
    _, last = _walk(evidence, variable)
    return last


def _walk(evidence: TraceEvidence, variable: int) -> tuple[list[int], list[int]]:
    edges = evidence.edges
    queue = [write.node for write in evidence.gradient_writes(variable)]
    seen, last = dict.fromkeys(queue), dict[int, None]()
    while queue:
        node = queue.pop()
        before = [edges.producer[port] for port in list_carriers(evidence, node)]
        before += list_writers(evidence, variable, node)
        for other in before:
            if other < 0 or other in seen or other in last:
                continue
            if evidence.marked[other]:
                last[other] = None
            else:
                seen[other] = None
                queue.append(other)
    return list(seen), list(last)


def walk_ends(evidence: TraceEvidence, variable: int, is_end: Callable[[int], bool]) -> Iterator[int]:
    """Ports in which a variable's update begins, met from its gradient writes back, through the slots.

    Those that `is_end` holds for, and those that no op yields.
    """
    producer = evidence.edges.producer
    queue = [write.node for write in evidence.gradient_writes(variable)]
    seen = set(queue)
    while queue:
        node = queue.pop()
        before = list_writers(evidence, variable, node)
        for port in list_carriers(evidence, node):
            if producer[port] < 0 or is_end(port):
                yield port
            else:
                before.append(producer[port])
        later = [other for other in dict.fromkeys(before) if other not in seen]
        seen.update(later)
        queue += later


def list_carriers(evidence: TraceEvidence, node: int) -> list[int]:
    """Ports by which a gradient comes to a node.

    Norms are not followed beside it: they hold every other variable's gradient.
    """
    ports = [port for port in evidence.edges.inputs[node] if port >= 0]
    held = [port for port in ports if evidence.tags[port] & GRADIENT]
    return held or [port for port in ports if port in evidence.spread.ports]


def list_writers(evidence: TraceEvidence, variable: int, node: int) -> list[int]:
    """Ops that put gradients into the slots that an op reads; other variables of the forward pass are not followed."""
    access = evidence.resources.accesses.get(node)
    places = () if access is None else access.places if access.effect == "read" else access.places[1:]
    return [
        write.node
        for place in places
        if place[0] != variable and place[0] not in evidence.forward
        for write in evidence.writes.get(place[0], ())
        if write.place == place and (write.kind in FOLLOWED or write.node in evidence.spread.writes)
    ]


def slots_of(evidence: TraceEvidence, variable: int) -> list[int]:
    """Variables that carry this one's gradient from step to step: slots, as the graph shows them."""
    found: dict[int, None] = {}
    for node in walk_update(evidence, variable):
        access = evidence.resources.accesses.get(node)
        if access is not None:
            found.update(dict.fromkeys(place[0] for place in access.places if place[0] != variable))
    return [other for other in found if other not in evidence.forward]


def sources_of(evidence: TraceEvidence, nodes: list[int]) -> set[int]:
    """Variables whose values the values written at `nodes` are made of, by tensor edges."""
    edges, accesses = evidence.edges, evidence.resources.accesses
    queue, seen = list(nodes), set(nodes)
    found: set[int] = set()
    while queue:
        node = queue.pop()
        access = accesses.get(node)
        if access is not None and access.effect == "read":
            found.add(access.places[0][0])
            continue
        for port in edges.inputs[node]:
            before = edges.producer[port] if port >= 0 else -1
            if before >= 0 and before not in seen:
                seen.add(before)
                queue.append(before)
    return found


def targets_of(evidence: TraceEvidence, variables: Iterable[int]) -> set[int]:
    """Variables that are written with values made of these, by tensor edges: `sources_of` from the other end."""
    edges, accesses = evidence.edges, evidence.resources.accesses
    queue = [node for variable in variables for node in evidence.reads.get(variable, ())]
    seen = set(queue)
    while queue:
        node = queue.pop()
        for reader in (reader for port in edges.outputs[node] for reader in edges.readers[port]):
            access = accesses.get(reader)
            if reader not in seen and (access is None or access.effect != "read"):
                seen.add(reader)
                queue.append(reader)
    return {index for index, writes in evidence.writes.items() if any(write.node in seen for write in writes)}
