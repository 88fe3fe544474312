"""What the step's tapes differentiated and handed back, found in its program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from introspect.capture.record import TapeValue
from introspect.evidence.gradients import walk_ends
from introspect.graph.ops import MERGE

if TYPE_CHECKING:
    from introspect.evidence.collect import TraceEvidence


def find_ends(evidence: TraceEvidence, values: Iterable[TapeValue]) -> list[int]:
    """Ports of these values, or where nobody reads one what it is made of; none where any of them is not found."""
    ends: list[int] = []
    for value in values:
        found = _find_ports(evidence, value)
        if not found:
            return []
        ends += found
    return ends


def find_ops(evidence: TraceEvidence, values: Iterable[TapeValue]) -> frozenset[int]:
    """The nodes that yield these values, as often as the step runs them."""
    return frozenset(node for value in values for node in _find_nodes(evidence, value))


def _find_ports(evidence: TraceEvidence, value: TapeValue) -> list[int]:
    flow, edges, ports = evidence.flow, evidence.edges, list[int]()
    for node in _find_nodes(evidence, value):
        made = [port for port in edges.outputs[node] if flow.output_of(port) == (value.argument, value.output)]
        ports += made or edges.inputs[node]
    return ports


def _find_nodes(evidence: TraceEvidence, value: TapeValue) -> Iterator[int]:
    flow = evidence.flow
    for number, frame in enumerate(flow.frames):
        body = flow.bodies[frame.body]
        place = body.names.find(value.node) if body.name == value.function else -1
        if place < 0:
            continue
        local = np.flatnonzero(body.source == place)
        yield from np.flatnonzero((flow.frame == number) & np.isin(flow.local, local)).tolist()


class Givers:
    """Whose gradients a variable is updated with, for one trace."""

    def __init__(self, evidence: TraceEvidence, answers: Iterable[TapeValue]) -> None:
        self.evidence = evidence
        self.answers = {(one.function, one.node, one.argument, one.output): one.variables for one in answers}

    def find(self, variable: int) -> frozenset[int]:
        """The variables of whose gradients its update is made; none where a value of the backward pass is no answer."""
        found: set[int] = set()
        for port in walk_ends(self.evidence, variable, self._is_end):
            given = self._ask(port)
            if given is None:
                return frozenset()
            found.update(given)
        return frozenset(found)

    def _is_end(self, port: int) -> bool:
        return bool(self.evidence.marked[self.evidence.edges.producer[port]]) or self._ask(port) is not None

    def _ask(self, port: int) -> tuple[int, ...] | None:
        flow, node = self.evidence.flow, self.evidence.edges.producer[port]
        if node < 0 or flow.op_type(node) == MERGE:
            return None
        return self.answers.get((flow.function(node), flow.name(node), *flow.output_of(port)))
