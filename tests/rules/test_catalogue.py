"""Ids, documentation, and the page made of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from introspect import catalogue
from introspect.records import SEVERITIES
from introspect.rules import HEADINGS, RETIRED_IDS, RULES, Rule
from introspect.rules.document import read_sections, write_document

ROOT = Path(__file__).parents[2]

GIVEN = {
    "INT101": "frozen-variable-updated",
    "INT102": "frozen-layer-statistics-updated",
    "INT103": "trainable-variable-not-updated",
    "INT104": "no-gradient",
    "INT105": "untracked-variable",
    "INT106": "traces-disagree",
    "INT201": "optimizer-does-not-know-variable",
    "INT202": "next-step-fails",
    "INT203": "stale-optimizer",
    "INT204": "slot-not-updated",
    "INT205": "averages-misaligned",
    "INT206": "saved-optimizer-does-not-fit-flags",
    "INT301": "changes-without-gradient",
    "INT302": "gradient-of-another",
    "INT401": "container-flag-differs",
    "INT402": "misspelt-flag",
    "INT403": "statistics-of-frozen-weights",
    "INT404": "nothing-trains",
    "INT501": "learning-rate-zero",
    "INT502": "gradient-zero",
    "INT503": "update-not-resolved",
    "INT504": "gradient-not-finite",
    "INT505": "update-held-back",
    "INT506": "measurement-limited",
    "INT507": "followed-on-one-batch",
    "INT601": "update-on-other-device",
    "INT602": "slot-on-other-device",
    "INT603": "gpu-idle",
    "INT604": "jit-by-default",
}
"""Every id that was ever given, with its name. Rows are added and never changed: an id that goes out of use is retired."""


def test_ids_are_unique_and_well_formed() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"INT[1-9]\d\d", one) for one in ids)
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name) for rule in RULES)


def test_retired_ids_are_never_used_again() -> None:
    assert all(re.fullmatch(r"INT[1-9]\d\d", one) for one in RETIRED_IDS)
    assert not RETIRED_IDS.intersection(rule.id for rule in RULES)


def test_ids_keep_their_names() -> None:
    assert {rule.id: rule.name for rule in RULES} == {k: v for k, v in GIVEN.items() if k not in RETIRED_IDS}
    assert set(GIVEN) >= RETIRED_IDS


def test_most_severe_rules_come_first() -> None:
    ranks = [SEVERITIES.index(rule.severity) for rule in RULES]
    assert ranks == sorted(ranks)


def test_each_module_with_a_rule_is_in_the_catalogue() -> None:
    files = {path.stem for path in (ROOT / "introspect" / "rules").glob("*.py")}
    modules = {rule.check.__module__.rpartition(".")[2] for rule in RULES}
    assert {name for name in files if not name.startswith("_")} - {"document"} == modules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_documentation_has_every_heading(rule: Rule) -> None:
    assert tuple(read_sections(rule)) == HEADINGS
    assert rule.summary.endswith(".")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_explain_shows_the_documentation(rule: Rule) -> None:
    shown = catalogue.explain_rule(rule.id)
    assert shown.startswith(f"{rule.id} {rule.name}  ({rule.severity}, {rule.certainty})")
    assert all(heading in shown for heading in HEADINGS)
    assert f"{rule.id}  {rule.name}" in catalogue.list_rules()


@pytest.mark.parametrize("lost", HEADINGS)
def test_an_undocumented_rule_is_refused(lost: str) -> None:
    lines = (RULES[0].doc or "").splitlines()
    doc = "\n".join(line for line in lines if line.strip() != lost)
    with pytest.raises(ValueError, match=f"{RULES[0].id}: its documentation has the headings"):
        write_document([replace(RULES[0], doc=doc)])


def test_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert page == write_document(), "run: python -m introspect.rules.document > docs/rules.md"


def test_each_rule_has_its_pair_of_samples() -> None:
    folder = ROOT / "samples" / "rules"
    names = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")}
    assert names == {rule.name for rule in RULES}
    assert all((folder / name / kind).is_file() for name in names for kind in ("bad.py", "good.py"))
