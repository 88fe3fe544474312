"""What a rule is: one file that holds its documentation, its id and its check."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from introspect.records import Certainty, EvidenceStep, Finding, Severity

if TYPE_CHECKING:
    from introspect.facts import Facts

HEADINGS = ("What it does", "Why it matters", "Cause", "Fix", "Example")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the catalogue.

    `doc` is the module's docstring: a first line that says it in one sentence, then the sections of HEADINGS.
    """

    id: str
    name: str
    severity: Severity
    """The most severe that it reports."""
    certainty: Certainty
    doc: str
    check: Callable[[Facts], Iterable[Finding]]

    @property
    def summary(self) -> str:
        """The first line of the documentation."""
        return self.doc.strip().splitlines()[0]

    def finding(
        self,
        *,
        variables: tuple[str, ...],
        layers: tuple[str, ...],
        message: str,
        cause: str,
        fix: str,
        evidence: tuple[EvidenceStep, ...] = (),
        severity: Severity | None = None,
        certainty: Certainty | None = None,
    ) -> Finding:
        """A finding of this rule; of the rule's own severity and certainty where none are given."""
        return Finding(
            rule=self.id,
            name=self.name,
            severity=severity or self.severity,
            certainty=certainty or self.certainty,
            variables=variables,
            layers=layers,
            message=message,
            cause=cause,
            fix=fix,
            evidence=evidence,
        )
