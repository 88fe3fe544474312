"""The layer tree, its counts, and the words for a variable."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from introspect.devices import shorten_device
from introspect.outlets.prose import describe_place, describe_step, is_code, split_code
from introspect.outlets.setting import Options, choose_setting, make_inert, wrap
from introspect.outlets.tree import DEEPEST, build_tree, find_parents
from introspect.outlets.verdict import describe_effect, find_trouble, judge_variables, state_verdict
from introspect.records import EvidenceStep, Finding, LayerReport, Location
from tests.outlets.reports import REPORTS, make_layer, make_report, make_stale, make_variable, make_write


@pytest.mark.parametrize("name", REPORTS)
def test_tree_holds_each_variable_once(name):
    report = REPORTS[name]()
    roots = build_tree(report)
    assert sum(root.tally.variables for root in roots) == len(report.variables)
    stack, paths = list(roots), []
    while stack:
        branch = stack.pop()
        stack += branch.children
        paths += [row.path for group in branch.groups for row in group.rows]
    assert sorted(paths) == sorted(row.path for row in report.variables)


def test_empty_layers_are_left_out():
    report = make_report([make_variable("a/kernel", layer="a")], [make_layer("a", None), make_layer("flat", None)])
    assert [root.layer.name for root in build_tree(report)] == ["a"]


def test_rows_find_their_layer_by_its_own_list():
    row = make_variable("somewhere/kernel", layer=None)
    report = make_report([row], [make_layer("a", None, variables=[row.path])])
    assert [root.layer.name for root in build_tree(report)] == ["a"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=40, unique_by=lambda pair: pair[0]))
def test_any_parents_make_a_forest(pairs):
    layers = [LayerReport(str(a), str(a), "L", str(b), True) for a, b in pairs]
    parents = find_parents(layers)
    assert set(parents) == {layer.path for layer in layers}
    for path in parents:
        steps, at = 0, path
        while at is not None:
            at, steps = parents[at], steps + 1
            assert steps <= DEEPEST


def test_bottomless_nesting_is_shown_all_the_same():
    layers = [LayerReport(str(i), str(i), "L", str(i - 1), True) for i in range(5000)]
    report = make_report([make_variable("4999/kernel", False, True, "4999")], layers)
    assert "trainable → stays" in str(report)
    assert "4999" in report._repr_html_()


@pytest.mark.parametrize(
    ("kinds", "updated", "effect"),
    [
        (["gradient", "decay"], "yes", "trains"),
        (["gradient"], "some", "trains in part"),
        (["statistics"], "no", "statistics move"),
        (["state", "average"], "no", "is averaged"),
        (["decay"], "no", "decays only"),
        (["state"], "no", "keeps count"),
        (["initial"], "no", "stays"),
        ([], "no", "stays"),
        (["other"], "unknown", "unknown"),
    ],
)
def test_words_for_what_the_step_does(kinds, updated, effect):
    row = make_variable("a", writes=tuple(make_write(kind) for kind in kinds), updated=updated)
    assert describe_effect(row) == effect


@pytest.mark.parametrize(
    ("expected", "updated", "kinds", "trouble"),
    [
        (True, "no", [], "idle"),
        (False, "yes", ["gradient"], "moving"),
        (False, "no", ["statistics"], "drifting"),
        (True, "some", ["gradient"], "partial"),
        (True, "unknown", [], "unknown"),
        (True, "yes", ["gradient"], "named"),
        (False, "no", ["state"], "named"),
    ],
)
def test_kinds_of_trouble(expected, updated, kinds, trouble):
    row = make_variable("a", True, expected, writes=tuple(make_write(kind) for kind in kinds), updated=updated)
    assert find_trouble(row) == trouble


def make_finding(severity, *paths) -> Finding:
    return Finding("INT000", "some-rule", severity, "proven", paths, (), "The next step raises.", "", "")


def test_status_is_that_of_the_worst_finding():
    rows = [make_variable(name, False, True) for name in "abcd"]
    findings = (make_finding("error", "a"), make_finding("warning", "a", "b"), make_finding("info", "a", "b", "c"))
    report = make_report(rows, [], findings)
    assert judge_variables(report) == {"a": "error", "b": "warning", "c": "agrees", "d": "differs"}


def test_verdict_counts_only_what_findings_name():
    assert state_verdict(make_stale()) == "26 of 32 variables that you set trainable do not train."


@pytest.mark.parametrize(
    ("rows", "findings", "verdict"),
    [
        (
            [make_variable("a", True, False), make_variable("b", False, True), make_variable("c")],
            (make_finding("error", "a"), make_finding("error", "b")),
            "1 of 2 variables that you set trainable does not train; 1 of 1 variable that should be frozen trains.",
        ),
        ([make_variable("a")], (make_finding("error"),), "The next step raises."),
        ([make_variable("a")], (make_finding("error", "a"),), "The next step raises."),
        (
            [make_variable("a", False, False, None, "statistics"), make_variable("b")],
            (make_finding("error", "a"),),
            "1 variable that should be frozen changes without a gradient.",
        ),
        (
            [make_variable("a")],
            (make_finding("info", "a"),),
            "The step does what the flags say: 1 variable trains, 0 do not.",
        ),
        (
            [make_variable("a", updated="unknown"), make_variable("b")],
            (),
            "The step does what the flags say: 1 variable trains, 0 do not. 1 variable cannot be decided.",
        ),
        ([make_variable("a", False, True)], (), "1 of 1 variable that you set trainable does not train."),
        ([], (), "There are no variables in this report."),
    ],
)
def test_verdicts(rows, findings, verdict):
    assert state_verdict(make_report(rows, [], findings)) == verdict


@given(st.text(max_size=40))
def test_inert_text_is_printable_and_inert_again(text):
    shown = make_inert(text)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 for c in shown)
    assert make_inert(shown) == shown


@given(st.text(max_size=80), st.integers(2, 60))
def test_clipping_keeps_to_the_width(text, width):
    for setting in (choose_setting(Options()), choose_setting(Options(unicode=False))):
        shown = setting.show(text)
        clipped = setting.clip(shown, width)
        assert cell_len(clipped) <= width
        assert clipped == shown or cell_len(shown) > width


@given(st.text(alphabet="ab 层\n", max_size=80), st.integers(8, 30))
def test_wrapping_keeps_the_words(text, width):
    lines = wrap(text, width)
    assert "".join(lines).replace(" ", "") == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("device", "short"),
    [
        ("/job:localhost/replica:0/task:0/device:GPU:1", "GPU:1"),
        ("/job:worker/replica:0/task:1/device:CPU:0", "worker:1 CPU:0"),
        ("GPU:0", "GPU:0"),
        ("", ""),
    ],
)
def test_devices_are_short(device, short):
    assert shorten_device(device) == short


@pytest.mark.parametrize(
    ("fix", "pieces"),
    [
        ("nothing, where this is meant", [(False, "nothing, where this is meant")]),
        ("introspect.recompile(model)  # or …", [(True, "introspect.recompile(model)  # or …")]),
        ("for x in y:\n    x.trainable = True", [(True, "for x in y:\n    x.trainable = True")]),
        (
            "Do this:\n\n    a = 1\n\n    b = 2\n\nthen rest",
            [(False, "Do this:"), (True, "a = 1\n\nb = 2"), (False, "then rest")],
        ),
        ("Do:\n```python\nif a:\n    b()\n```\nDone.", [(False, "Do:"), (True, "if a:\n    b()"), (False, "Done.")]),
        ("First\nmodel.compile()\nLast one", [(False, "First"), (True, "model.compile()"), (False, "Last one")]),
        ("", []),
    ],
)
def test_code_of_a_fix_is_found(fix, pieces):
    assert split_code(fix) == pieces


@pytest.mark.parametrize(
    ("text", "code"), [("recompile", False), ("3", False), ("f()", True), ("x = 3", True), ("\0", False)]
)
def test_what_counts_as_code(text, code):
    assert is_code(text) is code


def test_steps_and_places_in_words():
    step = EvidenceStep(
        "cuts the gradient", "model/argmax", "ArgMax", "CPU:0", "quantizer", Location("net.py", 12, "call")
    )
    assert describe_step(step) == "cuts the gradient (ArgMax 'model/argmax' in quantizer on CPU:0)"
    assert describe_place(step.location) == "net.py:12 in call"
    assert describe_step(dataclasses.replace(step, note="", op=None, device=None)) == "ArgMax in quantizer"
