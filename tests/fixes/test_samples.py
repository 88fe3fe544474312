"""The trial of each sample's fix shows what one real step shows after the very code of the fix was run on a clone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.records import Finding, Report
from introspect.remedies import Hold, read_actions, read_remedies
from introspect.rules import RULES, Rule
from tests.rules.test_samples import HERE, load_sample

pytestmark = pytest.mark.tf

TRIED = (
    *("INT101", "INT102", "INT103", "INT104", "INT105", "INT106", "INT201", "INT202", "INT203", "INT205"),
    *("INT401", "INT402", "INT403", "INT404"),
)
"""Rules whose fix is tried; the others' change numbers or code, or nothing."""
NOT_MENDED = ("INT102", "INT104")
"""Rules whose sample needs its code changed."""


@pytest.fixture(autouse=True)
def _fresh_names() -> Iterator[None]:
    import keras

    keras.utils.clear_session()
    yield
    keras.utils.clear_session()


def test_the_rules_that_are_tried_are_in_the_catalogue() -> None:
    assert set(TRIED) <= {rule.id for rule in RULES}
    assert {rule.id for rule in RULES if rule.severity != "info"} <= set(TRIED)


@pytest.mark.parametrize("rule", HERE, ids=lambda rule: rule.name)
def test_trial_agrees_with_the_fix_applied(rule: Rule) -> None:
    report, finding = try_sample(rule)
    result = finding.fix_result
    if rule.id not in TRIED:
        assert result is None
        assert not finding.verified
        return
    assert result is not None
    model, data = apply_first(rule, finding)
    moved, trained = train_once(model, data), {variable.path for variable in model.trainable_variables}
    held = is_held(read_remedies(finding.fix)[0].code)
    named = [path for path in finding.variables if report.variable(path).tracked or held]
    wanted = {path for path in finding.variables if path in trained or path not in named}
    assert finding.verified == (
        bool(named or not finding.variables) and all((path in moved) == (path in trained) for path in named)
    )
    assert finding.verified == (rule.id not in NOT_MENDED)
    assert set(result.trains) == (wanted or trained) & moved
    assert set(result.still_not) == wanted - moved


@pytest.mark.parametrize("rule", HERE, ids=lambda rule: rule.name)
def test_each_proposal_is_what_its_code_does(rule: Rule) -> None:
    report, finding = try_sample(rule)
    can = [one for one in read_remedies(finding.fix) if one.actions is not None]
    assert [trial.code for trial in finding.trials] == [one.code for one in can if rule.id in TRIED]
    for trial in finding.trials:
        model, data = apply(rule, trial.code, report)
        moved, trained = train_once(model, data), {variable.path for variable in model.trainable_variables}
        named = [path for path in finding.variables if report.variable(path).tracked or is_held(trial.code)]
        assert trial.verified == all((path in moved) == (path in trained) for path in named)
        wanted = set(finding.variables) & trained
        assert set(trial.trains) == (wanted or trained) & moved
        assert set(trial.still_not) == wanted - moved


def fit_before(model: Any, data: Any, report: Report) -> None:
    """A step as the user has it before the fix is applied, where the sample has none and one can run."""
    if report.source == "traced" and not any(finding.rule in ("INT201", "INT202") for finding in report.findings):
        model.fit(*data, verbose=0)


def fill_settings(code: str) -> str:
    """What the user would write for the dots."""
    return code.replace("loss=..., metrics=...", "loss='mse'")


def try_sample(rule: Rule) -> tuple[Report, Finding]:
    module = load_sample(rule.name, "bad")
    target, data = module.build()
    measure = getattr(module, "MEASURE", False)
    report = introspect.inspect(target, data=data, measure=measure, try_fixes=True)
    return report, next(finding for finding in report.findings if finding.rule == rule.id)


def build(rule: Rule, name: str = "bad") -> tuple[Any, Any]:
    """The sample's model once more, with data to train it."""
    import keras

    keras.utils.clear_session()
    module = load_sample(rule.name, name)
    target, data = module.build()
    model = keras.models.load_model(target) if isinstance(target, str) else target
    return model, data or (module.x, module.y)


def apply_first(rule: Rule, finding: Finding) -> tuple[Any, Any]:
    """Do what the fix proposes first; where that is no code to run, compile again."""
    first = read_remedies(finding.fix)[0]
    return apply(rule, first.code if first.actions is not None else "introspect.recompile(model)")


def apply(rule: Rule, code: str, report: Report | None = None) -> tuple[Any, Any]:
    """The sample's model, after the code was run; code of an `__init__` stands in the healthy twin."""
    if is_held(code):
        return build(rule, "good")
    model, data = build(rule)
    if report is not None:
        fit_before(model, data, report)
    exec(fill_settings(code), {"model": model, "introspect": introspect})
    return model, data


def is_held(code: str) -> bool:
    return Hold() in (read_actions(code) or ())


def train_once(model: Any, data: Any) -> set[str]:
    """Paths of the variables that one fit of one step moves from random weights."""
    random = np.random.default_rng(3)
    for variable in model.variables:
        if "float" in str(variable.dtype):
            variable.assign(0.2 + np.abs(random.normal(size=variable.shape)))
    before = [variable.numpy().tobytes() for variable in model.variables]
    model.fit(*data, verbose=0)
    pairs = zip(model.variables, before, strict=True)
    return {variable.path for variable, old in pairs if variable.numpy().tobytes() != old}


def test_the_new_optimizer_is_the_one_that_is_used() -> None:
    rule = next(rule for rule in RULES if rule.id == "INT203")
    _, finding = try_sample(rule)
    model, data = build(rule)
    optimizer = model.optimizer
    exec(fill_settings(read_remedies(finding.fix)[1].code), {"model": model})
    train_once(model, data)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == 1


def test_freezing_what_lies_before_a_cut() -> None:
    """The further remedy has a result of its own, which a person reads beside the first."""
    rule = next(rule for rule in RULES if rule.id == "INT104")
    report, finding = try_sample(rule)
    assert finding.fix_result is not None
    assert "which does not mend it; the code has to change" in finding.fix_result.note
    (freeze,) = finding.trials
    assert freeze.trains == ("model/head/kernel", "model/head/bias")
    text = " ".join(str(report).split())
    assert "Or, where the cut is meant, freeze what lies before it: then 2 variables train. Encoder frozen" in text
    assert report.to_dict()["findings"][0]["trials"][0]["code"] == read_remedies(finding.fix)[1].code
