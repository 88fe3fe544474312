"""The report for a terminal: verdict, layer tree, findings in full, one line at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from introspect.devices import shorten_device
from introspect.outlets._base import Options
from introspect.outlets.finding_lines import lay_finding
from introspect.outlets.lines import Line, Span, defuse_line, get_glyph, lay_field, lay_part
from introspect.outlets.measured_lines import lay_measured
from introspect.outlets.prose import (
    describe_model,
    describe_occasion,
    describe_source,
    describe_trace,
    describe_versions,
)
from introspect.outlets.setting import Setting, choose_setting, count, wrap
from introspect.outlets.tree_lines import lay_tree
from introspect.outlets.verdict import count_findings, judge_report, state_verdict, tell_score, tell_time
from introspect.records import Report, ReportDiff

if TYPE_CHECKING:
    from rich.console import Console

MOST_TRACES = 4


def render_terminal(reports: Sequence[Report], options: Options) -> str:
    """The reports as plain text without escape codes; ends with a newline."""
    return "".join(f"{''.join(span.text for span in line).rstrip()}\n" for line in lay_reports(reports, options))


def print_reports(reports: Sequence[Report], options: Options, console: Console) -> None:
    """The same with the console's colours."""
    from rich.text import Text

    styles = {
        "error": "bold red",
        "warning": "bold yellow",
        "differs": "bold yellow",
        "unknown": "bold magenta",
        "info": "bold blue",
        "agrees": "green",
        "strong": "bold",
        "quiet": "dim",
        "code": "cyan",
        "": "",
    }
    for line in lay_reports(reports, options):
        text = Text.assemble(*((span.text, styles[span.style]) for span in line), no_wrap=True, overflow="ignore")
        text.rstrip()
        console.print(text, soft_wrap=True, highlight=False)


def lay_reports(reports: Sequence[Report], options: Options) -> Iterator[Line]:
    """Lines of all reports, a rule between two."""
    setting = choose_setting(options)
    for index, report in enumerate(reports):
        if index:
            yield from ((), (Span(setting.glyphs.rule * setting.width, "quiet"),), ())
        yield from map(defuse_line, lay_report(report, setting))


def lay_report(report: Report, setting: Setting) -> Iterator[Line]:
    """Lines of one report."""
    yield from lay_head(report, setting)
    yield ()
    yield from lay_verdict(report, setting)
    tree = list(lay_tree(report, setting))
    yield from ((), *tree) if tree else ()
    measured = list(lay_measured(report, setting))
    yield from ((), *measured) if measured else ()
    for finding in report.findings:
        yield ()
        yield from lay_finding(finding, setting)
    yield ()
    yield from lay_summary(report, setting)


def lay_head(report: Report, setting: Setting) -> Iterator[Line]:
    """Which model, which step, which versions."""
    devices = ", ".join(dict.fromkeys(shorten_device(device) for device in report.environment.devices))
    yield from lay_field("model", describe_model(report.model), setting, "strong")
    yield from lay_field("step", describe_source(report), setting)
    yield from lay_traces(report, setting)
    versions = describe_versions(report) + (f"; {devices}" if devices else "")
    yield from lay_field("with", versions, setting, "quiet")
    yield from lay_field("made", describe_occasion(report), setting)
    for warning in report.environment.warnings:
        yield from lay_field("note", warning, setting)


def lay_traces(report: Report, setting: Setting) -> Iterator[Line]:
    """The traces that a step can still use; one alone needs no more than its signature."""
    traces = report.traces if setting.full else report.traces[:MOST_TRACES]
    for trace in traces:
        current = "current: " if trace.current and len(report.traces) > 1 else ""
        signature = trace.signature if setting.full else setting.clip(setting.show(trace.signature), setting.width)
        yield from lay_field("trace", f"{current}{describe_trace(trace)}; {signature}", setting)
    if len(traces) < len(report.traces):
        more = f"{setting.glyphs.more} and {count(len(report.traces) - len(traces), 'more trace')}"
        yield from lay_field("", more, setting, "quiet")


def lay_verdict(report: Report, setting: Setting) -> Iterator[Line]:
    """The verdict with the mark of the worst finding."""
    status = judge_report(report)
    lead = get_glyph(status, setting)
    for line in wrap(setting.show(state_verdict(report)), setting.width - 2):
        yield Span(f"{lead} ", status), Span(line, "strong")
        lead = " "


def lay_summary(report: Report, setting: Setting) -> Iterator[Line]:
    """The last line: findings, score, time."""
    taken = f" in {tell_time(report)}" if report.timings else ""
    worst = report.findings[0].severity if report.findings else judge_report(report)
    text = f"{count_findings(report.findings)}{taken} {setting.glyphs.dot} {tell_score(report)}"
    lead = f"{get_glyph(worst, setting)} "
    for line in wrap(setting.show(text), setting.width - 2):
        yield Span(lead, worst), Span(line, "strong")
        lead = "  "


def render_diff_text(diff: ReportDiff, options: Options) -> str:
    """What changed between two reports, equal changes in one paragraph."""
    setting = choose_setting(options)
    lines = [defuse_line(line) for line in lay_diff(diff, setting)] or [(Span("nothing changed"),)]
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def lay_diff(diff: ReportDiff, setting: Setting) -> Iterator[Line]:
    """Findings that came and went, variables that came and went, changes grouped by what they are."""
    for sign, findings in (("+", diff.findings_added), ("-", diff.findings_removed)):
        for finding in findings:
            lead = f"{finding.rule} {finding.name}: {finding.message}"
            yield from lay_part(sign, [(False, lead)], setting)
    for sign, names in (("+", diff.variables_added), ("-", diff.variables_removed)):
        if names:
            yield from lay_part(
                sign, [(False, f"{count(len(names), 'variable')}: {setting.list_some(names)}")], setting
            )
    groups: dict[tuple[str, str | None, str | None], list[str]] = {}
    for change in diff.changes:
        groups.setdefault((change.field, change.before, change.after), []).append(change.variable)
    for (name, before, after), paths in groups.items():
        none = setting.glyphs.none
        change_text = f"{name}: {before or none} {setting.glyphs.arrow} {after or none}"
        text = f"{change_text} for {count(len(paths), 'variable')}: {setting.list_some(paths)}"
        yield from lay_part("~", [(False, text)], setting)
