"""A finding as lines."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len

from introspect.outlets.lines import Line, Span, get_glyph, lay_part
from introspect.outlets.prose import (
    describe_place,
    describe_step,
    describe_trial,
    end_sentence,
    list_further,
    split_code,
    split_paragraphs,
    tell_further,
)
from introspect.outlets.setting import Setting, count, wrap
from introspect.records import Finding

MOST_STEPS = 6


def lay_finding(finding: Finding, setting: Setting) -> Iterator[Line]:
    """One finding: what is so, why, where, what mends it, what the trial showed, which variables."""
    show = setting.show
    yield from lay_heading(finding, setting)
    for paragraph in split_paragraphs(finding.message):
        yield from ((Span(f"  {line}", "strong"),) for line in wrap(show(paragraph), setting.width - 2))
    yield from lay_part("Why", [(False, finding.cause)], setting)
    yield from lay_evidence(finding, setting)
    yield from lay_part("Fix", split_code(finding.fix), setting)
    trial = describe_trial(finding)
    if trial is not None:
        told = [f"on a copy: {trial} {list_trial(finding, setting)}"]
        told += [tell_further(one, finding) for one in list_further(finding)]
        yield from lay_part("Tried", [(False, text) for text in told], setting)
    if finding.variables:
        yield from lay_part("Names", [(False, setting.list_some(finding.variables))], setting)


def lay_heading(finding: Finding, setting: Setting) -> Iterator[Line]:
    """Id and name, and on the same line, if it fits, how grave and how certain."""
    lead = f"{get_glyph(finding.severity, setting)} "
    name = setting.show(f"{finding.rule} {finding.name}")
    said = Span(f"  {finding.severity}, {finding.certainty}", "quiet")
    if cell_len(lead + name + said.text) <= setting.width:
        yield Span(lead + name, finding.severity), said
        return
    for line in wrap(name, setting.width - 2):
        yield (Span(lead + line, finding.severity),)
        lead = "  "
    yield (said,)


def list_trial(finding: Finding, setting: Setting) -> str:
    """The trial's names where they say more than the finding's own, and its note."""
    result = finding.fix_result
    if result is None:
        return ""
    whole = set(result.still_not) == set(finding.variables)
    still = f"Still not: {setting.list_some(result.still_not)}." if result.still_not and not whole else ""
    same = set(result.trains) == set(finding.variables)
    trains = f"Trains: {setting.list_some(result.trains)}." if result.trains and not same else ""
    return " ".join(part for part in (trains, still, end_sentence(setting.show(result.note))) if part)


def lay_evidence(finding: Finding, setting: Setting) -> Iterator[Line]:
    """Steps with a place in the user's code first in their order, then what only the graph knows."""
    steps = finding.evidence if setting.full else finding.evidence[:MOST_STEPS]
    lines = []
    for step in steps:
        said = describe_step(step)
        place = describe_place(step.location) if step.location is not None else ""
        lines.append(setting.show(": ".join(part for part in (place, said) if part)))
    if len(steps) < len(finding.evidence):
        lines.append(f"{setting.glyphs.more} and {count(len(finding.evidence) - len(steps), 'more step')}")
    yield from lay_part("Where", [(False, line) for line in lines], setting)
