"""Answers about ops as a plain table, for a capture that outlives its graphs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from introspect.capture.probe import LiveProbe
from introspect.capture.record import Capture, Probe
from introspect.records import Location

UNKNOWN = -1


@dataclass(frozen=True)
class OpTable:
    """Facts of one function's ops, side by side.

    Attributes:
        locations: index into the probe's places, -1 where the user's code did not make the op.
        tape: 1 made by a tape, 0 not, -1 unknown.
        ranks: of each op's outputs, -1 unknown.
    """

    nodes: tuple[str, ...]
    locations: tuple[int, ...]
    tape: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]
    replayed: frozenset[str] = frozenset()
    """Nodes that a functional model ran from its record."""
    in_loss: frozenset[str] = frozenset()
    """Nodes that the compiled loss made."""


class FrozenProbe:
    """A `Probe` over tables."""

    memo = None
    """Nothing is kept of a capture that was saved: it is read once."""

    def __init__(self, places: tuple[Location, ...], tables: dict[str, OpTable]) -> None:
        self.places = places
        self.tables = tables
        self._rows = {name: {node: row for row, node in enumerate(table.nodes)} for name, table in tables.items()}

    def location(self, function: str, node: str) -> Location | None:
        """The user's file and line that made the op."""
        found = self._find(function, node)
        if found is None:
            return None
        place = found[0].locations[found[1]]
        return None if place == UNKNOWN else self.places[place]

    def replayed(self, function: str, node: str) -> bool:
        """Whether a functional model ran the op from its record."""
        return function in self.tables and node in self.tables[function].replayed

    def in_loss(self, function: str, node: str) -> bool:
        """Whether the compiled loss made the op."""
        return function in self.tables and node in self.tables[function].in_loss

    def made_by_tape(self, function: str, node: str) -> bool | None:
        """Whether a gradient tape made the op."""
        found = self._find(function, node)
        made = UNKNOWN if found is None else found[0].tape[found[1]]
        return None if made == UNKNOWN else bool(made)

    def rank(self, function: str, node: str, output: int) -> int | None:
        """Static rank of an output."""
        found = self._find(function, node)
        ranks = () if found is None else found[0].ranks[found[1]]
        return None if output >= len(ranks) or ranks[output] == UNKNOWN else ranks[output]

    def _find(self, function: str, node: str) -> tuple[OpTable, int] | None:
        row = self._rows.get(function, {}).get(node)
        return None if row is None else (self.tables[function], row)


def freeze(capture: Capture) -> Capture:
    """The same capture with tables in place of live probes: it holds no TensorFlow object any more.

    Reads the stack of every op, some twenty microseconds each.
    """
    return replace(capture, probes=tuple(freeze_probe(probe) for probe in capture.probes))


def freeze_probe(probe: Probe | None) -> Probe | None:
    if not isinstance(probe, LiveProbe):
        return probe
    places: dict[Location, int] = {}
    tables = {name: freeze_graph(probe, name, graph, places) for name, graph in probe.graphs().items()}
    return FrozenProbe(tuple(places), tables)


def freeze_graph(probe: LiveProbe, name: str, graph: Any, places: dict[Location, int]) -> OpTable:
    nodes, locations, tape, ranks = [], [], [], []
    replayed, in_loss = set[str](), set[str]()
    for op in graph.get_operations():
        location, made, again, of_loss = probe.describe(op)
        in_loss.update([op.name] if of_loss else [])
        nodes.append(op.name)
        replayed.update([op.name] if again else [])
        locations.append(UNKNOWN if location is None else places.setdefault(location, len(places)))
        tape.append(UNKNOWN if made is None else int(made))
        ranks.append(tuple(UNKNOWN if (rank := t.shape.rank) is None else rank for t in op.outputs))
    return OpTable(tuple(nodes), tuple(locations), tuple(tape), tuple(ranks), frozenset(replayed), frozenset(in_loss))
