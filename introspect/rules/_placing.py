"""Where the parts of a variable's update ran, for the rules that compare them; read from the executed graph only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.gradients import walk_update
from introspect.evidence.placement import TracePlacement, join_placements
from introspect.evidence.points import find_ends
from introspect.facts import Facts
from introspect.records import VariableReport

SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "complex64": 8,
    "complex128": 16,
    "int8": 1,
}


@dataclass(frozen=True, slots=True)
class Spread:
    """One variable that the current trace updates; of several replicas, the first."""

    index: int
    row: VariableReport
    home: str | None
    """Where it lives."""
    gradient: str | None
    update: str | None

    @property
    def devices(self) -> tuple[str, ...]:
        """All of these, each once."""
        return tuple(dict.fromkeys(d for d in (self.home, self.gradient, self.update) if d is not None))


def list_spreads(facts: Facts) -> Iterator[Spread]:
    """All variables whose update was found in the executed graph of the current trace."""
    current = facts.current
    if current is None or not any(placed.trace == current.trace.id for placed in facts.capture.placements):
        return
    for index, _, row in facts.pairs:
        if current.updates(index):
            yield Spread(index, row, row.device, row.gradient_device, find_update(row, current.trace.id))


def find_update(row: VariableReport, trace: str) -> str | None:
    """Where the gradient was written to the variable, or to its first replica's copy."""
    writes = [w for w in row.writes if w.kind == "gradient" and w.trace == trace and w.placed is not None]
    home = row.replicas[0] if row.replicas else row.device
    return next((write.placed for write in writes if write.device == home), None)


def count_bytes(facts: Facts, indices: list[int]) -> int:
    """Bytes that cross between devices at each step: values, gradients and updates of these variables."""
    current = facts.current
    if current is None:
        return 0
    placement = join_placements([current], facts.capture.placements).get(current.trace.id)
    return 0 if placement is None else sum(_count(facts, current, placement, index) for index in indices)


def _count(facts: Facts, current: TraceEvidence, placement: TracePlacement, index: int) -> int:
    variable = facts.capture.variables[index]
    size = SIZES.get(variable.dtype, 4) * math.prod(part or 1 for part in variable.shape)
    makers = [current.edges.producer[port] for port in find_ends(current, index).ports]
    reads = current.reads.get(index, [])
    nodes = dict.fromkeys([*reads, *makers, *walk_update(current, index)])
    same = [node for node in nodes if node in reads or _is_whole(facts, current, node, len(variable.shape))]
    return size * len({(node, sent.target) for node, sent in placement.transfers_of(same)})


def _is_whole(facts: Facts, current: TraceEvidence, node: int, rank: int) -> bool:
    """Whether a node's value has the variable's rank: factors and norms are scalars."""
    probes = zip(facts.capture.traces, facts.capture.probes, strict=False)
    probe = next((probe for trace, probe in probes if trace.id == current.trace.id), None)
    return (
        probe is not None and rank > 0 and probe.rank(current.flow.function(node), current.flow.name(node), 0) == rank
    )
