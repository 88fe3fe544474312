"""Which variable each resource in the program is, and every op that uses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from introspect.capture.record import Binding
from introspect.graph.dataflow import Dataflow
from introspect.graph.ops import PASS_RESOURCE, Effect, effect_of
from introspect.graph.walk import Edges, select_nodes

Place = tuple[int, int]
"""(variable, replica): one piece of memory."""


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
    ambiguous = _pass_on(flow, edges, place_of)
    accesses: dict[int, Access] = {}
    opaque: dict[int, int] = {}
    passing = _find_passing(flow)
    effects = [effect_of(name) for name in flow.op_types]
    readers = sorted({node for port in place_of for node in edges.readers[port]})
    for node, op in zip(readers, flow.op[readers].tolist(), strict=True):
        if op in passing:
            continue
        effect = effects[op]
        ports = edges.inputs[node]
        places = tuple([place_of[port] for port in ports if port in place_of])
        if effect is None:
            opaque.update((place[0], node) for place in places)
        else:
            accesses[node] = Access(node, effect, places, tuple([p for p in ports if p not in place_of]))
    return Resources(accesses, opaque, ambiguous, handles)


def _bind_ports(flow: Dataflow, edges: Edges, bindings: tuple[Binding, ...]) -> dict[int, Place]:
    by_name = {binding.placeholder: (binding.variable, binding.replica) for binding in bindings}
    bound: dict[int, Place] = {}
    main = flow.bodies[0]
    handles = select_nodes(flow, {"Placeholder", "VarHandleOp", "Arg", "_Arg"})
    for node in handles[flow.frame[handles] == 0].tolist():
        place = by_name.get(main.name_of(int(flow.local[node])))
        if place is not None:
            bound.update(dict.fromkeys(edges.outputs[node], place))
    return bound


def _pass_on(flow: Dataflow, edges: Edges, place_of: dict[int, Place]) -> dict[int, int]:
    """Carry places through ops that only hand them on; returns variables whose use a branch decides."""
    ambiguous: dict[int, int] = {}
    queue = list(place_of)
    passing = _find_passing(flow)
    ops = edges.ops
    while queue:
        port = queue.pop()
        for node in edges.readers[port]:
            if ops[node] not in passing:
                continue
            places = {place_of[p] for p in edges.inputs[node] if p in place_of}
            if len(places) > 1:
                ambiguous.update((place[0], node) for place in places)
                continue
            for made in edges.outputs[node]:
                if made not in place_of:
                    place_of[made] = next(iter(places))
                    queue.append(made)
    return ambiguous


def _find_passing(flow: Dataflow) -> set[int]:
    return {code for code, name in enumerate(flow.op_types) if name in PASS_RESOURCE}
