"""The text for the terminal: goldens, widths, folding, colours."""

from __future__ import annotations

import dataclasses
import io
import os
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from introspect.outlets import Options
from introspect.outlets.setting import make_inert
from introspect.outlets.terminal import print_reports, render_terminal
from introspect.records import FixResult, Measured
from tests.outlets.reports import (
    REPORTS,
    make_flat,
    make_healthy,
    make_large,
    make_layer,
    make_report,
    make_stale,
    make_variable,
)

GOLDENS = Path(__file__).with_name("goldens")
CASES = {
    **{name: (name, Options()) for name in REPORTS},
    "stale_ascii_44": ("stale", Options(width=44, unicode=False)),
    "stale_whole_100": ("stale", Options(width=100, limit=None)),
    "gan_whole_100": ("gan", Options(width=100, limit=None)),
    "hostile_ascii": ("hostile", Options(unicode=False)),
}


def render(report, **options) -> str:
    return render_terminal([report], Options(**options))


@pytest.mark.parametrize("case", CASES)
def test_text_is_the_golden_one(case):
    name, options = CASES[case]
    text = render_terminal([REPORTS[name]()], options)
    golden = GOLDENS / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8"), "UPDATE_GOLDENS=1 writes it anew; then read the difference"


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [20, 40, 60, 80, 132])
def test_lines_keep_to_the_width(name, width):
    text = render(REPORTS[name](), width=width)
    fixes = {make_inert(line.strip()) for finding in REPORTS[name]().findings for line in finding.fix.splitlines()}
    for line in text.replace("\\x3a:", "::").splitlines():
        assert cell_len(line) <= width or line.strip().removeprefix("Fix").strip() in fixes, line


@pytest.mark.parametrize("name", REPORTS)
def test_ascii_is_ascii(name):
    assert render(REPORTS[name](), unicode=False).isascii()


def test_calm_where_all_is_well():
    text = render(make_healthy())
    assert "✓ vgg16  Functional  26 variables  frozen as their flags say" in text
    assert "✓ predictions        2 variables  train as their flags say" in text
    assert "block1_conv1" not in text
    assert len(text.splitlines()) < 20


def test_mismatches_stand_open_beside_folded_layers():
    text = render(make_stale())
    assert text.count("kernel, bias  trainable → stays  none") == 13
    assert "✓ fc1" in text


def test_large_reports_are_short_and_say_how_to_see_all():
    text = render(make_flat())
    assert len(text.splitlines()) < 60
    assert re.search(r"… and 904 more +in 452 layers; save as \.txt to see each", text)
    whole = render(make_flat(), limit=None)
    assert "more" not in whole
    assert whole.count("trainable → stays") == 500


def test_neighbours_with_equal_mismatches_go_together():
    text = render(make_large())
    assert re.search(r"✗ block_10 … block_49 +\(1200\) +trainable → stays", text)
    assert re.search(r"✓ 10 other layers +300 variables +train as their flags say", text)


def test_large_and_healthy_is_a_few_lines():
    assert len(render(make_large(stale=False)).splitlines()) < 20


def test_counts_of_a_folded_tree_add_up():
    shown = re.findall(r"\((\d+)\)  +trainable → stays", render(make_flat()))
    unfolded = re.search(r"and (\d+) more +in", render(make_flat()))
    assert unfolded is not None
    assert sum(map(int, shown)) + int(unfolded[1]) == 1000


def test_reason_of_unknown_is_told_beneath():
    row = make_variable("net/kernel", updated="unknown", gradient="unknown", reason="PyFunc 'f' at a.py:3")
    text = render(make_report([row], []))
    assert "? (in no layer)  net/kernel  trainable → unknown" in text
    assert "unknown: PyFunc 'f' at a.py:3" in text
    assert "1 variable cannot be decided" in " ".join(text.split())


def test_container_that_overrides_a_flag_is_named():
    row = make_variable("a/kernel", True, False, trainable=True, decided_by="a")
    text = render(make_report([row], []))
    assert "its own flag says trainable; a decides" in text
    assert "frozen → trains" in text


def test_placed_is_told_apart_from_derived():
    stale = make_stale()
    row = make_variable("a/kernel", True, False)
    writes = tuple(dataclasses.replace(w, placed="/job:localhost/replica:0/task:0/device:CPU:0") for w in row.writes)
    text = render(dataclasses.replace(stale, variables=(dataclasses.replace(row, writes=writes),), layers=()))
    assert "GPU:0" in text
    assert "the executed graph writes it on CPU:0" in text


def test_measured_numbers_have_a_table_of_their_own():
    """Layers that agree are folded; what was measured of them is shown all the same, joined by layer."""
    numbers = {
        "kernel": Measured(3.0, 0.3, 10.0, 0.0, True, True, None),
        "bias": Measured(4.0, 0.4, 0.0, 1.0, True, True, None),
    }
    rows = [
        make_variable(f"a/{leaf}", True, True, layer="a", shape=(10,), measured=one) for leaf, one in numbers.items()
    ]
    text = render(make_report([*rows, make_variable("b/kernel", False, False, layer="b")], []))
    table = text.partition("Measured on one batch")[2].splitlines()
    assert table[0].split() == ["Gradient", "Update", "Update/weights", "Zeros"]
    assert table[1].split() == ["a", "5", "0.5", "0.05", "50%"]
    assert table[2] == ""


def test_many_measured_layers_are_joined():
    """The table stays short; a text file has each layer."""
    one = Measured(3.0, 0.3, 10.0, 0.0, True, True, None)
    rows = [make_variable(f"l{i}/kernel", True, True, layer=f"l{i}", measured=one) for i in range(30)]
    assert "and 18 more layers" in render(make_report(rows, []))
    assert "more layers; save" not in render(make_report(rows, []), limit=None)


def test_measured_numbers_stand_beneath():
    row = make_variable("a/kernel", False, True, measured=Measured(0.0, 0.0, 12.5, 1.0, True, False, None))
    text = " ".join(render(make_report([row], [])).split())
    assert "measured: gradient 0, update 0, weights 12.5, 100% zeros, below what the dtype resolves" in text


def test_trial_that_does_not_mend_says_so():
    stale = make_stale()
    names = stale.findings[0].variables
    failed = dataclasses.replace(
        stale.findings[0],
        verified=False,
        fix_result=FixResult(names[:1], names[1:], "the optimizer does not know them"),
    )
    text = render(dataclasses.replace(stale, findings=(failed,)))
    flat = " ".join(text.split())
    assert "then this 1 variable trains; 25 variables still do not." in flat
    assert "The optimizer does not know them." in flat


@pytest.mark.parametrize(("seconds", "said"), [(0.0121, "in 12 ms"), (2.345, "in 2.3 s")])
def test_time_is_said_in_its_unit(seconds, said):
    assert said in render(dataclasses.replace(make_healthy(), timings=(("capture", seconds),)))


def test_layer_with_one_effect_says_it_in_words():
    row = make_variable("drop/seed", False, False, "drop", "state")
    layers = [make_layer("drop", None), make_layer("head", None)]
    text = render(make_report([row, make_variable("head/kernel", layer="head")], layers))
    assert re.search(r"✓ drop  1 variable  keeps count", text)


def test_wide_characters_keep_the_columns():
    rows = [make_variable(f"{name}/kernel", False, True) for name in ("层层层", "abc")]
    lines = [line for line in render(make_report(rows, [])).splitlines() if "trainable →" in line]
    assert len({cell_len(line[: line.index("trainable")]) for line in lines}) == 1


def colour(report, **settings) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=80, highlight=False, markup=False, emoji=False, **settings)
    print_reports([report], Options(), console)
    return stream.getvalue()


@pytest.mark.parametrize("name", REPORTS)
def test_colour_adds_escapes_and_nothing_else(name, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = colour(REPORTS[name](), force_terminal=True, color_system="standard")
    assert "\x1b[32m✓" in text or "\x1b[1;31m✗" in text
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == render(REPORTS[name]())


def test_no_color_takes_the_colours_off(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = colour(make_stale(), force_terminal=True)
    codes = {code for sequence in re.findall(r"\x1b\[([0-9;]*)m", text) for code in sequence.split(";")}
    assert codes <= {"", "0", "1", "2"}


def test_no_line_is_a_command_to_a_build_service():
    text = render(REPORTS["hostile"](), width=30)
    assert not re.search(r"^\s*::", text, re.MULTILINE)
    row = make_variable("##[error]x ##vso[task.complete]/kernel", False, True)
    text = render(make_report([row], []), limit=None)
    assert "##" not in text
