"""Writes that the same step takes back: it assigns a variable a value that it read from it before them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from introspect.evidence.resources import Access, Place, Resources
from introspect.graph.dataflow import Dataflow
from introspect.graph.walk import Edges

SAME = frozenset({"Identity", "StopGradient", "PreventGradient", "EnsureShape", "Snapshot"})
"""Ops that hand their first input on, to the bit."""

ONCE = ("main", "call")
"""Frames that run wherever the frame around them does."""


def find_undone(
    flow: Dataflow, edges: Edges, resources: Resources, variables: Collection[int]
) -> frozenset[tuple[int, Place]]:
    """(node, place) of writes to these variables of which nothing is left, the one that puts the value back included.

    A read and the write that puts its value back stand in the same branch and the same turn of the same loop: then
    whatever was written between them is gone. What was written before that read stays.
    """
    undone: set[tuple[int, Place]] = set()
    for place, writes in list_writes(resources, variables).items():
        before = len(writes)
        while before > 0:
            before -= 1
            read = find_saved(flow, edges, resources, writes[before], place)
            if read < 0 or find_turn(flow, read) != find_turn(flow, writes[before].node):
                continue
            last = before
            while before > 0 and writes[before - 1].node > read:
                before -= 1
            undone.update((write.node, place) for write in writes[before : last + 1])
    return frozenset(undone)


def list_writes(resources: Resources, variables: Collection[int]) -> dict[Place, list[Access]]:
    """By place, its writes in the order of the program, where there are several and all uses are known."""
    found: dict[Place, list[Access]] = {}
    for access in resources.accesses.values():
        for place in access.places if access.effect not in ("read", "touch") else ():
            if place[0] in variables:
                found.setdefault(place, []).append(access)
    unclear = resources.opaque.keys() | resources.ambiguous.keys()
    return {place: writes for place, writes in found.items() if len(writes) > 1 and place[0] not in unclear}


def find_saved(flow: Dataflow, edges: Edges, resources: Resources, write: Access, place: Place) -> int:
    """The read of the place whose very value is assigned to it here; -1 where it is another value."""
    if write.effect != "assign" or write.places != (place,) or len(write.values) != 1:
        return -1
    for node in walk_same(flow, edges, write.values[0]):
        access = resources.accesses.get(node)
        if access is not None:
            return node if access.effect == "read" and access.places == (place,) else -1
    return -1


def walk_same(flow: Dataflow, edges: Edges, port: int) -> Iterator[int]:
    """The nodes that a value comes from unchanged, the one that makes it last."""
    node = edges.producer[port] if port >= 0 else -1
    while node >= 0:
        yield node
        inputs = edges.inputs[node]
        node = edges.producer[inputs[0]] if flow.op_type(node) in SAME and inputs and inputs[0] >= 0 else -1


def find_turn(flow: Dataflow, node: int) -> int:
    """The innermost branch or loop body around a node, by its frame; 0 for the step itself."""
    number = int(flow.frame[node])
    while flow.frames[number].parent >= 0 and flow.frames[number].kind in ONCE:
        number = flow.frames[number].parent
    return number
