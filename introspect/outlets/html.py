"""One HTML file that needs nothing else: no script, no font, no request; readable as a mail attachment."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from introspect.devices import shorten_device
from introspect.outlets._base import Options
from introspect.outlets.html_tree import draw_folded, draw_status, draw_tree, draw_variables
from introspect.outlets.markup import Markup, join, mark_code, tag
from introspect.outlets.prose import (
    describe_model,
    describe_occasion,
    describe_place,
    describe_source,
    describe_step,
    describe_trace,
    describe_trial,
    describe_versions,
    end_sentence,
    list_further,
    split_code,
    split_paragraphs,
    tell_further,
)
from introspect.outlets.setting import count, number
from introspect.outlets.verdict import capitalise, count_findings, judge_report, state_verdict, tell_score
from introspect.records import EvidenceStep, Finding, Report

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
OPEN_NAMES = 8
MOST_NAMES = 500


def render_html(reports: Sequence[Report], options: Options) -> str:
    """A whole page with one section a report."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", ", ".join(report.model.name for report in reports) + " \N{EN DASH} introspect"),
        tag("style", Markup(read_style())),
    )
    body = tag("body", tag("main", *(draw_report(report) for report in reports), class_="introspect introspect-page"))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


@cache
def read_style() -> str:
    """The style sheet; each of its rules is scoped to `.introspect`, but for those on the page as a whole."""
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def draw_report(report: Report, most: int | None = None) -> Markup:
    """One report: verdict, findings, tree, variables; with more than `most` variables the tree is folded text."""
    anchor = f"introspect-{compute_anchor(report)}"
    sections = [draw_head(report)]
    if report.findings:
        names = name_findings(report.findings, anchor)
        cards = map(draw_finding, report.findings, names)
        sections.append(draw_section("Findings", join(*cards)))
    if most is not None and len(report.variables) > most:
        sections.append(draw_section("Layers", draw_folded(report)))
    elif report.variables:
        sections.append(draw_section("Layers", draw_tree(report)))
        sections.append(draw_section("Variables", draw_variables(report, anchor)))
    return tag("article", *sections)


def name_findings(findings: Iterable[Finding], anchor: str) -> Iterator[str]:
    """The id of each card; a rule's first finding has the plain one, which the table of variables links to."""
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.rule] += 1
        again = f"-{seen[finding.rule]}" if seen[finding.rule] > 1 else ""
        yield f"{anchor}-{finding.rule}{again}"


def compute_anchor(report: Report) -> str:
    """A name for links inside one report, the same each time it is drawn."""
    facts = repr((report.model, report.created, report.step, len(report.variables)))
    return hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def draw_section(title: str, content: Markup) -> Markup:
    """A part of the report under its heading."""
    return tag("section", tag("h2", title), content)


def draw_head(report: Report) -> Markup:
    """The verdict, how many findings of which kind, and what was inspected."""
    status = judge_report(report)
    score = f"{capitalise(count_findings(report.findings))}; {tell_score(report)}."
    verdict = tag("h1", draw_status(status), tag("span", state_verdict(report)))
    facts = tag("dl", *(join(tag("dt", name), tag("dd", text)) for name, text in list_facts(report)))
    return tag("header", verdict, tag("p", score, class_="score"), facts, class_=f"verdict {status}")


def list_facts(report: Report) -> Iterable[tuple[str, Markup]]:
    """Model, step, traces, versions, as rows of the head."""
    yield "Model", join(describe_model(report.model))
    yield "Step", join(describe_source(report))
    for trace in report.traces:
        current = tag("b", "current ") if trace.current and len(report.traces) > 1 else None
        yield "Trace", join(current, describe_trace(trace), " ", tag("code", trace.signature))
    devices = ", ".join(dict.fromkeys(map(shorten_device, report.environment.devices)))
    yield "With", join("; ".join(part for part in (describe_versions(report), devices) if part))
    occasion = describe_occasion(report)
    if occasion:
        yield "Made", join(occasion)
    for warning in report.environment.warnings:
        yield "Note", join(warning)


def draw_finding(finding: Finding, anchor: str) -> Markup:
    """One finding as a card."""
    title = tag(
        "h3",
        draw_status(finding.severity),
        tag("span", finding.rule, class_="id"),
        " ",
        finding.name,
        tag("small", finding.certainty),
    )
    parts = [
        ("Why", draw_prose(finding.cause)),
        ("Where", draw_evidence(finding.evidence)),
        ("Fix", draw_fix(finding.fix)),
        ("Tried", draw_trial(finding)),
        ("Variables", draw_names(finding.variables)),
    ]
    rows = (join(tag("dt", name), tag("dd", part)) for name, part in parts if part)
    message = tag("div", draw_prose(finding.message), class_="message")
    return tag("article", title, message, tag("dl", *rows), class_=f"card {finding.severity}", id=anchor)


def draw_prose(text: str) -> Markup:
    """Paragraphs."""
    return join(*(tag("p", mark_code(line)) for line in split_paragraphs(text)))


def draw_evidence(steps: Sequence[EvidenceStep]) -> Markup:
    """The steps as a list, each with its place in the user's code."""
    items = []
    for step in steps:
        place = tag("code", describe_place(step.location), class_="place") if step.location is not None else None
        items.append(tag("li", place, " " if place else None, describe_step(step)))
    return tag("ul", *items) if items else Markup()


def draw_fix(fix: str) -> Markup:
    """Prose and code in turn."""
    return join(*(draw_code(text) if code else draw_prose(text) for code, text in split_code(fix)))


def draw_code(text: str) -> Markup:
    """A block of code; each line is made safe by itself, so that line breaks stay."""
    return tag("pre", tag("code", Markup("\n".join(join(line) for line in text.splitlines()))))


def draw_trial(finding: Finding) -> Markup:
    """What the trial of the fix on a copy showed."""
    trial = describe_trial(finding)
    if trial is None:
        return Markup()
    result = finding.fix_result
    said = [draw_outcome(finding.verified, f"On a copy: {trial}")]
    if result is not None:
        said += [tag("p", end_sentence(result.note))] if result.note else []
        said += [draw_names(result.trains)] if set(result.trains) != set(finding.variables) else []
        part = result.still_not and set(result.still_not) != set(finding.variables)
        said += [join(tag("p", "Still not:"), draw_names(result.still_not))] if part else []
    said += [draw_outcome(one.verified, tell_further(one, finding)) for one in list_further(finding)]
    return join(*said)


def draw_outcome(verified: bool, text: str) -> Markup:
    return tag("p", draw_status("agrees" if verified else "differs"), text)


def draw_names(names: Sequence[str]) -> Markup:
    """Paths as a list, folded where they are many."""
    if not names:
        return Markup()
    shown = [tag("li", tag("code", name)) for name in names[:MOST_NAMES]]
    more = len(names) - len(shown)
    items = tag("ul", *shown, tag("li", f"and {number(more)} more") if more else None, class_="names")
    if len(names) <= OPEN_NAMES:
        return items
    return tag("details", tag("summary", count(len(names), "variable")), items)
