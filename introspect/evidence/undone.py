"""Writes that the same step takes back: it assigns a variable a value that it read from it before them, or a fixed one."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from introspect.evidence.resources import Access, Place, Resources, list_arguments
from introspect.graph.dataflow import Dataflow
from introspect.graph.differentiable import NO_VALUE
from introspect.graph.ops import ELEMENTWISE, MERGE
from introspect.graph.walk import Edges

SAME = frozenset({"Identity", "StopGradient", "PreventGradient", "EnsureShape", "Snapshot"})
"""Ops that hand their first input on, to the bit."""

FIXED = (ELEMENTWISE - {MERGE, "ReduceDataset", "ScanDataset"}) | {
    "Const",
    "ConcatV2",
    "Transpose",
    "Tile",
    "Slice",
    "Split",
}
"""Ops whose result is the same at each step where what goes into them is."""

MOST_KEPT = 8
"""Variables in which a value is looked for, one after the other."""

ONCE = ("main", "call")
"""Frames that run wherever the frame around them does."""


def find_undone(
    flow: Dataflow, edges: Edges, resources: Resources, variables: Collection[int], constants: frozenset[str]
) -> tuple[frozenset[tuple[int, Place]], frozenset[tuple[int, Place]]]:
    """(node, place) of writes to these variables of which nothing is left, the one that puts the value back included; and
    of those that assign a fixed value to what was written before.

    A read and the write that puts its value back stand in the same branch and the same turn of the same loop: then
    whatever was written between them is gone. What was written before that read stays. A write of a fixed value lasts,
    and takes with it what was written before it in the same turn; `constants` are placeholders of fixed values.
    """
    undone, fixed = set[tuple[int, Place]](), set[tuple[int, Place]]()
    everything, unclear = list_writes(resources), resources.opaque.keys() | resources.ambiguous.keys()
    stored = {place: writes for place, writes in everything.items() if place[0] not in unclear}
    asked = [place for place, writes in stored.items() if len(writes) > 1 and place[0] in variables]
    same = find_same(flow, resources, {place[0] for place in everything}, constants) if asked else frozenset()
    for place in asked:
        left = list(stored[place])
        while left:
            write = left.pop()
            read = find_saved(flow, edges, resources, write, place, stored)
            if read >= 0 and find_turn(flow, read) == find_turn(flow, write.node):
                gone = [write]
                while left and left[-1].node > read:
                    gone.append(left.pop())
            elif left and is_fixed(flow, edges, resources, write, same):
                fixed.add((write.node, place))
                turn = find_turn(flow, write.node)
                gone = [one for one in left if is_within(flow, one.node, turn)]
                left = [one for one in left if one not in gone]
            else:
                continue
            undone.update((one.node, place) for one in gone)
    return frozenset(undone), frozenset(fixed)


def list_writes(resources: Resources) -> dict[Place, list[Access]]:
    """By place, its writes in the order of the program."""
    found: dict[Place, list[Access]] = {}
    for access in resources.accesses.values():
        for place in access.places if access.effect not in ("read", "touch") else ():
            found.setdefault(place, []).append(access)
    return found


def find_saved(
    flow: Dataflow, edges: Edges, resources: Resources, write: Access, place: Place, stored: dict[Place, list[Access]]
) -> int:
    """The read of the place whose very value is assigned to it here; -1 where it is another value.

    It may have been kept in another variable meanwhile: `stored` has the writes of all whose uses are known.
    """
    if write.effect != "assign" or write.places != (place,) or len(write.values) != 1:
        return -1
    port, turn = write.values[0], find_turn(flow, write.node)
    for _ in range(MOST_KEPT):
        read = next((access for node in walk_same(flow, edges, port) if (access := resources.accesses.get(node))), None)
        if read is None or read.effect != "read" or len(read.places) != 1:
            return -1
        if read.places == (place,):
            return read.node
        before = [one for one in stored.get(read.places[0], ()) if one.node < read.node]
        if not before or before[-1].effect != "assign" or find_turn(flow, before[-1].node) != turn:
            return -1
        port = before[-1].values[0]
    return -1


def walk_same(flow: Dataflow, edges: Edges, port: int) -> Iterator[int]:
    """The nodes that a value comes from unchanged, the one that makes it last."""
    node = edges.producer[port] if port >= 0 else -1
    while node >= 0:
        yield node
        inputs = edges.inputs[node]
        node = edges.producer[inputs[0]] if flow.op_type(node) in SAME and inputs and inputs[0] >= 0 else -1


def find_same(
    flow: Dataflow, resources: Resources, written: Collection[int], constants: frozenset[str]
) -> frozenset[int]:
    """Nodes with the same value at each step: reads of variables that no step writes, and placeholders of these names."""
    kept = (access for access in resources.accesses.values() if access.effect == "read")
    reads = {access.node for access in kept if access.places[0][0] not in written}
    return frozenset(reads.union(node for node, name in list_arguments(flow) if name in constants))


def is_fixed(flow: Dataflow, edges: Edges, resources: Resources, write: Access, same: frozenset[int]) -> bool:
    """Whether what is assigned is the same at each step: made of constants, of sizes, and of what these nodes yield."""
    if write.effect != "assign" or len(write.places) != 1:
        return False
    queue = [edges.producer[port] for port in write.values]
    seen = set(queue)
    while queue:
        node = queue.pop()
        if node in same:
            continue
        access = resources.accesses.get(node)
        if node < 0 or (access is not None and access.effect != "touch"):
            return False
        op = flow.op_type(node)
        if access is not None or op in NO_VALUE:
            continue
        if op not in FIXED:
            return False
        before = {edges.producer[port] for port in edges.inputs[node] if port >= 0} - seen
        seen |= before
        queue += before
    return True


def is_within(flow: Dataflow, node: int, turn: int) -> bool:
    """Whether the node runs in this turn, or in a branch or a loop of it."""
    number = find_turn(flow, node)
    while number != turn and flow.frames[number].parent >= 0:
        number = find_outermost(flow, flow.frames[number].parent)
    return number == turn


def find_turn(flow: Dataflow, node: int) -> int:
    """The innermost branch or loop body around a node, by its frame; 0 for the step itself."""
    return find_outermost(flow, int(flow.frame[node]))


def find_outermost(flow: Dataflow, number: int) -> int:
    """The frame that runs wherever this one does."""
    while flow.frames[number].parent >= 0 and flow.frames[number].kind in ONCE:
        number = flow.frames[number].parent
    return number
