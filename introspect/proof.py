"""What the values themselves say: which variables and slots really changed between two looks, beside what reports say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from introspect.records import Report, SlotReport, VariableReport

NOT_LOOKED = -1
"""Age of what cannot be compared: no number, or another object than at the last look."""

Judgement = Literal["agrees", "moved", "still"]
JUDGEMENTS: tuple[Judgement, ...] = ("agrees", "moved", "still")


@dataclass(frozen=True, slots=True)
class ProofRow:
    """One variable or slot."""

    path: str
    age: int
    """For how many steps its bits have been the same: 0 where they changed since the last look, -1 where unknown."""
    judgement: Judgement
    """"moved": it changed, and no op of the step writes it. "still": it did not, though each step writes it with its
    gradient: that is zero then, or the learning rate is, or the dtype swallows the update."""


@dataclass(frozen=True, slots=True)
class Proof:
    """One look at the values of all variables and slots, held against the look before it and the reports of that time."""

    step: int | None
    """`optimizer.iterations` at this look."""
    since: int | None
    """The same at the look before."""
    steps: int
    """How many steps lie between the two."""
    created: float
    seconds: float
    """What this look took."""
    variables: tuple[ProofRow, ...]
    """In the report's order."""
    slots: tuple[ProofRow, ...]
    """Those of the report's variables, in their order."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Variables and slots that changed."""
        return tuple(row.path for row in self._rows() if row.age == 0)

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Those that are the same to the bit."""
        return tuple(row.path for row in self._rows() if row.age > 0)

    @property
    def moved(self) -> tuple[str, ...]:
        """Those that changed though no op of the step writes them."""
        return tuple(row.path for row in self._rows() if row.judgement == "moved")

    @property
    def still(self) -> tuple[str, ...]:
        """Those that each step writes, and that did not change."""
        return tuple(row.path for row in self._rows() if row.judgement == "still")

    def _rows(self) -> tuple[ProofRow, ...]:
        return self.variables + self.slots


def judge_values(
    ages: Mapping[str, int], report: Report, reports: Iterable[Report]
) -> tuple[tuple[ProofRow, ...], tuple[ProofRow, ...]]:
    """Rows of the report's variables and of their slots.

    Args:
        ages: by path; a path that is missing was not looked at.
        report: the one that was in force when the window began; its order is kept.
        reports: all that were in force in the window. What any of them allows is no contradiction.
    """
    others = [index_rows(other) for other in reports if other is not report]
    variables, slots = [], []
    for row in report.variables:
        same = [row, *(found for other in others if (found := other.get(row.path)) is not None)]
        age = ages.get(row.path, NOT_LOOKED)
        variables.append(ProofRow(row.path, age, judge_variable(age, same)))
        for slot in row.slots:
            age = ages.get(slot.path, NOT_LOOKED)
            slots.append(ProofRow(slot.path, age, judge_slot(age, slot, same)))
    return tuple(variables), tuple(slots)


def index_rows(report: Report) -> dict[str, VariableReport]:
    return {row.path: row for row in report.variables}


def judge_variable(age: int, rows: Sequence[VariableReport]) -> Judgement:
    """`rows` is the variable in each of the reports."""
    if age == 0 and not any(may_change(row) for row in rows):
        return "moved"
    return "still" if age > 0 and all(must_be_written(row) for row in rows) else "agrees"


def judge_slot(age: int, slot: SlotReport, rows: Sequence[VariableReport]) -> Judgement:
    """`rows` is the variable that it belongs to in each of the reports; what one of them does not know is left open."""
    same = [found for row in rows for found in row.slots if found.path == slot.path]
    if len(same) < len(rows):
        return "agrees"
    if age == 0 and all(found.updated == "no" for found in same):
        return "moved"
    certain = all(found.updated == "yes" for found in same) and all(must_be_written(row) for row in rows)
    return "still" if age > 0 and certain else "agrees"


def may_change(row: VariableReport) -> bool:
    """Whether the step, or the end of `fit`, may change it in any way."""
    return row.updated != "no" or any(write.kind != "initial" for write in row.writes)


def must_be_written(row: VariableReport) -> bool:
    """Whether each step writes it with its gradient, in no branch."""
    gradients = [write for write in row.writes if write.kind == "gradient"]
    return row.updated == "yes" and bool(gradients) and not any(write.conditional for write in gradients)
