"""What is refused, and how: one line of plain text, whatever comes in by the request or by the log."""

from __future__ import annotations

import re
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from introspect_tb import reports

from introspect.report import events, serde
from introspect.report import report_pb2 as pb
from introspect.report.events import LocalFiles
from introspect.report.metadata import NORMS_TAG, PLUGIN_NAME, PROOF_TAG, REPORT_TAG, TIMELINE_TAG
from introspect.report.writer import append_report
from tests.tb.serving import LogClient
from tests.tb.synthetic import make_gan_series, write_series

RUN = "gan/introspect"
ROUTES = ("runs", "timeline", "report", "compare", "norms", "layer_norms", "latest_norms", "proof", "export")
REPORT = make_gan_series().reports[0]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> LogClient:
    root = str(tmp_path_factory.mktemp("logs"))
    write_series(make_gan_series(), root)
    return LogClient(root)


def assert_refused(answer: Any, status: int) -> str:
    """The answer is an error as http_api.md has it; its line."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.content_type.startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    text: str = answer.get_data(as_text=True)
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("route", "query"),
    [
        ("timeline", {}),
        ("report", {"at": 0}),
        ("report", {"run": [RUN, RUN]}),
        ("report", {"run": RUN, "at": "one"}),
        ("report", {"run": RUN, "at": "-1"}),
        ("report", {"run": RUN, "at": "1.0"}),
        ("report", {"run": RUN, "at": "١"}),
        ("report", {"run": RUN, "at": ""}),
        ("report", {"run": RUN, "at": str(2**63)}),
        ("report", {"run": RUN, "at": "0" * 65}),
        ("report", {"run": "x" * 1025}),
        ("report", {"run": "x" * 9000}),
        ("compare", {"run": RUN}),
        ("compare", {"run": RUN, "with_at": "x"}),
        ("norms", {"run": RUN}),
        ("norms", {"run": RUN, "variable": ["x"] * 17}),
        ("norms", {"run": RUN, "variable": "x" * 4097}),
        ("layer_norms", {"run": RUN}),
        ("layer_norms", {"run": RUN, "layer": "x" * 4097}),
        ("proof", {"run": RUN, "at": "x"}),
        ("export", {"run": RUN}),
        ("export", {"run": RUN, "format": "html"}),
    ],
)
def test_a_request_that_cannot_be_meant_is_400(client: LogClient, route: str, query: dict[str, Any]) -> None:
    assert_refused(client.ask(route, **query), 400)


@pytest.mark.parametrize("run", ["nope", "", "..", "../gan/introspect", "gan/introspect/", "/etc", "%00", "<script>"])
@pytest.mark.parametrize("route", [route for route in ROUTES if route != "runs"])
def test_a_run_that_is_not_there_is_404(client: LogClient, route: str, run: str) -> None:
    needed: dict[str, dict[str, Any]] = {
        "compare": {"with_at": 0},
        "norms": {"variable": "x"},
        "layer_norms": {"layer": "x"},
        "export": {"format": "csv"},
    }
    query = needed.get(route, {})
    text = assert_refused(client.ask(route, run=run, **query), 404)
    assert "<script>" not in text


def test_a_report_or_a_variable_that_is_not_there_is_404(client: LogClient) -> None:
    assert_refused(client.ask("report", run=RUN, at=1), 404)
    assert_refused(client.ask("compare", run=RUN, with_at=1), 404)
    assert_refused(client.ask("compare", run=RUN, with_run="other", with_at=0), 404)
    assert_refused(client.ask("norms", run=RUN, variable=["generator/dense_0/kernel", "other"]), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("route", [*ROUTES, "index.js"])
def test_every_route_is_read_only(client: LogClient, route: str, method: str) -> None:
    answer = client.ask(route, method=method, run=RUN)
    assert_refused(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("route", ["runs", "index.js"])
def test_head_is_get_without_the_body(client: LogClient, route: str) -> None:
    whole, head = client.ask(route), client.ask(route, method="HEAD")
    assert head.status_code == 200
    assert head.data == b""
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]


@pytest.mark.parametrize("route", [*ROUTES, "index.js"])
def test_every_answer_forbids_sniffing_and_stale_copies(client: LogClient, route: str) -> None:
    query: dict[str, Any] = {"run": RUN, "with_at": 0, "variable": "generator/dense_0/kernel", "format": "csv"}
    answer = client.ask(route, layer="generator", **query)
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache, must-revalidate"
    assert "ETag" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%5c..%5cetc%5cpasswd",
        "//etc/passwd",
        "static/index.js",
        "index.js/../loader.py",
        "loader.py",
        "http_api.md",
        "frontend/package.json",
        "",
        "%00",
    ],
)
def test_no_other_path_is_served(client: LogClient, path: str) -> None:
    answer = client.client.get(f"/data/plugin/introspect/{path}")
    assert answer.status_code == 404
    assert b"root:" not in answer.data


@given(
    route=st.sampled_from(ROUTES),
    query=st.dictionaries(
        st.sampled_from(["run", "at", "with_run", "with_at", "variable", "format", "other"]),
        st.one_of(st.text(max_size=20), st.just(RUN), st.integers().map(str), st.just("csv")),
    ),
)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_a_fault(client: LogClient, route: str, query: dict[str, Any]) -> None:
    assert client.ask(route, **query).status_code in (200, 400, 404)


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_query_string_is_a_fault(client: LogClient, query: bytes) -> None:
    text = "run=" + query.decode("latin-1")
    status = client.client.open("/data/plugin/introspect/report", query_string=text).status_code
    assert status in (200, 400, 404)


def _write_values(root: Path, folder: str, *values: Any) -> str:
    directory = str(root / folder / "introspect")
    file = LocalFiles().create(directory, "events.out.tfevents.1000000000.host.1.0.introspect")
    file.write(events.make_first_event())
    for step, value in enumerate(values):
        file.write(events.make_event(step, [value] if not isinstance(value, list) else value))
    file.close()
    return f"{folder}/introspect"


def _blob(data: bytes) -> Any:
    return events.make_text_value(REPORT_TAG, data, PLUGIN_NAME, blob=True)


GOOD = serde.write_report(REPORT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"not a report",
        GOOD[:-7],
        GOOD[:40] + b"\xff" + GOOD[41:],
        pb.Stored(version=1, codec=1, size=5, body=zlib.compress(b"hello")).SerializeToString(),
    ],
)
def test_a_damaged_report_is_422_and_hurts_no_other(tmp_path: Path, data: bytes) -> None:
    run = _write_values(tmp_path, "bad", _blob(data), _blob(GOOD))
    append_report(tmp_path / "good", REPORT)
    client = LogClient(str(tmp_path))
    assert [state["run"] for state in client.read("runs")["runs"]] == ["bad/introspect", "good/introspect"]
    marks = client.read("timeline", run=run)["marks"]
    assert [(mark["at"], mark["stored"], mark["counts"]) for mark in marks] == [(0, True, None), (1, True, None)]
    assert "write it anew" in assert_refused(client.ask("report", run=run, at=0), 422)
    assert_refused(client.ask("export", run=run, at=0, format="csv"), 422)
    assert_refused(client.ask("compare", run=run, at=1, with_at=0), 422)
    assert client.read("report", run=run, at=1)["ok"]
    assert client.read("report", run="good/introspect")["ok"]


def test_a_newer_report_is_422_and_says_what_to_do(tmp_path: Path) -> None:
    stored = pb.Stored.FromString(GOOD)
    stored.version = 9
    run = _write_values(tmp_path, "new", _blob(stored.SerializeToString()))
    text = assert_refused(LogClient(str(tmp_path)).ask("report", run=run), 422)
    assert "upgrade introspect-keras" in text


def test_a_report_beyond_the_limit_is_413(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    huge = pb.Stored(version=1, codec=1, size=200 << 20, body=bomb).SerializeToString()
    run = _write_values(tmp_path, "bomb", _blob(huge), _blob(GOOD))
    client = LogClient(str(tmp_path))
    assert_refused(client.ask("report", run=run, at=0), 413)
    monkeypatch.setattr(serde, "STORED_LIMIT", 100)
    assert_refused(client.ask("report", run=run, at=1), 413)


def test_more_than_one_blob_at_a_step_is_422(tmp_path: Path) -> None:
    value = _blob(GOOD)
    value.tensor.tensor_shape.dim[0].size = 10**9
    run = _write_values(tmp_path, "many", value)
    client = LogClient(str(tmp_path))
    client.read("runs")
    assert_refused(client.ask("report", run=run), 422)
    assert_refused(client.ask("timeline", run=run), 422)


def test_a_damaged_mark_leaves_the_report(tmp_path: Path) -> None:
    marks = [
        events.make_text_value(TIMELINE_TAG, data, PLUGIN_NAME, blob=False) for data in (b"", b"\xff\xff", b"\x08\x09")
    ]
    run = _write_values(tmp_path, "marks", *([_blob(GOOD), mark] for mark in marks))
    client = LogClient(str(tmp_path))
    answer = client.read("timeline", run=run)
    assert [(mark["stored"], mark["reason"], mark["rules"]) for mark in answer["marks"]] == [(True, None, [])] * 3
    assert client.read("runs")["runs"][0]["last"]["counts"] is None
    assert client.read("report", run=run)["ok"]


def test_a_mark_of_another_shape_leaves_the_report(tmp_path: Path) -> None:
    number = events.make_float_value(TIMELINE_TAG, bytes(8), (2,), PLUGIN_NAME)
    torn = events.make_float_value(TIMELINE_TAG, bytes(7), (2,), PLUGIN_NAME)
    for folder, mark in (("number", number), ("torn", torn)):
        run = _write_values(tmp_path, folder, [_blob(GOOD), mark])
        client = LogClient(str(tmp_path))
        assert len(client.read("timeline", run=run)["marks"]) == 1
        assert client.read("report", run=run)["ok"]


@pytest.mark.parametrize("shape", [(4,), (3, 16), (4, 4, 4), (0, 0)])
def test_norms_of_another_shape_are_left_out(tmp_path: Path, shape: tuple[int, ...]) -> None:
    size = 4
    for length in shape:
        size *= length
    tag = f"{NORMS_TAG}/{pb.Mark.FromString(_mark()).variables_id}/0"
    run = _write_values(tmp_path, "norms", [_blob(GOOD), events.make_float_value(tag, bytes(size), shape, PLUGIN_NAME)])
    client = LogClient(str(tmp_path))
    (series,) = client.read("norms", run=run, variable=REPORT.variables[0].path)["series"]
    assert series["at"] == []
    assert client.read("latest_norms", run=run)["sampled_at"] is None


def test_a_damaged_proof_leaves_the_report(tmp_path: Path) -> None:
    """Bytes that are no message, rows that do not fit each other, a bomb, a tensor of numbers."""
    rows = pb.ProofRows(variables=9, age=[0, -3], judgement=[0, 7])
    heads = [
        {"version": 1, "codec": 1, "size": 1 << 40, "body": zlib.compress(b"")},
        {"version": 1, "codec": 1, "size": rows.ByteSize(), "body": zlib.compress(rows.SerializeToString())},
        {"version": 1, "codec": 0},
        {"version": 99, "codec": 1},
    ]
    messages = [b"", b"\xff\xff", b"\x08\x09", *(pb.Proof(**head).SerializeToString() for head in heads)]
    proofs = [events.make_text_value(PROOF_TAG, data, PLUGIN_NAME, blob=False) for data in messages]
    for number, proof in enumerate([*proofs, events.make_float_value(PROOF_TAG, bytes(8), (2,), PLUGIN_NAME)]):
        run = _write_values(tmp_path, f"proof{number}", [_blob(GOOD), proof])
        client = LogClient(str(tmp_path))
        assert client.read("proof", run=run)["looked_at"] is None
        assert client.read("report", run=run)["ok"]


def _mark() -> bytes:
    from introspect.report.columns import flatten_report
    from introspect.report.metadata import mark_report

    return serde.write_mark(mark_report(flatten_report(REPORT)))


def test_other_tags_of_our_name_are_ignored(tmp_path: Path) -> None:
    other = events.make_text_value("introspect/other", GOOD, PLUGIN_NAME, blob=True)
    _write_values(tmp_path, "other", other)
    assert LogClient(str(tmp_path)).read("runs")["runs"] == []


def test_a_fault_of_ours_is_500_without_its_text(client: LogClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("/secret/path")

    monkeypatch.setattr(reports.ReportLog, "list_runs", fail)
    assert "secret" not in assert_refused(client.ask("runs"), 500)


def test_requests_at_once_read_a_report_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_report(tmp_path, REPORT)
    client = LogClient(str(tmp_path))
    read, count = serde.read_columns, []

    def read_slowly(data: bytes) -> Any:
        count.append(1)
        return read(data)

    monkeypatch.setattr(serde, "read_columns", read_slowly)
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(client.ask("report", run="introspect").data)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert len(count) == 1


def test_nothing_of_the_plugin_writes_or_opens_by_name() -> None:
    """Static files are read once, at start; no request reaches a function that opens, writes or runs anything."""
    folder = Path(reports.__file__).parent
    forbidden = re.compile(r"\bopen\(|os\.|subprocess|shutil|eval\(|exec\(|pickle|multiplexer|\.logdir\b")
    for path in folder.glob("*.py"):
        assert not forbidden.search(path.read_text()), path.name
