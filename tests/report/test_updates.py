"""How often a step updates a variable: each outlet that shows a measured gradient says of which update it is."""

from __future__ import annotations

import dataclasses

from introspect.outlets import OUTLETS, Options
from introspect.outlets.notebook import render_notebook
from introspect.records import Measured, Report, VariableReport, Write
from introspect.report.columns import flatten_report
from introspect.report.updates import count_updates, list_updates, tell_first
from tests.outlets.reports import make_report, make_variable, make_write


def make_row(path: str, *writes: Write, replicas: tuple[str, ...] = ()) -> VariableReport:
    measured = Measured(1.25, 0.5, 3.0, 0.0, True, True, None)
    row = make_variable(path, writes=writes, measured=measured)
    return dataclasses.replace(row, replicas=replicas)


def render(name: str, report: Report) -> str:
    drawn = next(outlet for outlet in OUTLETS if outlet.name == name).render([report], Options())
    assert isinstance(drawn, str)
    return drawn


GRADIENT, BRANCH, OTHER = make_write(), make_write(conditional=True), make_write("decay")
LATER = make_write(trace="t2")
CRITIC, GENERATOR = make_row("critic/w", *[GRADIENT] * 5), make_row("generator/w", GRADIENT)


def test_records_and_columns_are_counted_alike() -> None:
    rows = {
        "never": (make_row("never"), 0),
        "once": (make_row("once", GRADIENT, OTHER, BRANCH), 1),
        "in two traces": (make_row("traces", GRADIENT, LATER, LATER, LATER), 3),
        "on two devices": (make_row("devices", *[GRADIENT] * 4, replicas=("GPU:0", "GPU:1")), 2),
        "once on two devices": (make_row("copies", *[GRADIENT] * 2, replicas=("GPU:0", "GPU:1")), 1),
        "five times": (CRITIC, 5),
    }
    expected = [number for _, number in rows.values()]
    assert [count_updates(row) for row, _ in rows.values()] == expected
    assert list_updates(flatten_report(make_report([row for row, _ in rows.values()], []))) == expected
    assert list_updates(flatten_report(make_report([], []))) == []


def test_a_gradient_of_one_update_is_told_without_a_word() -> None:
    assert [tell_first(number) for number in (0, 1, 5)] == ["", "", "first of 5 updates"]


def test_each_outlet_with_numbers_says_it() -> None:
    several, alone = make_report([CRITIC, GENERATOR], []), make_report([GENERATOR], [])
    for drawn in (render("html", several), render_notebook(several)):
        assert drawn.count("1.25, first of 5 updates") == 1
        assert drawn.count("<td>1.25</td>") == 1
    assert "A step has up to 5 updates; gradients are those of the first" in render("text", several)
    for drawn in (render("html", alone), render_notebook(alone), render("text", alone)):
        assert "first of" not in drawn
        assert "those of the first" not in drawn
