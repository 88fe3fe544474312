"""SARIF: valid by the schema, at the user's lines, stable.

sarif-2.1.0-rtm.5.json is OASIS' schema as the npm package @microsoft/jest-sarif 1.0.0-beta.0 (MIT licence) ships it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import jsonschema
import pytest

from introspect.outlets import Options
from introspect.outlets.sarif import render_sarif
from introspect.records import EvidenceStep, Location
from introspect.rules import RULES
from tests.outlets.reports import REPORTS, make_gan, make_large, make_model, make_report, make_stale

SCHEMA = json.loads(Path(__file__).with_name("sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


def render(*reports) -> dict:
    return json.loads(render_sarif(reports, Options()))


def results(*reports) -> list[dict]:
    return [result for run in render(*reports)["runs"] for result in run["results"]]


@pytest.mark.parametrize("name", REPORTS)
def test_valid_by_the_schema(name):
    VALIDATOR.validate(render(REPORTS[name]()))


def test_valid_with_several_reports():
    log = render(*(make() for make in REPORTS.values()))
    VALIDATOR.validate(log)
    assert len(log["runs"]) == len(REPORTS)


def test_the_validator_would_notice():
    log = render(make_stale())
    log["runs"][0]["results"][0]["level"] = "fatal"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(log)


def test_findings_stand_at_the_users_lines():
    error, note = results(make_stale())
    place = error["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "finetune.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 30},
    }
    (related,) = error["relatedLocations"]
    assert related["physicalLocation"]["region"] == {"startLine": 41}
    assert related["message"]["text"] == "trainable was set to True here"
    assert (error["level"], note["level"]) == ("error", "note")
    assert "physicalLocation" not in note["locations"][0]


def test_without_a_line_the_models_file_is_the_place():
    stale = make_stale()
    (_, note) = results(dataclasses.replace(stale, model=make_model(file="models/a b.keras")))
    assert note["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "models/a%20b.keras", "uriBaseId": "%SRCROOT%"}
    }


def test_files_elsewhere_are_whole_uris(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    step = EvidenceStep("", location=Location(str(tmp_path / "train me.py"), 7))
    finding = dataclasses.replace(make_stale().findings[0], evidence=(step,))
    (result,) = results(make_report((), (), (finding,)))
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": (tmp_path / "train me.py").as_uri()}
    inside = dataclasses.replace(finding, evidence=(EvidenceStep("", location=Location(f"{tmp_path}/here/a.py", 7)),))
    (result,) = results(make_report((), (), (inside,)))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a.py"


def test_rules_come_from_the_catalogue():
    driver = render(make_stale())["runs"][0]["tool"]["driver"]
    rules = {rule["id"]: rule for rule in driver["rules"]}
    assert [rule.id for rule in RULES] == [rule["id"] for rule in driver["rules"]][: len(RULES)]
    for rule in RULES:
        assert rules[rule.id]["shortDescription"]["text"] == rule.summary
    for result in results(make_stale()):
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_fingerprints_outlive_moved_code_and_other_words():
    stale = make_stale()
    moved = tuple(
        dataclasses.replace(finding, message="other", cause="words", evidence=(), fix="") for finding in stale.findings
    )
    before = [result["partialFingerprints"] for result in results(stale)]
    assert before == [result["partialFingerprints"] for result in results(dataclasses.replace(stale, findings=moved))]
    assert before[0] == {"introspectFinding/v1": "3e3b5b3590f521af0bf08423d386a913"}


def test_fingerprints_tell_findings_apart():
    stale = make_stale()
    fewer = dataclasses.replace(stale.findings[0], variables=stale.findings[0].variables[:3])
    twice = dataclasses.replace(stale, findings=(stale.findings[0], stale.findings[0], fewer))
    prints = [result["partialFingerprints"]["introspectFinding/v1"] for result in results(twice)]
    assert len(set(prints)) == 3
    assert prints[1] == f"{prints[0]}:2"


def test_many_variables_do_not_swell_a_result():
    (result,) = results(make_large())
    assert len(result["locations"][0]["logicalLocations"]) == 100
    assert len(result["properties"]["variables"]) == 1200


def test_no_findings_is_an_empty_list():
    assert render(make_gan())["runs"][0]["results"] == []


def test_nothing_of_this_machine_is_told():
    assert os.getcwd() not in render_sarif([make_stale()], Options())
