"""Each route's answer, through TensorBoard's own WSGI application."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import math
from pathlib import Path

import pytest
from introspect_tb.answers import PAGE_TABLES

from introspect.report.columns import flatten_report
from introspect.report.norms import NormSample
from introspect.report.tables import TABLES
from introspect.report.writer import ReportWriter
from tests.tb.decoding import decode_report
from tests.tb.serving import LogClient
from tests.tb.synthetic import (
    HOSTILE,
    SERIES,
    Sample,
    Series,
    make_cut_series,
    make_gan_series,
    make_hostile_series,
    make_proof_series,
    make_replica_series,
    make_vgg_series,
    write_series,
)

VGG = "vgg/introspect"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> LogClient:
    """Four runs; the tests only read them."""
    root = str(tmp_path_factory.mktemp("logs"))
    for make in (make_vgg_series, make_gan_series, make_replica_series, make_cut_series):
        write_series(make(), root)
    return LogClient(root)


def test_runs_are_listed_by_name_with_their_newest_mark(client: LogClient) -> None:
    answer = client.read("runs")
    assert [run["run"] for run in answer["runs"]] == [
        "cut/introspect",
        "gan/introspect",
        "two_replicas/introspect",
        VGG,
    ]
    vgg = answer["runs"][3]
    assert vgg["has_norms"]
    assert not answer["runs"][1]["has_norms"]
    assert vgg["last"] == client.read("timeline", run=VGG)["marks"][-1]
    assert vgg["last_at"] == vgg["last"]["at"]
    assert answer["versions"].keys() == {"introspect", "tensorboard"}
    assert Path(answer["logdir"]).is_dir()


def test_the_timeline_tells_the_story(client: LogClient) -> None:
    answer = client.read("timeline", run=VGG)
    marks = answer["marks"]
    assert [mark["reason"] for mark in marks] == ["first trace", "flag changed", "epoch", "recompiled", "train end"]
    assert [mark["ok"] for mark in marks] == [True, False, False, True, True]
    assert [mark["at"] for mark in marks] == sorted({mark["at"] for mark in marks})
    assert [mark["step"] for mark in marks] == [0, 300, 400, 0, 310]
    assert [mark["epoch"] for mark in marks] == [0, 3, 4, 5, 8]
    assert marks[1]["counts"]["expected_not_updated"] == 26
    assert marks[1]["headline"].startswith("26 of 32")
    assert marks[1]["rules"] == ["INT103"]
    assert all(mark["stored"] for mark in marks)
    assert len({mark["variables_id"] for mark in marks}) == 1
    assert not answer["truncated"]


def test_a_report_holds_what_was_written(client: LogClient) -> None:
    for name in ("vgg", "gan", "two_replicas", "cut"):
        run = f"{name}/introspect"
        reports = SERIES[name]().reports
        for mark, report in zip(client.read("timeline", run=run)["marks"], reports, strict=True):
            answer = client.read("report", run=run, at=mark["at"])
            plain = json.loads(json.dumps(report.to_dict()))
            assert decode_report(answer) == {key: plain[key] for key in plain.keys() - {"schema", "ok"}}
            assert (answer["step"], answer["reason"], answer["ok"]) == (report.step, report.reason, report.ok)
            assert answer["counts"] == mark["counts"]
            assert answer["variables_id"] == mark["variables_id"]


def test_every_column_is_named_in_the_documentation() -> None:
    import introspect_tb

    text = (Path(introspect_tb.__file__).parent / "http_api.md").read_text()
    for name in PAGE_TABLES:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        for column in TABLES[name].columns:
            assert f"`{column.name}`" in line or f"`{column.name}_start`" in line, (name, column.name)


def test_every_route_and_key_is_in_the_documentation(client: LogClient) -> None:
    import introspect_tb
    from introspect_tb.pages import load_pages
    from introspect_tb.plugin import IntrospectPlugin
    from tensorboard.plugins import base_plugin

    text = (Path(introspect_tb.__file__).parent / "http_api.md").read_text()
    routes = set(IntrospectPlugin(base_plugin.TBContext()).get_plugin_apps()) - set(load_pages())
    table = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `") and " answers" not in line}
    headed = {
        line.split("`GET ")[1].split("?")[0].rstrip("`") for line in text.splitlines() if line.startswith("## `GET")
    }
    assert {route.removeprefix("/") for route in routes} == headed
    assert headed <= table
    queries: dict[str, dict[str, str]] = {
        "runs": {},
        "timeline": {"run": VGG},
        "compare": {"run": VGG, "with_at": "300"},
        "norms": {"run": VGG, "variable": "head/fc1/kernel"},
        "layer_norms": {"run": VGG, "layer": "head"},
        "latest_norms": {"run": VGG},
        "proof": {"run": VGG},
    }
    for route, query in queries.items():
        for key in client.read(route, **query):
            assert f'"{key}"' in text or f"`{key}`" in text, (route, key)


def test_without_at_the_newest_report_is_answered(client: LogClient) -> None:
    marks = client.read("timeline", run=VGG)["marks"]
    assert client.read("report", run=VGG)["at"] == marks[-1]["at"]


def test_compare_says_what_changed(client: LogClient) -> None:
    marks = client.read("timeline", run=VGG)["marks"]
    answer = client.read("compare", run=VGG, at=marks[1]["at"], with_at=marks[0]["at"])
    assert (answer["run"], answer["with_run"]) == (VGG, VGG)
    assert (answer["at"], answer["with_at"]) == (marks[1]["at"], marks[0]["at"])
    strings, changes = answer["strings"], answer["changes"]
    rows = {
        (strings[variable], strings[field]): (strings[before], strings[after])
        for variable, field, before, after in zip(
            changes["variable"], changes["field"], changes["before"], changes["after"], strict=True
        )
    }
    assert len(rows) == changes["rows"]
    assert {field for _, field in rows} >= {"trainable", "expected"}
    assert rows["backbone/block1_conv1/kernel", "expected"][0] != rows["backbone/block1_conv1/kernel", "expected"][1]
    assert not any(path.startswith("head/") and field == "expected" for path, field in rows)
    (added,) = answer["findings_added"]
    assert added["rule"] == "INT103"
    assert len(added["variables"]) == 26
    assert strings[added["variables"][0]] == "backbone/block1_conv1/kernel"
    assert answer["findings_removed"] == []
    assert (answer["counts"], answer["with_counts"]) == (marks[1]["counts"], marks[0]["counts"])


def test_compare_of_two_runs(client: LogClient) -> None:
    at = client.read("runs")["runs"][1]["last_at"]
    answer = client.read("compare", run=VGG, with_run="gan/introspect", with_at=at)
    strings = answer["strings"]
    assert "backbone/block1_conv1/kernel" in [strings[index] for index in answer["variables_added"]]
    assert "generator/dense_0/kernel" in [strings[index] for index in answer["variables_removed"]]


def test_compare_with_itself_is_empty(client: LogClient) -> None:
    at = client.read("report", run=VGG)["at"]
    answer = client.read("compare", run=VGG, with_at=at)
    assert answer["changes"]["rows"] == 0
    assert answer["findings_added"] == answer["findings_removed"] == []
    assert answer["variables_added"] == answer["variables_removed"] == []


def test_norms_of_one_variable_over_time(client: LogClient) -> None:
    answer = client.read("norms", run=VGG, variable="backbone/block1_conv1/kernel")
    (series,) = answer["series"]
    samples = [event for event in make_vgg_series().events if isinstance(event, Sample)]
    assert len(series["at"]) >= len(samples)
    assert series["at"] == sorted(series["at"])
    assert not series["truncated"]
    assert series["gradient_norm"][0] is None  # frozen
    assert series["update_norm"][0] == 0.0
    expected = samples[-1].gradient[0]
    assert expected is not None
    assert math.isclose(series["gradient_norm"][-1], expected, rel_tol=1e-6)
    assert len({len(series[name]) for name in ("at", "wall_time", "gradient_norm", "update_norm", "weight_norm")}) == 1


def test_norms_of_several_variables(client: LogClient) -> None:
    names = ["head/fc1/kernel", "head/fc1/bias"]
    answer = client.read("norms", run=VGG, variable=names)
    assert [series["variable"] for series in answer["series"]] == names


def test_a_variable_that_was_never_measured_has_an_empty_series(client: LogClient) -> None:
    (series,) = client.read("norms", run="gan/introspect", variable="generator/dense_0/kernel")["series"]
    assert series["at"] == series["gradient_norm"] == []


def test_latest_norms_are_those_of_the_last_sample(client: LogClient) -> None:
    answer = client.read("latest_norms", run=VGG)
    report = client.read("report", run=VGG)
    assert answer["variables_id"] == report["variables_id"]
    assert answer["rows"] == 32 == len(answer["gradient_norm"])
    assert answer["sampled_at"] >= report["at"]
    (series,) = client.read("norms", run=VGG, variable="head/fc1/kernel")["series"]
    row = [report["strings"][index] for index in report["variables"]["path"]].index("head/fc1/kernel")
    assert answer["gradient_norm"][row] == series["gradient_norm"][-1]
    empty = client.read("latest_norms", run="gan/introspect")
    assert (empty["sampled_at"], empty["wall_time"], empty["gradient_norm"]) == (None, None, [])


def test_norms_of_a_layer_are_those_of_its_variables_together(client: LogClient) -> None:
    answer = client.read("layer_norms", run=VGG, layer="backbone")
    (series,) = answer["series"]
    assert (answer["of"], series["layer"], series["truncated"]) == (26, "backbone", False)
    names = [row.path for row in make_vgg_series().reports[0].variables if row.path.startswith("backbone/")]
    parts = [
        part for names_ in (names[:16], names[16:]) for part in client.read("norms", run=VGG, variable=names_)["series"]
    ]
    assert series["at"] == parts[0]["at"]
    for column in ("gradient_norm", "update_norm", "weight_norm"):
        for place in (0, len(series["at"]) - 1):
            found = [part[column][place] for part in parts if part[column][place] is not None]
            together = math.sqrt(sum(value**2 for value in found)) if found else None
            assert series[column][place] == (None if together is None else pytest.approx(together, rel=1e-6))
    assert set(series["zero_fraction"]) == {None}


def test_norms_of_layers_that_are_not_there(client: LogClient) -> None:
    for layer in ("nothing", ""):
        assert client.ask("layer_norms", run=VGG, layer=layer).status_code == 404


def test_norms_of_a_very_large_layer_stay_within_their_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four blocks of variables, and room for forty points of each: the newest is kept, and no point is of a part."""
    from introspect_tb import norms

    series = make_proof_series()
    report = series.reports[0]
    rows = tuple(dataclasses.replace(report.variables[0], path=f"tower/v{i}", layer="tower") for i in range(4096))
    report = dataclasses.replace(report, variables=rows)
    paths = tuple(row.path for row in rows)
    with ReportWriter(str(tmp_path)) as writer:
        writer.append(report)
        for step in range(1, 101):
            values = (float(step),) * len(paths)
            writer.append_norms(NormSample(paths, step, values, values, values))
    monkeypatch.setattr(norms, "LAYER_BYTES", 4 * 1024 * 16 * 40)
    (found,) = LogClient(str(tmp_path)).read("layer_norms", run="introspect", layer="tower")["series"]
    assert found["truncated"]
    assert 1 <= len(found["at"]) <= 40
    assert found["at"][-1] == 100
    assert found["gradient_norm"] == [pytest.approx(64.0 * at, rel=1e-6) for at in found["at"]]


def test_norms_that_are_no_numbers_stay_so(tmp_path: Path) -> None:
    write_series(make_hostile_series(), str(tmp_path), "hostile")
    client = LogClient(str(tmp_path))
    layers = {row.layer for row in make_hostile_series().reports[0].variables if "\udcff" not in str(row.layer)}
    answers = [client.read("layer_norms", run="hostile/introspect", layer=layer)["series"][0] for layer in layers]
    assert {"nan", "inf"} <= {value for answer in answers for value in answer["gradient_norm"]}


def test_a_proof_is_that_of_the_report_in_force(client: LogClient) -> None:
    marks = client.read("timeline", run=VGG)["marks"]
    looks = [client.read("proof", run=VGG, at=mark["at"]) for mark in marks]
    assert [look["step"] for look in looks] == [300, 400, None, None, 310]
    assert [look["since"] for look in looks] == [200, 300, None, None, 210]
    assert [set(look["age"]) for look in looks] == [{299, 0}, {399, 0}, set(), set(), {0}]
    assert all(len(look["slot_age"]) == len(look["slot_judgement"]) for look in looks)
    assert len(looks[0]["slot_age"]) == 12
    assert looks[2]["looked_at"] is None
    assert client.read("proof", run="gan/introspect")["age"] == []


def test_a_proof_says_what_contradicts_the_report(tmp_path: Path) -> None:
    write_series(make_proof_series(), str(tmp_path))
    client = LogClient(str(tmp_path))
    paths = [row.path for row in make_proof_series().reports[0].variables]
    answer = client.read("proof", run="proof/introspect")
    told = {path: code for path, code in zip(paths, answer["judgement"], strict=True) if code}
    assert told == {"frozen/kernel": 1, "head/kernel": 2}
    assert sorted(code for code in answer["slot_judgement"] if code) == [2]


def test_norms_follow_a_variable_into_another_set_of_variables(tmp_path: Path) -> None:
    """A layer is added before the others: the same path has another place, and its history goes on."""
    first = make_gan_series().reports[0]
    row = dataclasses.replace(first.variables[0], path="added/kernel")
    second = dataclasses.replace(first, variables=(row, *first.variables), step=20)
    with ReportWriter(tmp_path) as writer:
        for report, step, value in ((first, 10, 1.0), (second, 30, 2.0)):
            writer.append(report)
            paths = tuple(row.path for row in report.variables)
            writer.append_norms(
                NormSample(paths, step, [value + index for index in range(len(paths))], [None] * len(paths))
            )
    client = LogClient(str(tmp_path))
    series, added = client.read("norms", run="introspect", variable=[first.variables[0].path, "added/kernel"])["series"]
    assert (series["at"], series["gradient_norm"]) == ([10, 30], [1.0, 3.0])
    assert (added["at"], added["gradient_norm"]) == ([30], [2.0])


def test_export_as_json_is_the_public_schema(client: LogClient) -> None:
    answer = client.ask("export", run=VGG, format="json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="introspect-report-801.json"'
    assert answer.json == json.loads(json.dumps(make_vgg_series().reports[-1].to_dict()))
    assert answer.json["schema"] == 1


def test_export_as_csv_has_a_line_for_each_variable(client: LogClient) -> None:
    answer = client.ask("export", run=VGG, format="csv", at=300)
    assert answer.content_type.startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True))))
    assert [row["path"] for row in rows] == [row.path for row in make_vgg_series().reports[1].variables]
    assert rows[0]["updated"] == "no"
    assert rows[0]["findings"] == "INT103"
    assert rows[0]["shape"] == "3x3x3x64"
    assert rows[-1]["writes"] == "gradient"
    assert rows[-1]["slots"] == "momentum; velocity"
    assert float(rows[-1]["gradient_norm"]) > 0


def test_an_empty_directory_has_no_runs(tmp_path: Path) -> None:
    answer = LogClient(str(tmp_path)).read("runs")
    assert answer["runs"] == []
    assert answer["logdir"] == str(tmp_path)


def test_other_peoples_runs_are_not_ours(tmp_path: Path) -> None:
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path / "train"))
    scalar = summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="loss", simple_value=1.0)])
    writer.add_event(event_pb2.Event(step=1, summary=scalar))
    writer.close()
    write_series(make_gan_series(), str(tmp_path))
    assert [run["run"] for run in LogClient(str(tmp_path)).read("runs")["runs"]] == ["gan/introspect"]


def test_hostile_names_arrive_as_they_are(tmp_path: Path) -> None:
    series = make_hostile_series()
    run = write_series(series, str(tmp_path))
    client = LogClient(str(tmp_path))
    assert [state["run"] for state in client.read("runs")["runs"]] == [run]
    report = client.read("report", run=run)
    assert report["model"]["name"] == HOSTILE[0]
    for name in HOSTILE:
        assert name in report["strings"]
    assert report["measured"]["gradient_norm"][:4] == ["nan", "inf", "-inf", 0.0]
    variable = series.reports[0].variables[0].path
    (norms,) = client.read("norms", run=run, variable=variable)["series"]
    assert norms["gradient_norm"] == ["nan", "nan"]
    timeline = client.read("timeline", run=run)["marks"]
    assert timeline[0]["reason"] == HOSTILE[0]


def test_a_spreadsheet_runs_no_formula_of_ours(tmp_path: Path) -> None:
    run = write_series(make_hostile_series(), str(tmp_path))
    rows = csv.reader(io.StringIO(LogClient(str(tmp_path)).ask("export", run=run, format="csv").get_data(as_text=True)))
    cells = [cell for row in rows for cell in row]
    assert "'=cmd|' /C calc'!A0#3/=cmd|' /C calc'!A0" in cells
    numbers = {"-inf"}
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@")) and cell not in numbers]


@pytest.mark.parametrize("name", ["vgg", "hostile"])
def test_answers_are_strict_json(tmp_path: Path, name: str) -> None:
    run = write_series(SERIES[name](), str(tmp_path), "here")
    client = LogClient(str(tmp_path))
    variable = SERIES[name]().reports[0].variables[0].path

    def refuse(word: str) -> None:
        raise AssertionError(word)

    for route, query in (
        ("runs", {}),
        ("timeline", {"run": run}),
        ("report", {"run": run}),
        ("norms", {"run": run, "variable": variable}),
        ("latest_norms", {"run": run}),
        ("export", {"run": run, "format": "json"}),
        ("compare", {"run": run, "with_at": 0}),
    ):
        json.loads(client.ask(route, **query).get_data(as_text=True), parse_constant=refuse)


def test_answers_are_compressed_where_the_browser_says_so(client: LogClient) -> None:
    plain = client.ask("report", run=VGG)
    packed = client.ask("report", run=VGG, headers={"Accept-Encoding": "gzip, br"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert int(plain.headers["Content-Length"]) == len(plain.data)


def test_tokens_stay_while_nothing_changes(client: LogClient) -> None:
    first, second = client.read("runs"), client.read("runs")
    assert first == second
    tokens = {run["run"]: run["token"] for run in first["runs"]}
    assert len(set(tokens.values())) == len(tokens)
    assert client.read("timeline", run=VGG)["token"] == tokens[VGG]


def test_a_report_of_no_variables(tmp_path: Path) -> None:
    report = dataclasses.replace(make_gan_series().reports[0], variables=(), layers=(), traces=(), optimizers=())
    with ReportWriter(tmp_path) as writer:
        writer.append(report)
    client = LogClient(str(tmp_path))
    answer = client.read("report", run="introspect")
    assert answer["variables"]["rows"] == 0
    assert answer["variables"]["writes_start"] == [0]
    assert client.read("latest_norms", run="introspect")["rows"] == 0
    assert flatten_report(report).rows["variables"] == 0


def test_series_are_what_they_say() -> None:
    """The synthetic series keep the contract's rules, so that a page built on them meets real reports."""
    for name, make in SERIES.items():
        if name == "huge":
            continue
        series: Series = make()
        for report in series.reports:
            paths = [row.path for row in report.variables]
            assert len(paths) == len(set(paths))
            layers = [row.path for row in report.layers]
            assert len(layers) == len(set(layers))
            assert {row.layer for row in report.variables} <= set(layers)
            assert sum(trace.current for trace in report.traces) == 1, (name, report.reason)
