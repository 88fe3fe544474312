"""What a look at the values is held against: reports, in all the ways in which a step may write."""

from __future__ import annotations

import dataclasses

import pytest

from introspect.proof import Judgement, judge_values
from introspect.records import Report, SlotReport, Updated, VariableReport, Write, WriteKind
from tests.tb.synthetic import make_gan_series

BASE = make_gan_series().reports[0]


def make_row(updated: Updated, *kinds: WriteKind, conditional: bool = False, slot: Updated | None = None) -> Report:
    writes = tuple(Write(kind, "op", "Assign", None, None, conditional, "fit/0", None, None) for kind in kinds)
    slots = () if slot is None else (SlotReport("m", "adam/m", slot, None, None),)
    row = VariableReport("w", (1,), "float32", None, None, True, True, updated, "dense", writes=writes, slots=slots)
    return dataclasses.replace(BASE, variables=(row,))


def judge(age: int, *reports: Report) -> Judgement:
    (row,), _ = judge_values({"w": age}, reports[0], reports)
    return row.judgement


CHANGED: list[tuple[Report, Judgement]] = [
    (make_row("yes", "gradient"), "agrees"),
    (make_row("some", "gradient"), "agrees"),
    (make_row("unknown"), "agrees"),
    (make_row("no", "statistics"), "agrees"),
    (make_row("no", "average"), "agrees"),
    (make_row("no", "state"), "agrees"),
    (make_row("no", "decay"), "agrees"),
    (make_row("no", "initial"), "moved"),
    (make_row("no"), "moved"),
]
SAME: list[tuple[Report, Judgement]] = [
    (make_row("yes", "gradient"), "still"),
    (make_row("yes", "decay", "gradient"), "still"),
    (make_row("yes", "gradient", conditional=True), "agrees"),
    (make_row("yes"), "agrees"),
    (make_row("some", "gradient"), "agrees"),
    (make_row("unknown", "gradient"), "agrees"),
    (make_row("no", "statistics"), "agrees"),
    (make_row("no"), "agrees"),
]


@pytest.mark.parametrize(("report", "judgement"), CHANGED)
def test_what_changed(report: Report, judgement: Judgement) -> None:
    assert judge(0, report) == judgement


@pytest.mark.parametrize(("report", "judgement"), SAME)
def test_what_stayed(report: Report, judgement: Judgement) -> None:
    assert judge(5, report) == judgement


def test_what_was_not_looked_at_contradicts_nothing() -> None:
    assert judge(-1, make_row("no")) == judge(-1, make_row("yes", "gradient")) == "agrees"
    (row,), _ = judge_values({}, make_row("no"), ())
    assert (row.age, row.judgement) == (-1, "agrees")


def test_what_any_report_of_the_time_allows_is_no_contradiction() -> None:
    frozen, trained = make_row("no"), make_row("yes", "gradient")
    assert [judge(age, *pair) for age in (0, 5) for pair in ((frozen, trained), (trained, frozen))] == ["agrees"] * 4


@pytest.mark.parametrize(
    ("age", "updated", "judgement"),
    [(0, "yes", "agrees"), (0, "no", "moved"), (0, "some", "agrees"), (3, "yes", "still"), (3, "no", "agrees")],
)
def test_a_slot(age: int, updated: Updated, judgement: Judgement) -> None:
    _, (row,) = judge_values({"adam/m": age}, report := make_row("yes", "gradient", slot=updated), [report])
    assert (row.path, row.judgement) == ("adam/m", judgement)


def test_a_slot_that_one_of_the_reports_does_not_know_is_left_open() -> None:
    with_slot, without = make_row("yes", "gradient", slot="no"), make_row("yes", "gradient")
    _, (row,) = judge_values({"adam/m": 0}, with_slot, [with_slot, without])
    assert row.judgement == "agrees"
