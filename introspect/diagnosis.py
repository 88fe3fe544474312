"""From a capture to a report: evidence, rows, findings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from introspect.capture.record import Capture
from introspect.collector import collector_paused
from introspect.evidence.collect import collect_trace
from introspect.facts import Facts
from introspect.records import SEVERITIES, Finding, Report, VariableReport
from introspect.report.build import build_report, build_rows
from introspect.rules import RULES, Rule


def diagnose(capture: Capture, rules: Sequence[Rule] = RULES) -> Report:
    """The report of one capture. Pure: reads the capture and nothing else.

    Raises:
        GraphError: a captured graph does not hold together.
    """
    with collector_paused():
        return _diagnose(capture, rules)[1]


def _diagnose(capture: Capture, rules: Sequence[Rule]) -> tuple[Facts, Report]:
    started = time.perf_counter()
    probes = capture.probes or (None,) * len(capture.traces)
    evidence = tuple(collect_trace(capture, t, probe) for t, probe in zip(capture.traces, probes, strict=True))
    collected = time.perf_counter()
    index, rows = build_rows(capture, evidence)
    facts = Facts(capture, evidence, rows, index)
    findings = run_rules(facts, rules)
    flow = facts.draw()
    timings = (
        *capture.timings,
        ("evidence", collected - started),
        ("rules", time.perf_counter() - collected),
    )
    return facts, build_report(capture, evidence, _with_findings(rows, findings), findings, flow, timings)


def run_rules(facts: Facts, rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """All findings, most severe first, then in the catalogue's order."""
    found = [finding for rule in rules for finding in rule.check(facts)]
    if facts.capture.followed is not None:  # of one batch's way alone
        found = [replace(one, certainty="likely") if one.severity != "info" else one for one in found]
    return tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))


def _with_findings(rows: tuple[VariableReport, ...], findings: tuple[Finding, ...]) -> tuple[VariableReport, ...]:
    named: dict[str, list[str]] = {}
    for finding in findings:
        for path in finding.variables:
            named.setdefault(path, []).append(finding.rule)
    return tuple(
        replace(row, findings=tuple(dict.fromkeys(named[row.path]))) if row.path in named else row for row in rows
    )
