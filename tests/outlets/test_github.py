"""Annotations: one line a finding, escaped as the runner reads it."""

from __future__ import annotations

import dataclasses
import re

import pytest

from introspect.outlets import Options
from introspect.outlets.github import render_github
from introspect.records import EvidenceStep, Location
from tests.outlets.reports import REPORTS, make_healthy, make_stale


def lines(report) -> list[str]:
    return render_github([report], Options()).splitlines()


def parse(line: str) -> tuple[str, dict[str, str], str]:
    """What the runner makes of a command."""
    match = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
    assert match is not None
    pairs = dict(pair.split("=", 1) for pair in (match[2] or "").split(",") if pair)
    unescaped = {key: unescape(value, ((":", "%3A"), (",", "%2C"))) for key, value in pairs.items()}
    return match[1], unescaped, unescape(match[3])


def unescape(text: str, more=()) -> str:
    for plain, code in (("\r", "%0D"), ("\n", "%0A"), *more, ("%", "%25")):
        text = text.replace(code, plain)
    return text


def test_command_has_file_line_title_and_message():
    kind, properties, message = parse(lines(make_stale())[0])
    assert kind == "error"
    assert properties == {"file": "finetune.py", "line": "30", "title": "INT103 trainable-variable-not-updated"}
    assert message.startswith("26 variables of vgg16 are trainable, and the compiled step does not update them.\nWhy: ")
    assert "model.compile(optimizer=keras.optimizers.Adam(1e-5)" in message
    assert "Tried on a copy: then these 26 variables train." in message


def test_note_without_place_is_a_notice():
    kind, properties, _ = parse(lines(make_stale())[1])
    assert kind == "notice"
    assert properties == {"title": "INT399 learning-rate-large"}


def test_last_line_is_plain():
    assert lines(make_healthy()) == [
        "introspect: vgg_finetune: no findings. The step does what the flags say: 6 variables train, 26 do not."
    ]


def test_separators_in_a_file_name_stay_in_the_name():
    step = EvidenceStep("", location=Location("a,line=9::x%0A.py", 3))
    finding = dataclasses.replace(make_stale().findings[0], evidence=(step,))
    kind, properties, _ = parse(lines(dataclasses.replace(make_stale(), findings=(finding,)))[0])
    assert (kind, properties["file"], properties["line"]) == ("error", "a,line=9::x%0A.py", "3")


@pytest.mark.parametrize("name", REPORTS)
def test_as_many_commands_as_findings(name):
    report = REPORTS[name]()
    commands = [line for line in lines(report) if re.match(r"\s*::|.*##\[", line)]
    assert len(commands) == len(report.findings)
