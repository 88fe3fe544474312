"""Annotations for GitHub Actions: one workflow command a finding, at the user's file and line."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.outlets._base import Options
from introspect.outlets.prose import find_locations, relate_file, tell_trial
from introspect.outlets.setting import make_inert
from introspect.outlets.verdict import count_findings, state_verdict
from introspect.records import Finding, Report

COMMANDS = {"error": "error", "warning": "warning", "info": "notice"}


def render_github(reports: Sequence[Report], options: Options) -> str:
    """All findings as commands, and a plain line a report that says how it stands."""
    lines = []
    for report in reports:
        lines += [write_command(finding, report) for finding in report.findings]
        summary = f"{report.model.name}: {count_findings(report.findings)}. {state_verdict(report)}"
        lines.append("introspect: " + make_inert(summary).replace("##", "#\\x23"))
    return "".join(f"{line}\n" for line in lines)


def write_command(finding: Finding, report: Report) -> str:
    """`::error file=…,line=…,title=…::message`."""
    places = find_locations(finding)
    properties = {}
    if places:
        location, _ = places[0]
        properties = {"file": relate_file(location.file).replace("\\", "/"), "line": str(max(location.line, 1))}
    properties["title"] = f"{finding.rule} {finding.name}"
    said = ",".join(f"{key}={escape_property(make_inert(value))}" for key, value in properties.items())
    return f"::{COMMANDS[finding.severity]} {said}::{escape_data(compose_message(finding, report))}"


def compose_message(finding: Finding, report: Report) -> str:
    """Message, cause, fix, trial and model, each on a line of its own."""
    parts = [
        ("", finding.message),
        ("Why: ", finding.cause),
        ("Fix: ", finding.fix),
        ("Tried on a copy: ", tell_trial(finding) or ""),
        ("Model: ", report.model.name),
    ]
    return "\n".join(lead + make_inert_lines(text) for lead, text in parts if text.strip())


def make_inert_lines(text: str) -> str:
    """Each line made inert, the line breaks kept."""
    return "\n".join(make_inert(line) for line in text.strip().splitlines())


def escape_data(text: str) -> str:
    """The escapes that the runner knows in a message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """The escapes that the runner knows in a property."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
