"""Each proposed fix, tried on a copy of the step: compiled again as it was, with the flags of now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from introspect.diagnosis import diagnose
from introspect.errors import IntrospectError
from introspect.records import Finding, FixResult, Report, VariableReport

TRIED = ("error", "warning")
"""Severities whose fix is tried."""


def try_fixes(model: Any, report: Report, data: Any = None, batch_size: int | None = None) -> Report:
    """The report with `verified` and `fix_result` of each error and warning filled in.

    The step is built again on an isolated copy (flags and compile settings as they are, new optimizers), traced and
    analysed as any other; the model is not touched. Where code has to change nothing can be tried but compiling again,
    and `still_not` says what that leaves. A report without errors and warnings costs nothing.

    Args:
        model: the Keras model that the report is of.
        report: what `inspect` gave.
        data, batch_size: as they were given to `inspect`.

    Raises:
        IntrospectError: `model` is no compiled Keras model.
    """
    from introspect.capture.trial import capture_recompiled

    if not any(finding.severity in TRIED for finding in report.findings) or not report.model.compiled:
        return report
    started = time.perf_counter()
    try:
        trial = diagnose(capture_recompiled(model, data, batch_size))
    except IntrospectError as error:
        findings = tuple(_refuse(finding, str(error)) for finding in report.findings)
    else:
        findings = tuple(_judge(finding, trial) for finding in report.findings)
    timings = (*report.timings, ("fixes", time.perf_counter() - started))
    return replace(report, findings=findings, timings=timings)


def _refuse(finding: Finding, reason: str) -> Finding:
    if finding.severity not in TRIED:
        return finding
    return replace(finding, verified=False, fix_result=FixResult((), finding.variables, reason))


def _judge(finding: Finding, trial: Report) -> Finding:
    """Whether the mismatch is gone from the step of the trial."""
    if finding.severity not in TRIED:
        return finding
    rows = {row.path: row for row in trial.variables}
    named = [rows[path] for path in finding.variables if path in rows]
    left = _find_left(finding, trial)
    wanted = [row for row in named if row.expected]
    trains = tuple(row.path for row in wanted or trial.variables if row.updated == "yes")
    still_not = tuple(row.path for row in wanted if row.updated != "yes")
    verified = not left and all(_agrees(row) for row in named)
    note = _say_mended(named) if verified else _say_left(finding, left, named)
    return replace(finding, verified=verified, fix_result=FixResult(trains, still_not, note))


def _find_left(finding: Finding, trial: Report) -> list[Finding]:
    """What the trial still finds wrong with the variables named; or the same once more, where none is named."""
    names = set(finding.variables)
    return [
        other
        for other in trial.findings
        if other.severity in TRIED
        and (names.intersection(other.variables) or (other.rule == finding.rule and not names))
    ]


def _agrees(row: VariableReport) -> bool:
    return row.updated == ("yes" if row.expected else "no")


def _say_mended(named: Sequence[VariableReport]) -> str:
    frozen = sum(not row.expected for row in named)
    said = "compiled again, with a new optimizer"
    if not frozen:
        return said
    return f"{said}; {'1 variable stays as it is' if frozen == 1 else f'{frozen} variables stay as they are'}"


def _say_left(finding: Finding, left: Sequence[Finding], named: Sequence[VariableReport]) -> str:
    said = "compiling again does not mend it"
    reasons = [row.reason for row in named if row.reason and row.updated == "unknown"]
    if reasons:
        return f"{said}, as far as can be told: {reasons[0]}"
    causes = [other.cause or other.message for other in left]
    if not causes or causes[0] == finding.cause:
        return f"{said}; the code has to change"
    return f"{said}: {causes[0]}"
