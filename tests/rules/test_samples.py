"""Each rule's bad.py raises exactly its id, and good.py nothing that is an error or a warning."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect.records import Report
from introspect.rules import RULES, Rule

pytestmark = pytest.mark.tf

SAMPLES = Path(__file__).parents[2] / "samples" / "rules"
NEEDS_GPU = ("INT601", "INT602", "INT603", "INT604")
"""Rules whose samples are run by tests/placement, on a stand-in for a GPU."""
HERE = tuple(rule for rule in RULES if rule.id not in NEEDS_GPU)
WITH_INFO: dict[str, set[str]] = {}
"""By rule: findings of severity info that its bad.py cannot do without."""


@pytest.fixture(autouse=True)
def _fresh_names() -> Iterator[None]:
    import keras

    keras.utils.clear_session()
    yield
    keras.utils.clear_session()


@pytest.mark.parametrize("rule", HERE, ids=lambda rule: rule.name)
def test_bad_raises_exactly_this_rule(rule: Rule) -> None:
    report = inspect_sample(rule.name, "bad")
    raised = {finding.rule: finding for finding in report.findings}
    assert set(raised) - {rule.id} == WITH_INFO.get(rule.id, set())
    assert raised[rule.id].severity == rule.severity
    assert raised[rule.id].certainty == rule.certainty
    assert all(raised[other].severity == "info" for other in set(raised) - {rule.id})


@pytest.mark.parametrize("rule", HERE, ids=lambda rule: rule.name)
def test_good_raises_nothing(rule: Rule) -> None:
    report = inspect_sample(rule.name, "good")
    assert rule.id not in {finding.rule for finding in report.findings}
    assert report.ok


def inspect_sample(name: str, kind: str) -> Report:
    """The report that the script prints."""
    module = load_sample(name, kind)
    target, data = module.build()
    return introspect.inspect(target, data=data, measure=getattr(module, "MEASURE", False))


def load_sample(name: str, kind: str) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location(f"sample_{kind}", SAMPLES / name / f"{kind}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
