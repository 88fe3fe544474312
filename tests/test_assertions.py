"""assert_trains, assert_frozen and the pytest fixture, on reports made by hand."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

import introspect
from introspect import assert_frozen, assert_trains
from introspect.records import TraceReport
from tests.outlets.reports import (
    make_gan,
    make_healthy,
    make_layer,
    make_report,
    make_stale,
    make_variable,
    make_write,
)

pytest_plugins = ["pytester"]


@pytest.mark.parametrize(
    "patterns",
    [
        ("fc1/*",),
        ("fc1",),
        ("fc1/",),
        ("fc?/kernel", "predictions/bias"),
        ("predictions",),
        ("[fp]*1/*",),
    ],
)
def test_what_trains_passes(patterns):
    report = make_healthy()
    assert assert_trains(report, *patterns) is report


@pytest.mark.parametrize("patterns", [("vgg16",), ("vgg16/*",), ("vgg16/block?_conv1/kernel", "*/block5_conv3")])
def test_what_stays_passes(patterns):
    assert_frozen(make_healthy(), *patterns)


def test_message_is_the_finding():
    with pytest.raises(AssertionError) as caught:
        assert_trains(make_stale(), "vgg16/*", "fc1/*")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("26 of 28 variables do not train: vgg16/block1_conv1/kernel, vgg16/block1_conv1/bias, ")
    assert lines[0].endswith(" and 21 more")
    assert lines[2].startswith("INT103 trainable-variable-not-updated: 26 variables of vgg16 are trainable")
    assert lines[3].startswith("why: The step was traced while vgg16 was frozen.")
    assert lines[4] == "at finetune.py:30 in build: the step was compiled here"
    assert lines[5] == "at finetune.py:41 in unfreeze: trainable was set to True here"
    assert lines[6].startswith("fix: Compile again")
    assert lines[-3] == "tried on a copy: then these 26 variables train. Traced in 2.1 s."
    assert lines[-2].startswith("Or, freeze it: then 6 variables train.")


def test_frozen_variable_that_trains():
    report = make_report([make_variable("base/kernel", True, False)], [])
    with pytest.raises(
        AssertionError,
        match=r"1 of 1 variables do not stay as they are: base/kernel\nbase/kernel is written \(gradient\)",
    ):
        assert_frozen(report, "base/*")


@pytest.mark.parametrize("kind", ["statistics", "decay", "average", "accumulate", "constraint", "other"])
def test_any_write_breaks_frozen(kind):
    report = make_report([make_variable("bn/moving_mean", False, False, kind=kind)], [])
    with pytest.raises(AssertionError, match=rf"is written \({kind}\)"):
        assert_frozen(report, "bn/*")


@pytest.mark.parametrize("kind", ["state", "initial"])
def test_counters_and_creation_do_not(kind):
    assert_frozen(make_report([make_variable("drop/seed", False, False, kind=kind)], []), "drop/*")


def test_average_that_fit_writes_at_its_end_breaks_frozen():
    write = make_write("average", op=None, op_type=None, trace=None, function="fit end")
    report = make_report([make_variable("a/kernel", False, False, writes=(write,))], [])
    with pytest.raises(AssertionError, match="average"):
        assert_frozen(report, "a/*", data=object())


def test_frozen_as_meant_but_expected_to_train():
    report = make_report([make_variable("a/kernel", False, False, decided_by="base")], [])
    with pytest.raises(AssertionError, match=r"a/kernel is frozen by base: set trainable = True and compile again"):
        assert_trains(report, "a/kernel")


def test_unknown_is_neither():
    report = make_report([make_variable("a/kernel", False, updated="unknown", reason="PyFunc f")], [])
    for check in (assert_trains, assert_frozen):
        with pytest.raises(AssertionError, match="cannot be decided: PyFunc f"):
            check(report, "a/*")


def test_statistics_and_seeds_need_not_train():
    gan = make_gan()
    assert_trains(gan, "generator", "discriminator")
    with pytest.raises(AssertionError, match="generator/bn/moving_mean is frozen"):
        assert_trains(gan, "generator/bn/moving_mean")
    with pytest.raises(AssertionError, match="seed_generator_state"):
        assert_trains(gan, "discriminator/dropout")


def test_statistics_at_rest_need_not_train():
    rows = [make_variable("bn/gamma", layer="bn"), make_variable("bn/moving_mean", False, False, "bn")]
    assert_trains(make_report(rows, [make_layer("bn", None)]), "bn")


def test_weight_frozen_by_itself_must_train_if_asked():
    rows = [make_variable("d/bias", layer="d"), make_variable("d/kernel", False, False, "d", decided_by="d/kernel")]
    with pytest.raises(AssertionError, match="d/kernel is frozen: set"):
        assert_trains(make_report(rows, [make_layer("d", None)]), "d/*")


def test_some_traces_count_by_data():
    row = make_variable("a/kernel", updated="some", writes=(make_write(trace="t1"),))
    traces = tuple(
        TraceReport(id_, "()", 1, 1, updated, current)
        for id_, updated, current in (("t1", ("a/kernel",), False), ("t2", (), True))
    )
    report = make_report([row], [], traces=traces)
    with pytest.raises(AssertionError, match="in some traces only; say which one with data="):
        assert_trains(report, "a/*")
    with pytest.raises(AssertionError, match="is not updated by the trace that the data would use"):
        assert_trains(report, "a/*", data=object())
    with pytest.raises(AssertionError, match="is written"):
        assert_frozen(report, "a/*")
    assert_frozen(report, "a/*", data=object())
    other = tuple(dataclasses.replace(trace, current=not trace.current) for trace in traces)
    assert_trains(dataclasses.replace(report, traces=other), "a/*", data=object())


@pytest.mark.parametrize("check", [assert_trains, assert_frozen])
def test_pattern_without_match_names_near_paths(check):
    with pytest.raises(AssertionError, match=r"pattern 'predictons/\*' matches no variable .*; near: .*predictions/"):
        check(make_healthy(), "fc1/*" if check is assert_trains else "vgg16/*", "predictons/*")
    with pytest.raises(AssertionError, match="the model has no variables"):
        check(make_report([], []), "*")


@pytest.mark.parametrize("check", [assert_trains, assert_frozen])
def test_no_pattern_is_a_mistake(check):
    with pytest.raises(TypeError, match="at least one pattern"):
        check(make_healthy())


def test_path_below_the_layers_path_matches():
    report = make_report(
        [make_variable("conv1/kernel", layer="backbone/conv1")], [make_layer("backbone/conv1", "backbone")]
    )
    assert_trains(report, "backbone/conv1/kernel")
    assert_trains(report, "backbone/*")


def test_model_is_inspected_once_with_its_data(monkeypatch):
    calls = []

    def inspect(model, *, data=None):
        calls.append((model, data))
        return make_healthy()

    monkeypatch.setattr("introspect.api.inspect", inspect)
    assert introspect.assert_trains("model", "fc1/*", data="data").model.name == "vgg_finetune"
    assert calls == [("model", "data")]


SUITE = """
    import pytest
    from tests.outlets.reports import make_healthy, make_stale

    def test_good(introspect_trains):
        report = introspect_trains(make_healthy(), trains=["fc1/*", "fc2/*"], frozen="vgg16/*")
        assert report.ok

    def test_bad(introspect_trains):
        introspect_trains(make_stale(), trains="vgg16/*")

    def test_moves(introspect_trains):
        introspect_trains(make_healthy(), frozen=("fc1/*",))
"""


def test_fixture_fails_with_the_finding_alone(pytester):
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["E*26 of 26 variables do not train: vgg16/block1_conv1/kernel*"])
    result.stdout.fnmatch_lines(["E*at finetune.py:41 in unfreeze: trainable was set to True here"])
    result.stdout.fnmatch_lines(["E*2 of 2 variables do not stay as they are: fc1/kernel, fc1/bias"])
    result.stdout.no_fnmatch_line("*def require*")


def test_plugin_costs_nothing_until_it_is_used():
    code = (
        "import sys, pytest; before = set(sys.modules); import introspect.pytest_plugin; "
        "print(sorted(m for m in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['introspect', 'introspect.errors', 'introspect.pytest_plugin']"


@pytest.mark.parametrize("path", ["sequential/head/kernel", "head/kernel", "head/kernel:0"])
@pytest.mark.parametrize("pattern", ["head/*", "head", "head/kernel", "sequential/head", "sequential"])
def test_name_of_the_model_may_be_left_out(path, pattern):
    layers = [make_layer("sequential", None), make_layer("sequential/head", "sequential")]
    assert_trains(make_report([make_variable(path, layer="sequential/head")], layers), pattern)


def test_name_of_a_layer_further_in_may_not():
    layers = [make_layer("m", None), make_layer("m/base", "m"), make_layer("m/base/head", "m/base")]
    with pytest.raises(AssertionError, match="matches no variable"):
        assert_trains(make_report([make_variable("m/base/head/kernel", layer="m/base/head")], layers), "head/*")


@pytest.mark.parametrize("pattern", [None, 5, ["fc1"]])
def test_a_pattern_is_a_text(pattern):
    with pytest.raises(TypeError, match="is no pattern"):
        assert_trains(make_healthy(), pattern)
