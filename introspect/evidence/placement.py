"""Where the ops that the evidence names ran, by a capture's placements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from introspect.capture.record import CapturedPlacement, PlacedOp, Transfer
from introspect.evidence.collect import TraceEvidence
from introspect.evidence.points import Ends, find_ends
from introspect.evidence.writes import WriteFact

NEAR = 64
"""How many ops behind a gradient are looked through for one that was executed under its own name."""


@dataclass(frozen=True)
class TracePlacement:
    """The executed ops of one trace."""

    evidence: TraceEvidence
    placement: CapturedPlacement

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], list[PlacedOp]]:
        found: dict[tuple[str, str], list[PlacedOp]] = {}
        for op in self.placement.ops:
            found.setdefault((op.function, op.node), []).append(op)
        return found

    @cached_property
    def _sent(self) -> dict[tuple[str, str], list[Transfer]]:
        found: dict[tuple[str, str], list[Transfer]] = {}
        for transfer in self.placement.transfers:
            found.setdefault((transfer.function, transfer.node), []).append(transfer)
        return found

    def find_op(self, node: int) -> PlacedOp | None:
        """The executed op of a node; None where none is left of it, or copies of it ran on several devices."""
        flow = self.evidence.flow
        found = self._by_name.get((flow.function(node), flow.name(node)), [])
        if len({op.device for op in found}) > 1:
            found = [op for op in found if self._is_at(op, node)]
        return found[0] if len({op.device for op in found}) == 1 else None

    def _is_at(self, op: PlacedOp, node: int) -> bool:
        """Whether the calls in an executed op's name are those around the node."""
        flow = self.evidence.flow
        calls: list[str] = []
        frame = flow.frame_of(node)
        while frame.parent >= 0:
            calls.insert(0, flow.bodies[flow.frames[frame.parent].body].name_of(frame.call))
            frame = flow.frames[frame.parent]
        place = 0
        for call in (*calls, flow.name(node)):
            place = op.path.find(call, place)
            if place < 0:
                return False
            place += len(call)
        return True

    def device_of_write(self, write: WriteFact) -> str | None:
        """Where a write ran."""
        op = self.find_op(write.node)
        return None if op is None else op.device

    def cluster_of_write(self, write: WriteFact) -> str | None:
        """The XLA cluster that a write ran in."""
        op = self.find_op(write.node)
        return None if op is None else op.cluster

    def device_of_gradient(self, variable: int) -> str | None:
        """Where the op that yields a variable's gradient ran, of its first replica.

        Grappler leaves some such ops out (a Reshape that changes nothing); then the op before it counts.
        """
        ends = find_ends(self.evidence, variable)
        return next((device for port in self._order_ends(ends) if (device := self._device_behind(port))), None)

    @staticmethod
    def _order_ends(ends: Ends) -> Iterable[int]:
        """The gradient itself first: behind an all-reduce, what comes out of it."""
        return (*reversed(ends.joined), *ends.ports) if ends.reduced else (*ends.ports, *ends.joined)

    def _device_behind(self, port: int) -> str | None:
        edges = self.evidence.edges
        queue, seen = [edges.producer[port]], set[int]()
        while queue and len(seen) < NEAR:
            node = queue.pop(0)
            if node < 0 or node in seen:
                continue
            seen.add(node)
            op = self.find_op(node)
            if op is not None:
                return op.device
            queue += [edges.producer[before] for before in edges.inputs[node][:1] if before >= 0]
        return None

    def transfers_of(self, nodes: Iterable[int]) -> list[tuple[int, Transfer]]:
        """(node, transfer) of what these ops yield and other devices get."""
        flow = self.evidence.flow
        return [(node, sent) for node in nodes for sent in self._sent.get((flow.function(node), flow.name(node)), ())]


def join_placements(
    evidence: Iterable[TraceEvidence], placements: Iterable[CapturedPlacement]
) -> dict[str, TracePlacement]:
    """By the trace's id."""
    by_trace = {placement.trace: placement for placement in placements}
    return {one.trace.id: TracePlacement(one, by_trace[one.trace.id]) for one in evidence if one.trace.id in by_trace}
