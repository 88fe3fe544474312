"""Each proposed fix, tried on a copy of the step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from introspect.diagnosis import diagnose
from introspect.errors import IntrospectError
from introspect.judgement import Judgement, judge, list_wanted, say_done
from introspect.records import Finding, FixResult, FixTrial, Report
from introspect.remedies import Action, Recompile, Remedy, Retrace, SetFlag, read_remedies

if TYPE_CHECKING:
    from introspect.capture.record import Capture

TRIED = ("error", "warning")
"""Severities of which something is tried even where the code has to change: a step made anew as it is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The step after some actions, or why it could not be had."""

    report: Report | None
    warnings: tuple[str, ...] = ()
    failure: str = ""


class Trials:
    """Makes the step anew for each set of actions, once."""

    def __init__(self, report: Report, make: Callable[[Sequence[Action]], Capture]) -> None:
        self.report = report
        self.anew: tuple[Action, ...] = (Recompile(),) if report.model.compiled else (Retrace(),)
        """What makes the step anew and changes nothing else."""
        self._make = make
        self._outcomes: dict[tuple[Action, ...], Outcome] = {}

    def judge(self, finding: Finding, actions: tuple[Action, ...]) -> Judgement:
        """What the step after these actions shows of a finding."""
        if actions not in self._outcomes:
            self._outcomes[actions] = self._run(actions)
        outcome = self._outcomes[actions]
        done = say_done(actions, outcome.warnings)
        if outcome.report is None:
            return Judgement(done, False, (), list_wanted(finding, self.report), "", failure=outcome.failure)
        return judge(finding, self.report, outcome.report, done)

    def _run(self, actions: tuple[Action, ...]) -> Outcome:
        try:
            capture = self._make(actions)
            return Outcome(diagnose(capture), capture.warnings)
        except IntrospectError as error:
            return Outcome(None, failure=str(error))


def try_fixes(report: Report, make: Callable[[Sequence[Action]], Capture]) -> Report:
    """The report with `verified`, `fix_result` and `trials` of each finding whose fix can be tried.

    For each remedy that a fix offers, the step is built again on an isolated copy, traced and analysed as any other;
    the model is not touched. Where the code has to change, the step is made anew as it is, and `still_not` says what
    that leaves. A report with nothing to mend costs nothing.

    Args:
        report: what `inspect` gave.
        make: gives the capture of the step of a copy after some actions.
    """
    trials, started = Trials(report, make), time.perf_counter()
    findings = tuple(_try_finding(finding, read_remedies(finding.fix), trials) for finding in report.findings)
    if findings == report.findings:
        return report
    return replace(report, findings=findings, timings=(*report.timings, ("fixes", time.perf_counter() - started)))


def _try_finding(finding: Finding, remedies: tuple[Remedy, ...], trials: Trials) -> Finding:
    """What is proposed first decides; each proposal that can be tried has a result of its own.

    Where the first is a change of code, the step is made anew as it is, to tell what stays without that. Of a step that
    does what its flags say only other flags are tried.
    """
    if finding.severity not in TRIED:
        remedies = tuple(one for one in remedies if any(isinstance(action, SetFlag) for action in one.actions or ()))
    tried = tuple(_try_remedy(finding, one.code, one.actions, trials) for one in remedies if one.actions is not None)
    if tried and remedies[0].actions is not None:
        return replace(finding, verified=tried[0].verified, fix_result=_take_result(tried[0]), trials=tried)
    if not tried and finding.severity not in TRIED:
        return finding
    first = trials.judge(finding, trials.anew)
    anew = FixResult(first.trains, first.still_not, first.tell(finding.cause))
    return replace(finding, verified=first.verified, fix_result=anew, trials=tried)


def _try_remedy(finding: Finding, code: str, actions: tuple[Action, ...], trials: Trials) -> FixTrial:
    shown = trials.judge(finding, actions)
    return FixTrial(shown.trains, shown.still_not, shown.tell(), code, shown.verified)


def _take_result(trial: FixTrial) -> FixResult:
    return FixResult(trial.trains, trial.still_not, trial.note)
