"""A look at the values as it is stored: columns of numbers, in the order of the report that it was held against."""

from __future__ import annotations

from dataclasses import dataclass

from introspect.proof import JUDGEMENTS, Proof
from introspect.report.columns import identify_paths


@dataclass(frozen=True, slots=True)
class ProofColumns:
    """Of a report's variables, then of their slots."""

    report_at: int
    """Place of the report on the run's axis."""
    step: int | None
    since: int | None
    steps: int
    created: float
    seconds: float
    variables_id: str
    slots_id: str
    variables: int
    """How many of the rows are variables; they come first."""
    ages: tuple[int, ...]
    judgements: tuple[int, ...]
    """Places in `JUDGEMENTS`."""


def flatten_proof(proof: Proof, report_at: int) -> ProofColumns:
    """The columns of a look."""
    rows = proof.variables + proof.slots
    codes = {judgement: code for code, judgement in enumerate(JUDGEMENTS)}
    return ProofColumns(
        report_at=report_at,
        step=proof.step,
        since=proof.since,
        steps=proof.steps,
        created=proof.created,
        seconds=proof.seconds,
        variables_id=identify_paths(row.path for row in proof.variables),
        slots_id=identify_paths(row.path for row in proof.slots),
        variables=len(proof.variables),
        ages=tuple(row.age for row in rows),
        judgements=tuple(codes[row.judgement] for row in rows),
    )
