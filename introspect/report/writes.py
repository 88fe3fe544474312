"""Writes of a report from what one trace proves."""

from __future__ import annotations

import numpy as np

from introspect.capture.record import Capture, Probe
from introspect.evidence.collect import TraceEvidence
from introspect.evidence.placement import TracePlacement
from introspect.evidence.writes import WriteFact
from introspect.records import Write


class WriteBuilder:
    """Makes the writes of one trace."""

    def __init__(
        self, capture: Capture, evidence: TraceEvidence, probe: Probe | None, placement: TracePlacement | None
    ) -> None:
        self.variables = capture.variables
        self.evidence = evidence
        self.probe = probe
        self.placement = placement
        self.ops = name_writes(evidence)
        self.own = capture.model.custom_train_step or capture.model.keras == "none"

    def build(self, index: int) -> list[Write]:
        """The writes of one variable, in the order of the step."""
        return [self.write(fact) for fact in self.evidence.writes.get(index, ())]

    def write(self, fact: WriteFact) -> Write:
        index, replica = fact.place
        variable = self.variables[index]
        function, name, op_type = self.ops[fact.node]
        return Write(
            fact.kind,
            name,
            op_type,
            variable.replicas[replica] if replica < len(variable.replicas) else variable.device,
            None if self.placement is None else self.placement.device_of_write(fact),
            fact.conditional,
            self.evidence.trace.id,
            function,
            self.probe.location(function, name) if self.probe is not None and self.may_be_users(fact) else None,
        )

    def may_be_users(self, fact: WriteFact) -> bool:
        """Whether the user's code may have made the op: asking costs a tenth of a millisecond."""
        return self.own or fact.kind not in ("gradient", "decay", "state", "initial")

    def device_of_first(self, index: int) -> str | None:
        """Where a write of the variable's first copy ran."""
        if self.placement is None:
            return None
        firsts = (fact for fact in self.evidence.writes.get(index, ()) if fact.place[1] == 0)
        return next((device for fact in firsts if (device := self.placement.device_of_write(fact))), None)


def name_writes(one: TraceEvidence) -> dict[int, tuple[str, str, str]]:
    """(function, name, op type) of each op that writes a variable."""
    flow = one.flow
    nodes = np.asarray([fact.node for facts in one.writes.values() for fact in facts], dtype=np.int32)
    functions = map([flow.bodies[frame.body].name for frame in flow.frames].__getitem__, flow.frame[nodes].tolist())
    op_types = map(flow.op_types.__getitem__, flow.op[nodes].tolist())
    return dict(zip(nodes.tolist(), zip(functions, flow.names(nodes), op_types, strict=True), strict=True))
