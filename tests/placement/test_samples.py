"""The samples of the rules that need a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from introspect.rules import RULES, Rule
from tests.placement.conftest import run_module
from tests.rules.test_samples import NEEDS_GPU

pytestmark = [pytest.mark.tf, pytest.mark.gpu, pytest.mark.slow]

WITH_INFO = {"INT602": ["INT601 info proven"]}
"""A slot away from its variable makes the update cross as well."""


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.id in NEEDS_GPU], ids=lambda rule: rule.name)
def test_bad_raises_this_rule_and_good_none(rule: Rule, fake_gpu: Path) -> None:
    said = run_module("tests.placement.sample", rule.name, fake_gpu)
    own = f"{rule.id} {rule.severity} {rule.certainty}"
    assert said == {"bad": [*WITH_INFO.get(rule.id, []), own], "good": []}
