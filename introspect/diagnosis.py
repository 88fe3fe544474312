"""From a capture to a report: evidence, rows, findings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from introspect.capture.record import Anew, Asked, Capture, KeptTraces, TapeValue
from introspect.collector import collector_paused
from introspect.errors import IntrospectError, StepError
from introspect.evidence.collect import collect_trace
from introspect.facts import Facts
from introspect.records import SEVERITIES, Finding, Report, VariableReport
from introspect.report.build import build_report, build_rows
from introspect.rules import RULES, Rule
from introspect.rules._assigned import describe_renewed
from introspect.rules._doubt import doubts_age, doubts_calls, doubts_loop, is_doubtful


def diagnose(capture: Capture, rules: Sequence[Rule] = RULES) -> Report:
    """The report of one capture. Pure: reads the capture and nothing else.

    Raises:
        GraphError: a captured graph does not hold together.
    """
    with collector_paused():
        return _diagnose(capture, rules)[1]


def diagnose_surely(capture: Capture, rules: Sequence[Rule], renew: Callable[[], Capture]) -> Report:
    """The same, with a second step asked where a trace goes against the flags and only a new one would tell why.

    Args:
        capture: of a model's step.
        renew: gives the capture of a step that is traced now; costs one trace, and is called at most once.
    """
    facts, report = _diagnose_first(capture, rules, is_doubtful)
    if facts is None:
        return report
    started = time.perf_counter()
    try:
        later = renew()
    except StepError as error:
        with collector_paused():
            return _diagnose(replace(capture, anew_failure=str(error)), rules)[1]
    except IntrospectError:  # it cannot be looked at: the report leaves both causes open
        return report
    with collector_paused():
        # The flags of tf_keras' compile explain the rest, but for what a layer's call changes whatever its flag says.
        compared = not facts.flags_of_compile or doubts_calls(facts)
        second = _diagnose(later, ())[0]
        anew = _compare(capture, second) if compared else None
        timings = (*capture.timings, ("second step", time.perf_counter() - started))
        asked = _place_asked(facts, second)
        renewed = describe_renewed(second)
        sure = replace(
            capture,
            anew=anew,
            asked=asked,
            renewed=renewed,
            kept=_find_kept(capture, second),
            step_flags=later.step_flags,
            timings=timings,
        )
        return _diagnose(sure, rules)[1]


def _diagnose_first(
    capture: Capture, rules: Sequence[Rule], doubts: Callable[[Facts], bool]
) -> tuple[Facts | None, Report]:
    """The report, with what is known beside it where that leaves a doubt."""
    with collector_paused():
        facts, report = _diagnose(capture, rules)
        if doubts(facts):
            return facts, report
        del facts  # else the collector would walk it first
        return None, report


def diagnose_loop(capture: Capture, rules: Sequence[Rule], renew: Callable[[], Capture]) -> Report:
    """The same of a custom loop's step: asked anew where it does not use the optimizer that it was said to train with, or
    does otherwise than the flags say, which it may do at any age.
    """
    facts, report = _diagnose_first(capture, rules, doubts_loop)
    if facts is None:
        return report
    try:
        later = renew()
    except IntrospectError:  # it cannot be looked at: the report leaves both causes open
        return report
    with collector_paused():
        second = _diagnose(later, ())[0]
        sure = replace(capture, renewed=describe_renewed(second))
        if doubts_age(facts):
            asked = _place_asked(facts, second)
            sure = replace(
                sure,
                anew=_compare(capture, second),
                asked=asked,
                step_flags=later.step_flags,
                kept=_find_kept(capture, second),
            )
        return _diagnose(sure, rules)[1]


def _compare(capture: Capture, later: Facts) -> Anew:
    """What the second step does, by the variables of the first capture."""
    current, trains, writes = later.current, set(), set()
    for index, place in _pair(capture, later.capture).items():
        if current is None:
            continue
        if current.updates(index):
            trains.add(place)
        if index in current.moved:
            writes.add(place)
    return Anew(frozenset(trains), frozenset(writes), _list_aside(capture, later))


def _find_kept(capture: Capture, later: Facts) -> KeptTraces:
    """Older traces that the second step goes on with, by the variables of the first capture."""
    current, places = later.current, _pair(capture, later.capture).items()
    if current is None or not current.trace.kept:
        return KeptTraces()
    written = {place: current.kept_writers(index) for index, place in places if current.writes.get(index)}
    read = {place: current.kept_tapes(index) for index, place in places if place not in written}
    writers, tapes = (tuple((place, names) for place, names in found.items() if names) for found in (written, read))
    return KeptTraces(writers, tapes)


def _list_aside(capture: Capture, later: Facts) -> frozenset[int]:
    """Untracked variables, by their names, that the second step shows to be no part of what it differentiates."""
    places: dict[str, list[int]] = {}
    for index, variable in enumerate(capture.variables):
        if variable.role == "untracked":
            places.setdefault(variable.path, []).append(index)
    reach = {variable.path: False for variable in later.capture.variables}
    for index, variable, _ in later.pairs:
        reach[variable.path] |= variable.role != "untracked" or later.may_reach_loss(index)
    found = (indices for path, indices in places.items() if not reach.get(path, True))
    return frozenset(index for indices in found for index in indices)


def _pair(capture: Capture, later: Capture) -> dict[int, int]:
    """The model's variables in a later capture, and where they stand in the first."""
    places = {variable.path: index for index, variable in enumerate(capture.variables) if variable.role == "model"}
    own = ((index, variable) for index, variable in enumerate(later.variables) if variable.role == "model")
    return {index: places[variable.path] for index, variable in own if variable.path in places}


def _place_asked(facts: Facts, later: Facts) -> Asked | None:
    """What the second step asks its tapes for, by the variables and, where it is alike, the values of the first capture."""
    asked, places = later.capture.asked, _pair(facts.capture, later.capture)
    if asked is None:
        return None
    variables, given, unsure = (
        frozenset(places[index] for index in found if index in places)
        for found in (asked.variables, asked.given, asked.unsure)
    )
    if facts.flags_of_compile:  # of those whose flag was set since, the second step tells nothing of the first
        unsure |= {i for i, one in enumerate(facts.capture.variables) if one.compiled not in (None, one.expected)}
    targets = _place_values(facts, later, asked.targets) or ()
    silent = None if asked.silent is None else _place_values(facts, later, asked.silent)
    return Asked(variables, given, unsure, asked.places, targets=targets, silent=silent)


def _place_values(facts: Facts, later: Facts, values: tuple[TapeValue, ...]) -> tuple[TapeValue, ...] | None:
    """These values in the first capture's current trace; None where one of their functions is not the same there."""
    if facts.current is None or later.current is None:
        return None
    found: list[TapeValue] = []
    for value in values:
        home = next((body for body in later.current.flow.bodies if body.name == value.function), None)
        place = home.names.find(value.node) if home is not None else -1
        if home is None or place < 0:
            return None
        built = [body for body in facts.current.flow.bodies if body.is_built_like(home)]
        alike = built if len(built) == 1 else [body for body in built if body.is_like(home)]
        if len(alike) != 1:
            return None
        found.append(replace(value, function=alike[0].name, node=alike[0].names[place], variables=()))
    return tuple(found)


def _diagnose(capture: Capture, rules: Sequence[Rule]) -> tuple[Facts, Report]:
    started = time.perf_counter()
    probes = capture.probes or (None,) * len(capture.traces)
    evidence = tuple(collect_trace(capture, t, probe) for t, probe in zip(capture.traces, probes, strict=True))
    feeds = tuple(collect_trace(capture, function, None) for function in capture.feeds)
    collected = time.perf_counter()
    index, rows = build_rows(capture, evidence, feeds)
    facts = Facts(capture, evidence, rows, index, feeds)
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
