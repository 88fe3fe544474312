"""What every outlet owes, for every report."""

from __future__ import annotations

import json
import pickle

import pytest

from introspect.errors import IntrospectError
from introspect.outlets import OUTLETS, Options, choose_outlet, render_notebook, render_text, save_report, save_reports
from tests.outlets.reports import REPORTS, make_gan, make_stale

TEXTS = [outlet for outlet in OUTLETS if not outlet.binary]


@pytest.fixture(params=REPORTS)
def report(request):
    return REPORTS[request.param]()


@pytest.mark.parametrize("outlet", TEXTS, ids=lambda outlet: outlet.name)
@pytest.mark.parametrize("options", [Options(), Options(20), Options(200, unicode=False, limit=None)], ids=repr)
def test_each_outlet_shows_each_report(outlet, options, report):
    text = outlet.render([report], options)
    assert isinstance(text, str)
    assert text.endswith("\n")
    assert text == outlet.render([report], options), "equal reports give equal text"


@pytest.mark.parametrize("outlet", TEXTS, ids=lambda outlet: outlet.name)
def test_nothing_from_a_model_acts(outlet, report):
    text = outlet.render([report], Options())
    strange = {c for c in text if not c.isprintable() and c != "\n"}
    assert not strange
    text.encode("utf-8")


@pytest.mark.parametrize("outlet", TEXTS, ids=lambda outlet: outlet.name)
def test_several_reports_in_one_output(outlet):
    text = outlet.render([make_stale(), make_gan()], Options())
    assert "vgg_finetune" in text
    assert "gan" in text


def test_names_and_endings_are_told_apart():
    names = [outlet.name for outlet in OUTLETS]
    endings = [ending for outlet in OUTLETS for ending in outlet.endings]
    assert len(set(names)) == len(names)
    assert len(set(endings)) == len(endings)
    assert {".txt", ".json", ".html", ".sarif", ".pb"} <= set(endings)


def test_unknown_ending_lists_the_known_ones(tmp_path):
    with pytest.raises(IntrospectError, match=r"report\.xlsx.*\.txt \.json \.html .*\.sarif \.pb") as caught:
        save_report(make_gan(), tmp_path / "report.xlsx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".txt", ".json", ".html", ".htm", ".sarif", ".pb", ".JSON"])
def test_save_writes_what_the_ending_says(tmp_path, ending):
    path = tmp_path / f"report{ending}"
    make_gan().save(str(path))
    assert path.stat().st_size > 100
    assert list(tmp_path.iterdir()) == [path]
    assert ending.lower() in choose_outlet(str(path)).endings


def test_protobuf_comes_back_equal(tmp_path):
    from introspect.report.serde import read_report

    path = tmp_path / "report.pb"
    make_stale().save(str(path))
    assert read_report(path.read_bytes()) == make_stale()


def test_protobuf_takes_one_report(tmp_path):
    with pytest.raises(IntrospectError, match="holds one report, not 2"):
        save_reports([make_gan(), make_stale()], str(tmp_path / "both.pb"))
    assert list(tmp_path.iterdir()) == []


def test_json_carries_the_report_itself(report):
    (outlet,) = (outlet for outlet in OUTLETS if outlet.name == "json")
    text = outlet.render([report], Options())
    assert text.startswith('{\n  "schema": 1,\n  "ok"')
    plain = json.loads(text, parse_constant=pytest.fail)
    assert set(plain) == set(report.to_dict())
    assert [row["path"] for row in plain["variables"]] == [row.path for row in report.variables]
    if "measured" not in str(plain) or all(row.measured is None for row in report.variables):
        assert plain == json.loads(json.dumps(report.to_dict()))


def test_json_has_null_where_a_number_is_not_finite():
    (outlet,) = (outlet for outlet in OUTLETS if outlet.name == "json")
    plain = json.loads(outlet.render([REPORTS["hostile"]()], Options()))
    measured = plain["variables"][0]["measured"]
    assert measured["gradient_norm"] is None
    assert measured["update_norm"] is None
    assert measured["zero_fraction"] == 0.0


def test_json_of_several_reports_is_an_array():
    (outlet,) = (outlet for outlet in OUTLETS if outlet.name == "json")
    plain = json.loads(outlet.render([make_stale(), make_gan()], Options()))
    assert [one["model"]["name"] for one in plain] == ["vgg_finetune", "gan"]


def test_printing_and_notebook(report):
    assert str(report) == render_text(report)
    assert "\x1b" not in str(report)
    assert report._repr_html_() == render_notebook(report)
    assert str(pickle.loads(pickle.dumps(report))) == str(report)


def test_at_a_prompt_it_is_one_short_line(report):
    line = repr(report)
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.startswith("<Report of ")
    assert line.endswith("print(report) shows it whole>")
