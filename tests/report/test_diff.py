"""What changed between two reports."""

from __future__ import annotations

import dataclasses

import pytest

from introspect.records import Change, Measured, Report
from introspect.report.diff import FIELDS, diff_reports
from tests.outlets.reports import CPU, GPU, REPORTS, make_gan, make_healthy, make_report, make_stale, make_variable


def change(report: Report, path: str, **fields) -> Report:
    rows = (dataclasses.replace(row, **fields) if row.path == path else row for row in report.variables)
    return dataclasses.replace(report, variables=tuple(rows))


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_does_not_differ_from_itself(name):
    diff = REPORTS[name]().diff(REPORTS[name]())
    assert not diff
    assert str(diff) == "nothing changed"


def test_unfreezing_without_effect_is_seen_as_flags_alone():
    diff = make_stale().diff(make_healthy())
    assert bool(diff)
    assert {(c.field, c.before, c.after) for c in diff.changes} == {
        ("trainable", "no", "yes"),
        ("expected", "no", "yes"),
    }
    assert len(diff.changes) == 52
    assert [c.variable for c in diff.changes[:2]] == ["vgg16/block1_conv1/kernel"] * 2
    assert [finding.rule for finding in diff.findings_added] == ["INT103", "INT399"]
    assert diff.findings_removed == ()


def test_earlier_and_later_are_not_mixed_up():
    forth = diff_reports(make_healthy(), make_stale())
    back = diff_reports(make_stale(), make_healthy())
    assert forth.findings_added == back.findings_removed
    assert [(c.before, c.after) for c in forth.changes] == [(c.after, c.before) for c in back.changes]


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"updated": "some"}, [("updated", "yes", "some")]),
        ({"gradient": "sparse"}, [("gradient", "dense", "sparse")]),
        ({"optimizer": None}, [("optimizer", "adam", None)]),
        ({"slots": ()}, [("slots", "momentum yes, velocity yes", None)]),
        ({"writes": ()}, [("writes", "gradient", None)]),
        ({"device": CPU}, [("device", "/job:localhost/replica:0/task:0/device:GPU:0", CPU)]),
        ({"gradient_device": None}, []),
        ({"shape": (None, 3)}, [("shape", "(3, 3, 64)", "(None, 3)")]),
        ({"trainable": False, "reason": "why"}, [("trainable", "yes", "no"), ("reason", None, "why")]),
        ({"measured": Measured(1.0, 1.0, 1.0, 0.0, True, True, None)}, []),
        ({"findings": ("INT103",)}, []),
    ],
)
def test_fields(fields, changes):
    before = make_healthy()
    diff = diff_reports(before, change(before, "fc1/kernel", **fields))
    assert diff.changes == tuple(Change("fc1/kernel", *said) for said in changes)


def test_placed_devices_are_compared_where_both_steps_were_run():
    reports = [make_healthy()]
    for device in (CPU, GPU):
        row = reports[0].variable("fc1/kernel")
        writes = tuple(dataclasses.replace(write, placed=device) for write in row.writes)
        reports.append(change(reports[0], "fc1/kernel", writes=writes))
    unrun, one, other = reports
    assert diff_reports(unrun, one).changes == diff_reports(one, unrun).changes == ()
    assert diff_reports(one, other).changes == (Change("fc1/kernel", "placed", CPU, GPU),)


def test_variables_come_and_go():
    one, two = make_report([make_variable("a"), make_variable("b")], []), make_report([make_variable("c")], [])
    diff = diff_reports(one, two)
    assert (diff.variables_added, diff.variables_removed, diff.changes) == (("c",), ("a", "b"), ())
    assert "+     1 variable: c" in str(diff)
    assert "-     2 variables: a, b" in str(diff)


def test_finding_is_the_same_in_other_words_and_counted():
    stale = make_stale()
    first = stale.findings[0]
    reworded = dataclasses.replace(
        stale, findings=(dataclasses.replace(first, message="x", fix="y"), stale.findings[1])
    )
    assert not diff_reports(stale, reworded)
    twice = dataclasses.replace(stale, findings=(first, first, stale.findings[1]))
    assert diff_reports(stale, twice).findings_added == (first,)
    graver = dataclasses.replace(stale, findings=(dataclasses.replace(first, severity="warning"), stale.findings[1]))
    assert diff_reports(stale, graver).findings_removed == (first,)


def test_text_groups_equal_changes():
    text = str(make_stale().diff(make_healthy()))
    flat = " ".join(text.split())
    assert "+ INT103 trainable-variable-not-updated: 26 variables of vgg16" in flat
    assert "~ trainable: no → yes for 26 variables: vgg16/block1_conv1/kernel, " in flat
    assert "and 20 more" in flat
    assert all(len(line) <= 120 for line in text.splitlines())


def test_each_field_can_be_read_from_any_row():
    for report in (make_gan(), REPORTS["hostile"]()):
        for row in report.variables:
            for read in FIELDS.values():
                assert read(row) is None or isinstance(read(row), str)
