"""What changed between two reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from introspect.records import Change, Finding, Report, ReportDiff, SlotReport, VariableReport


def diff_reports(earlier: Report, later: Report) -> ReportDiff:
    """Changes from `earlier` to `later`: variables in the later report's order, fields in the order of FIELDS.

    A finding is the same if its rule, severity, variables and layers are; another wording is no change. Numbers of a
    measured step are not compared: they differ from step to step; what a run alone shows, only where both were run.
    """
    before, after = index_rows(earlier), index_rows(later)
    return ReportDiff(
        changes=tuple(change for path in after if path in before for change in compare(before[path], after[path])),
        findings_added=subtract_findings(later.findings, earlier.findings),
        findings_removed=subtract_findings(earlier.findings, later.findings),
        variables_added=tuple(path for path in after if path not in before),
        variables_removed=tuple(path for path in before if path not in after),
    )


def index_rows(report: Report) -> dict[str, VariableReport]:
    """Rows by path, in their order."""
    return {row.path: row for row in report.variables}


def compare(before: VariableReport, after: VariableReport) -> Iterator[Change]:
    """The fields in which two rows of one variable differ."""
    for name, read in FIELDS.items():
        old, new = read(before), read(after)
        if old != new and (name not in OF_A_RUN or None not in (old, new)):
            yield Change(after.path, name, old, new)


def say_bool(value: bool) -> str:
    """`yes` or `no`."""
    return "yes" if value else "no"


def say_slots(slots: Iterable[SlotReport]) -> str | None:
    """Each slot with whether the step updates it."""
    return ", ".join(f"{slot.name} {slot.updated}" for slot in slots) or None


def say_writes(row: VariableReport) -> str | None:
    """The kinds of writes, each once."""
    return ", ".join(sorted({write.kind for write in row.writes})) or None


def say_placed(row: VariableReport) -> str | None:
    """The devices on which the executed graph writes the variable."""
    return ", ".join(sorted({write.placed for write in row.writes if write.placed})) or None


FIELDS: dict[str, Callable[[VariableReport], str | None]] = {
    "trainable": lambda row: say_bool(row.trainable),
    "expected": lambda row: say_bool(row.expected),
    "updated": lambda row: row.updated,
    "gradient": lambda row: row.gradient,
    "writes": say_writes,
    "optimizer": lambda row: row.optimizer,
    "slots": lambda row: say_slots(row.slots),
    "device": lambda row: row.device,
    "placed": say_placed,
    "gradient_device": lambda row: row.gradient_device,
    "layer": lambda row: row.layer,
    "shape": lambda row: str(row.shape),
    "dtype": lambda row: row.dtype,
    "tracked": lambda row: say_bool(row.tracked),
    "decided_by": lambda row: "its own flag" if row.decided_by == row.path else row.decided_by,
    "reason": lambda row: row.reason,
}
"""What is compared, and how it is said."""

OF_A_RUN = ("placed", "gradient_device")
"""What the executed graph alone tells."""


def subtract_findings(findings: Iterable[Finding], known: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that `known` does not hold, each as often as it is missing."""
    left = Counter(map(identify, known))
    new = []
    for finding in findings:
        key = identify(finding)
        if left[key]:
            left[key] -= 1
        else:
            new.append(finding)
    return tuple(new)


def identify(finding: Finding) -> tuple[object, ...]:
    """What makes two findings the same."""
    return finding.rule, finding.severity, frozenset(finding.variables), frozenset(finding.layers)
