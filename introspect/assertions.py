"""Assertions for test suites: what must train, and what must not change; the failure message is the finding."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from introspect.records import Finding, Report, TraceReport, VariableReport

HARMLESS = frozenset({"initial", "state"})
"""Writes that a frozen variable may have: its own creation, counters and seeds."""
NO_WEIGHTS = frozenset({"statistics", "state", "initial"})
MOST_NAMES = 5

Judge = Callable[[VariableReport, TraceReport | None], str | None]


def assert_trains(model: Any, *patterns: str, data: Any = None) -> Report:
    """Assert that the compiled step updates each matching variable by its gradient.

    Patterns are globs over variable paths, where `*` also matches `/`; the path of a layer stands for all variables at
    and below it. Variables that no optimizer could train (BatchNorm's statistics, seeds, counters) are passed over
    unless a pattern is their own path.

    Args:
        model: what `introspect.inspect` takes, or a report.
        data: what `fit` will be given; then the trace that it would use is judged, without it each trace.

    Returns:
        The report.

    Raises:
        AssertionError: a variable does not train, or a pattern matches nothing; the message holds the finding.
        IntrospectError: the model cannot be analysed.
    """
    __tracebackhide__ = True
    report = obtain_report(model, data)
    rows = match_all(report, patterns, "assert_trains")
    require(report, weights_of(rows, patterns), judge_training, "do not train", choose_trace(report, data))
    return report


def assert_frozen(model: Any, *patterns: str, data: Any = None) -> Report:
    """Assert that the compiled step leaves each matching variable as it is, by gradient or by any other write.

    Patterns, arguments, result and errors are those of `assert_trains`; counters and seeds may move.
    """
    __tracebackhide__ = True
    report = obtain_report(model, data)
    rows = match_all(report, patterns, "assert_frozen")
    require(report, rows, judge_rest, "do not stay as they are", choose_trace(report, data))
    return report


def obtain_report(model: Any, data: Any = None) -> Report:
    """The report itself, or that of the model."""
    if isinstance(model, Report):
        return model
    from introspect.api import inspect

    return inspect(model, data=data)


def choose_trace(report: Report, data: Any) -> TraceReport | None:
    """The trace that `data` would use; None stands for all."""
    if data is None:
        return None
    return next((trace for trace in report.traces if trace.current), None)


def match_all(report: Report, patterns: tuple[str, ...], caller: str) -> list[VariableReport]:
    """The rows that any pattern matches, in the report's order.

    Raises:
        TypeError: there is no pattern, or one is no text.
        AssertionError: a pattern matches nothing.
    """
    __tracebackhide__ = True
    if not patterns:
        raise TypeError(f"{caller} needs at least one pattern, such as 'head/*'")
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"{caller}: {pattern!r} is no pattern; pass texts, each by itself, such as 'head/*'")
    parents = {layer.path: layer.parent for layer in report.layers}
    names = {row.path: list(name_places(row, parents)) for row in report.variables}
    for pattern in patterns:
        if not any(matches(pattern, places) for places in names.values()):
            raise AssertionError(describe_no_match(pattern, report))
    return [row for row in report.variables if any(matches(pattern, names[row.path]) for pattern in patterns)]


def matches(pattern: str, places: Iterable[str]) -> bool:
    """Whether the glob fits any of the places; a slash at its end is of no account."""
    return any(fnmatchcase(place, pattern.rstrip("/") or pattern) for place in places)


def name_places(row: VariableReport, parents: dict[str, str | None]) -> Iterator[str]:
    """The variable's path, its path below its layer, and the paths of the layers that hold it.

    Each also without the name of the model that it begins with, and a name of tf_keras without its `:0`.
    """
    path, _, output = row.path.rpartition(":")
    path = path if output.isdecimal() else row.path
    layers = list(climb(row.layer, parents))
    below = f"{layers[0]}/{path.rpartition('/')[2]}" if layers else path
    root = f"{layers[-1]}/" if layers else ""
    for place in (row.path, path, below, *layers):
        yield place
        if root and place.startswith(root):
            yield place[len(root) :]


def climb(layer: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    """A layer and those that hold it, up to the root."""
    seen: set[str] = set()
    while layer is not None and layer not in seen:
        seen.add(layer)
        yield layer
        layer = parents.get(layer)


def describe_no_match(pattern: str, report: Report) -> str:
    """Which paths are near a pattern that matches nothing."""
    known = [row.path for row in report.variables] + [layer.path for layer in report.layers]
    near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4) or known[:3]
    there = f"near: {', '.join(near)}" if near else "the model has no variables"
    return f"pattern {pattern!r} matches no variable and no layer of {report.model.name}; {there}"


def weights_of(rows: list[VariableReport], patterns: tuple[str, ...]) -> list[VariableReport]:
    """Rows that an optimizer could train, and those named by their own path; all of them where none is a weight."""
    return [row for row in rows if row.path in patterns or is_weight(row)] or rows


def is_weight(row: VariableReport) -> bool:
    """Whether a variable is meant to be trained by gradients, frozen or not."""
    if row.expected:
        return True
    kinds = {write.kind for write in row.writes}
    if kinds and kinds <= NO_WEIGHTS:
        return False
    leaf = row.path.rpartition("/")[2].partition(":")[0]
    return not (row.dtype.startswith(("int", "uint", "bool", "string")) or leaf.startswith(("moving_", "seed_gen")))


def judge_training(row: VariableReport, trace: TraceReport | None) -> str | None:
    """What keeps a variable from counting as trained; None if it trains."""
    if row.updated == "unknown":
        return f"cannot be decided: {row.reason or 'no reason given'}"
    if trace is not None:
        return None if row.path in trace.updated else "is not updated by the trace that the data would use"
    if row.updated == "some":
        return "is updated in some traces only; say which one with data="
    if row.updated == "yes":
        return None
    if row.expected:
        return "is trainable, and the compiled step does not update it"
    by = f" by {row.decided_by}" if row.decided_by and row.decided_by != row.path else ""
    return f"is frozen{by}: set trainable = True and compile again"


def judge_rest(row: VariableReport, trace: TraceReport | None) -> str | None:
    """How a variable changes; None if it stays as it is."""
    writes = [write for write in row.writes if trace is None or write.trace in (trace.id, None)]
    kinds = sorted({write.kind for write in writes} - HARMLESS)
    trained = row.updated in ("yes", "some") if trace is None else row.path in trace.updated
    if kinds or trained:
        return f"is written ({', '.join(kinds or ['gradient'])})"
    return f"cannot be decided: {row.reason or 'no reason given'}" if row.updated == "unknown" else None


def require(report: Report, rows: list[VariableReport], judge: Judge, fault: str, trace: TraceReport | None) -> None:
    """Raise AssertionError if any row is at fault."""
    __tracebackhide__ = True
    reasons = {row.path: judge(row, trace) for row in rows}
    faults = [row for row in rows if reasons[row.path] is not None]
    if not faults:
        return
    names = ", ".join(row.path for row in faults[:MOST_NAMES])
    more = f" and {len(faults) - MOST_NAMES} more" if len(faults) > MOST_NAMES else ""
    lines = [f"{len(faults)} of {len(rows)} variables {fault}: {names}{more}"]
    named = find_findings(report, faults)
    lines += [line for finding in named for line in ("", *describe_finding(finding))]
    told = {path for finding in named for path in finding.variables}
    lines += [f"{row.path} {reasons[row.path]}" for row in faults if row.path not in told][:MOST_NAMES]
    raise AssertionError("\n".join(lines))


def find_findings(report: Report, rows: Iterable[VariableReport]) -> list[Finding]:
    """The findings that name any of the rows, most severe first; mere notes only where there is nothing else."""
    paths = {row.path for row in rows}
    named = [finding for finding in report.findings if paths.intersection(finding.variables)]
    return [finding for finding in named if finding.severity != "info"] or named


def describe_finding(finding: Finding) -> Iterator[str]:
    """Message, cause, places and fix."""
    from introspect.outlets.prose import describe_place, find_locations, tell_trial

    yield f"{finding.rule} {finding.name}: {finding.message}"
    if finding.cause:
        yield f"why: {finding.cause}"
    for location, note in find_locations(finding):
        yield f"at {describe_place(location)}" + (f": {note}" if note else "")
    if finding.fix:
        yield f"fix: {finding.fix}"
    trial = tell_trial(finding)
    if trial:
        yield f"tried on a copy: {trial}"
