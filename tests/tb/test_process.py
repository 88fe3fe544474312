"""A real `tensorboard` process: both of its readers, with and without a path prefix."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from introspect.records import Report
from introspect.report import events, serde
from introspect.report.events import LocalFiles
from introspect.report.metadata import PLUGIN_NAME, REPORT_TAG
from introspect.report.norms import NormSample
from introspect.report.writer import ReportWriter
from tests.tb.processes import TensorBoard, run_tensorboard
from tests.tb.synthetic import make_cut_series, make_gan_series, make_hostile_series, make_vgg_series, write_series

pytestmark = pytest.mark.slow
READERS = {"rust": ("--load_fast=true",), "python": ("--load_fast=false",)}
PREFIXES = {"plain": (), "prefix": ("--path_prefix", "/pre/fix")}
REPORT = make_gan_series().reports[0]
PATHS = tuple(row.path for row in REPORT.variables)
VGG = "vgg/introspect"


def _at(step: int) -> Report:
    return dataclasses.replace(REPORT, step=step, reason="epoch")


@pytest.fixture(scope="module", params=[(reader, prefix) for reader in READERS for prefix in PREFIXES], ids="-".join)
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TensorBoard]:
    reader, prefix = request.param
    if reader == "rust" and get_server_binary() is None:
        pytest.skip("tensorboard-data-server has no binary for this platform")
    root = tmp_path_factory.mktemp("logs")
    write_series(make_vgg_series(), str(root))
    write_series(make_cut_series(), str(root))
    write_series(make_hostile_series(), str(root), "<img src=x onerror=alert(1)>")
    _write_damaged(root)
    (root / "live").mkdir()
    options = (*READERS[reader], *PREFIXES[prefix])
    with run_tensorboard(root, tmp_path_factory.mktemp("work"), *options) as running:
        running.wait(lambda: len(running.read("runs")["runs"]) >= 4)
        yield running


def get_server_binary() -> str | None:
    """Where the Rust reader is, or None where its wheel has none (Windows, macOS on ARM, Linux on ARM)."""
    import tensorboard_data_server

    path: str | None = tensorboard_data_server.server_binary()
    return path


def _write_damaged(root: Path) -> None:
    file = LocalFiles().create(
        str(root / "damaged" / "introspect"), "events.out.tfevents.1000000000.host.1.0.introspect"
    )
    file.write(events.make_first_event())
    good = serde.write_report(REPORT)
    for step, data in enumerate((good[:50], good, b"")):
        file.write(events.make_event(step, [events.make_text_value(REPORT_TAG, data, PLUGIN_NAME, blob=True)]))
    file.close()


def _find_root(board: TensorBoard) -> Path:
    return Path(board.read("runs")["logdir"])


def test_the_tab_is_there(board: TensorBoard) -> None:
    _, _, body = board.fetch("data/plugins_listing")
    listing = json.loads(body)["introspect"]
    assert listing["enabled"]
    assert listing["tab_name"] == "Introspect"
    assert listing["loading_mechanism"]["module_path"].endswith("/data/plugin/introspect/index.js")
    status, headers, _ = board.ask("index.js")
    assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
    status, headers, body = board.fetch("data/plugin_entry.html", name="introspect")
    assert status == 200
    assert b'"./index.js"' in body


def test_reports_are_read(board: TensorBoard) -> None:
    marks = board.read("timeline", run=VGG)["marks"]
    assert [mark["reason"] for mark in marks] == ["first trace", "flag changed", "epoch", "recompiled", "train end"]
    assert [mark["at"] for mark in marks] == [0, 300, 400, 491, 801]
    for mark, report in zip(marks, make_vgg_series().reports, strict=True):
        answer = board.read("report", run=VGG, at=mark["at"])
        assert answer["strings"][answer["variables"]["path"][0]] == report.variables[0].path
        assert answer["counts"] == mark["counts"]
        exported = board.read("export", run=VGG, at=mark["at"], format="json")
        assert exported == json.loads(json.dumps(report.to_dict()))
    (series,) = board.read("norms", run=VGG, variable="head/fc1/kernel")["series"]
    assert len(series["at"]) == 80
    assert board.read("latest_norms", run=VGG)["sampled_at"] == 801
    assert board.read("compare", run=VGG, at=300, with_at=0)["changes"]["rows"] > 0


def test_what_is_appended_appears(board: TensorBoard) -> None:
    live = _find_root(board) / "live"
    before = board.read("runs")["token"]
    with ReportWriter(live) as writer:
        for step in (0, 1, 50):
            writer.append(_at(step))
            writer.append_norms(NormSample(PATHS, step + 1, [1.0] * len(PATHS), [0.1] * len(PATHS)))

            def is_seen(step: int = step) -> bool:
                runs = {run["run"]: run for run in board.read("runs")["runs"]}
                last = runs.get("live/introspect", {}).get("last")
                return bool(last and last["step"] == step)

            board.wait(is_seen)
    assert board.read("runs")["token"] != before
    board.wait(lambda: board.read("latest_norms", run="live/introspect")["sampled_at"] == 51)
    with ReportWriter(live) as writer:  # the training is begun anew in the same directory
        writer.append(_at(0))
        writer.append(_at(7))
    marks = board.wait(lambda: _read_marks(board, 5))
    assert [mark["step"] for mark in marks] == [0, 1, 50, 0, 7]
    assert [mark["at"] for mark in marks] == [0, 1, 50, 52, 59]
    assert board.read("report", run="live/introspect")["step"] == 7


def _read_marks(board: TensorBoard, count: int) -> list[dict[str, object]]:
    marks: list[dict[str, object]] = board.read("timeline", run="live/introspect")["marks"]
    return marks if len(marks) == count else []


def test_every_report_is_kept(board: TensorBoard) -> None:
    """TensorBoard keeps ten of a plugin's samples; the loader asks for all."""
    folder = _find_root(board) / "many"
    with ReportWriter(folder) as writer:
        for step in range(150):
            writer.append(_at(step))
    board.wait(
        lambda: any(run["run"] == "many/introspect" and run["last_at"] == 149 for run in board.read("runs")["runs"])
    )
    marks = board.read("timeline", run="many/introspect")["marks"]
    assert [mark["at"] for mark in marks] == list(range(150))
    assert all(mark["stored"] and mark["counts"] for mark in marks)
    assert board.read("report", run="many/introspect", at=0)["step"] == 0


def test_damage_hurts_no_other(board: TensorBoard) -> None:
    run = "damaged/introspect"
    assert [mark["at"] for mark in board.read("timeline", run=run)["marks"]] == [0, 1, 2]
    for at in (0, 2):
        status, headers, body = board.ask("report", run=run, at=at)
        assert (status, headers["Content-Type"]) == (422, "text/plain; charset=utf-8")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert body.startswith(b"report is damaged")
    assert board.read("report", run=run, at=1)["ok"]


def test_hostile_names_are_only_names(board: TensorBoard) -> None:
    run = "<img src=x onerror=alert(1)>/introspect"
    report = board.read("report", run=run)
    assert "../../../../etc/passwd#2" in report["strings"]
    for path in ("../../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "static/index.js"):
        assert board.ask(path)[0] == 404
    assert board.ask("report", run="../" + run)[0] == 404
    assert board.ask("runs", method="POST")[0] == 405


def test_nothing_is_complained_about(board: TensorBoard) -> None:
    """TensorBoard's security validator logs what it does not like of a response."""
    noise = [line for line in board.log if "Traceback" in line or "security_validator" in line or line[:2] == " W"]
    assert noise == []
