"""Evidence steps that several rules show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.writes import WriteFact
from introspect.facts import Facts
from introspect.records import EvidenceStep


def op_step(facts: Facts, evidence: TraceEvidence, node: int, note: str, layer: str | None = None) -> EvidenceStep:
    """One op of a trace with its place in the user's code."""
    flow = evidence.flow
    function, name = flow.function(node), flow.name(node)
    return EvidenceStep(
        note=note,
        op=name,
        op_type=flow.op_type(node),
        layer=layer,
        location=facts.locate(evidence, function, name),
        trace=evidence.trace.id,
    )


def write_steps(
    facts: Facts, evidence: TraceEvidence, index: int, writes: Iterable[WriteFact]
) -> Iterator[EvidenceStep]:
    """The writes of one variable."""
    variable = facts.capture.variables[index]
    for write in writes:
        flow = evidence.flow
        function, name = flow.function(write.node), flow.name(write.node)
        yield EvidenceStep(
            note=f"writes {variable.path} ({write.kind})",
            op=name,
            op_type=flow.op_type(write.node),
            device=variable.device,
            layer=variable.layer,
            location=facts.locate(evidence, function, name),
            trace=evidence.trace.id,
        )
