"""Which variable each resource in the program is, and every op that uses one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from introspect.capture.record import Binding
from introspect.graph.dataflow import Dataflow
from introspect.graph.ops import PASS_RESOURCE, Effect, effect_of
from introspect.graph.walk import Edges, select_nodes

Place = tuple[int, int]
"""(variable, replica): one piece of memory."""

_ARGUMENTS = frozenset({"Placeholder", "VarHandleOp", "Arg", "_Arg"})
"""Ops that bring in what a program is given."""


class Access(NamedTuple):
    """One op that uses variables.

    `values` are the ports that are not resources; `places` the memory it uses, the variable first, then its slots.
    """

    node: int
    effect: Effect
    places: tuple[Place, ...]
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Resources:
    """All uses of variables in a program.

    Attributes:
        accesses: by node, in program order.
        opaque: variables handed to an op that the effect table does not know, with that op's node.
        ambiguous: variables among which a branch chooses, so that a use cannot be told.
        handles: nodes that bring the captured variables in.
    """

    accesses: dict[int, Access]
    opaque: dict[int, int]
    ambiguous: dict[int, int]
    handles: frozenset[int]


def resolve_resources(flow: Dataflow, edges: Edges, bindings: tuple[Binding, ...]) -> Resources:
    """Follow the captured resource handles from their placeholders to the ops that use them."""
    place_of = _bind_ports(flow, edges, bindings)
    handles = frozenset(edges.producer[port] for port in place_of)
    users, ambiguous = _pass_on(flow, edges, place_of)
    accesses: dict[int, Access] = {}
    opaque: dict[int, int] = {}
    effects = [effect_of(name) for name in flow.op_types]
    start, flat = edges.inputs.start, edges.inputs.flat
    for node, op in zip(users, flow.op[users].tolist(), strict=True):
        places: tuple[Place, ...] = ()
        values: tuple[int, ...] = ()
        for port in flat[start[node] : start[node + 1]]:
            if port in place_of:
                places += (place_of[port],)
            else:
                values += (port,)
        effect = effects[op]
        if effect is None:
            opaque.update((place[0], node) for place in places)
        else:
            accesses[node] = Access(node, effect, places, values)
    return Resources(accesses, opaque, ambiguous, handles)


def list_arguments(flow: Dataflow) -> Iterator[tuple[int, str]]:
    """(node, name) of the ops that bring in what the program is given."""
    nodes = select_nodes(flow, _ARGUMENTS)
    nodes = nodes[flow.frame[nodes] == 0]
    return zip(nodes.tolist(), flow.names(nodes), strict=True)


def _bind_ports(flow: Dataflow, edges: Edges, bindings: tuple[Binding, ...]) -> dict[int, Place]:
    by_name = {binding.placeholder: (binding.variable, binding.replica) for binding in bindings}
    bound: dict[int, Place] = {}
    made = edges.outputs.start
    for node, name in list_arguments(flow):
        if name in by_name:
            for port in range(made[node], made[node + 1]):
                bound[port] = by_name[name]
    return bound


def _pass_on(flow: Dataflow, edges: Edges, place_of: dict[int, Place]) -> tuple[list[int], dict[int, int]]:
    """Carry places through ops that only hand them on.

    Returns:
        All other ops that take a resource, in program order, and the variables whose use a branch decides.
    """
    ambiguous: dict[int, int] = {}
    users: set[int] = set()
    queue = list(place_of)
    passing = flow.codes(PASS_RESOURCE)
    ops, start, readers = edges.ops, edges.readers.start, edges.readers.flat
    while queue:
        port = queue.pop()
        for node in readers[start[port] : start[port + 1]]:
            if ops[node] not in passing:
                users.add(node)
                continue
            places = {place_of[p] for p in edges.inputs[node] if p in place_of}
            if len(places) > 1:
                ambiguous.update((place[0], node) for place in places)
                continue
            for made in edges.outputs[node]:
                if made not in place_of:
                    place_of[made] = next(iter(places))
                    queue.append(made)
    return sorted(users), ambiguous
