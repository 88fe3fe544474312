"""SARIF 2.1.0, as code scanning services read it: one run a report, findings at the user's file and line."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from introspect.outlets._base import Options
from introspect.outlets.prose import describe_place, describe_step, find_locations, relate_file, tell_trial
from introspect.outlets.setting import make_inert
from introspect.records import Finding, Location, Report

if TYPE_CHECKING:
    from introspect.rules import Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
LEVELS = {"error": "error", "warning": "warning", "info": "note"}
PRECISION = {"proven": "very-high", "likely": "high"}
FINGERPRINT = "introspectFinding/v1"
ROOT = "%SRCROOT%"
MOST_NAMES = 100
"""Logical locations of one result: services cut or refuse results that are much larger."""


def render_sarif(reports: Sequence[Report], options: Options) -> str:
    """The log as JSON in ASCII; equal reports give equal text."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [build_run(report) for report in reports]}
    return json.dumps(log, indent=2, allow_nan=False) + "\n"


def build_run(report: Report) -> dict[str, Any]:
    """One run: the tool with its rules, and the results."""
    rules = list_rules(report.findings)
    places = {rule["id"]: index for index, rule in enumerate(rules)}
    driver = {
        "name": "introspect",
        "semanticVersion": report.environment.introspect,
        "rules": rules,
    }
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"introspect/{make_inert(report.model.name)}/"},
        "invocations": [{"executionSuccessful": True}],
        "originalUriBaseIds": {ROOT: {"description": {"text": "The folder that introspect was run in."}}},
        "columnKind": "unicodeCodePoints",
        "results": build_results(report, places),
    }


def list_rules(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The catalogue, and whatever else a finding refers to."""
    from introspect.rules import RULES

    known = {rule.id: describe_rule(rule) for rule in RULES}
    for finding in findings:
        said = {"text": finding.name}
        texts = {"shortDescription": said, "fullDescription": said, "help": said}
        known.setdefault(finding.rule, {"id": finding.rule, "name": finding.name, **texts})
    return list(known.values())


def describe_rule(rule: Rule) -> dict[str, Any]:
    """One rule's metadata."""
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.summary},
        "help": {"text": rule.doc.strip(), "markdown": rule.doc.strip()},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"precision": PRECISION[rule.certainty], "tags": ["keras", "training"]},
    }


def build_results(report: Report, places: dict[str, int]) -> list[dict[str, Any]]:
    """A result for each finding; findings with one fingerprint are told apart by their number."""
    seen: dict[str, int] = {}
    results = []
    for finding in report.findings:
        print_ = compute_fingerprint(finding, report)
        seen[print_] = seen.get(print_, 0) + 1
        suffix = "" if seen[print_] == 1 else f":{seen[print_]}"
        result = build_result(finding, report, places[finding.rule])
        results.append({**result, "partialFingerprints": {FINGERPRINT: print_ + suffix}})
    return results


def build_result(finding: Finding, report: Report, index: int) -> dict[str, Any]:
    """Message and places of one finding."""
    places = find_locations(finding)
    related = [locate(location, note, number) for number, (location, note) in enumerate(places[1:], 1)]
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": LEVELS[finding.severity],
        "message": {"text": compose_message(finding)},
        "locations": [locate_finding(finding, report)],
        "properties": {
            "certainty": finding.certainty,
            "verified": finding.verified,
            "model": make_inert(report.model.name),
            "variables": [make_inert(path) for path in finding.variables],
        },
    }
    return {**result, "relatedLocations": related} if related else result


def compose_message(finding: Finding) -> str:
    """What is so, why, where else, and what mends it."""
    trial = tell_trial(finding)
    notes = [describe_step(step) for step in finding.evidence if step.location is None]
    parts = [finding.message, finding.cause, *notes, f"Fix: {finding.fix}" if finding.fix else ""]
    parts += [f"Tried on a copy: {trial}"] if trial else []
    return "\n\n".join("\n".join(map(make_inert, part.strip().splitlines())) for part in parts if part.strip())


def locate_finding(finding: Finding, report: Report) -> dict[str, Any]:
    """The first place in the user's code, else the model's file, and the variables as logical places."""
    place: dict[str, Any] = {}
    places = find_locations(finding)
    if places:
        place = locate(*places[0])
    elif report.model.file:
        place = {"physicalLocation": {"artifactLocation": locate_file(report.model.file)}}
    names = [*((name, "type") for name in finding.layers), *((name, "variable") for name in finding.variables)]
    if names:
        place["logicalLocations"] = [
            {"fullyQualifiedName": make_inert(name), "kind": kind} for name, kind in names[:MOST_NAMES]
        ]
    return place or {"message": {"text": make_inert(report.model.name)}}


def locate(location: Location, note: str, number: int | None = None) -> dict[str, Any]:
    """A place in a file; a line that is not known is left out."""
    physical: dict[str, Any] = {"artifactLocation": locate_file(location.file)}
    if location.line > 0:
        physical["region"] = {"startLine": location.line}
    place: dict[str, Any] = {"physicalLocation": physical}
    if number is not None:
        place["id"] = number
    text = note or describe_place(location)
    return {**place, "message": {"text": make_inert(text)}}


def locate_file(file: str) -> dict[str, str]:
    """A file below the current folder by its path from there, any other by its URI."""
    relative = relate_file(file)
    if os.path.isabs(relative):
        printable = make_inert(relative)
        return {"uri": Path(printable).as_uri()}
    return {"uri": quote(make_inert(relative).replace(os.sep, "/")), "uriBaseId": ROOT}


def compute_fingerprint(finding: Finding, report: Report) -> str:
    """What stays the same when code moves or words change: rule, model, variables and layers."""
    parts = [finding.rule, report.model.name, *sorted(finding.variables), "", *sorted(finding.layers)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
