"""What the routes say while reports are being written."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from introspect.records import Report
from introspect.report.norms import NormSample
from introspect.report.writer import ReportWriter, append_report
from tests.tb.serving import LogClient
from tests.tb.synthetic import make_gan_series, make_vgg_series, write_series

REPORT = make_gan_series().reports[0]
PATHS = tuple(row.path for row in REPORT.variables)
RUN = "introspect"


def _at(step: int, reason: str = "epoch") -> Report:
    return dataclasses.replace(REPORT, step=step, reason=reason)


def _sample(step: int) -> NormSample:
    return NormSample(PATHS, step, [float(step)] * len(PATHS), [0.5] * len(PATHS))


def test_each_report_appears_and_changes_the_token(tmp_path: Path) -> None:
    client = LogClient(str(tmp_path))
    tokens = [client.read("runs")["token"]]
    with ReportWriter(tmp_path) as writer:
        for step in range(4):
            writer.append(_at(step))
            client.reload()
            runs = client.read("runs")
            tokens.append(runs["token"])
            assert [mark["step"] for mark in client.read("timeline", run=RUN)["marks"]] == list(range(step + 1))
            assert client.read("report", run=RUN)["step"] == step
            assert runs["runs"][0]["last"]["step"] == step
    assert len(set(tokens)) == 5


def test_a_norm_sample_changes_the_token_and_shows(tmp_path: Path) -> None:
    client = LogClient(str(tmp_path))
    with ReportWriter(tmp_path) as writer:
        writer.append(_at(0))
        client.reload()
        before = client.read("runs")["token"]
        for step in (10, 20):
            writer.append_norms(_sample(step))
            client.reload()
            assert client.read("runs")["token"] != before
            (series,) = client.read("norms", run=RUN, variable=PATHS[0])["series"]
            assert series["gradient_norm"][-1] == step
            assert client.read("latest_norms", run=RUN)["sampled_at"] == step
            before = client.read("runs")["token"]


def test_a_training_that_begins_anew_goes_on_the_same_timeline(tmp_path: Path) -> None:
    client = LogClient(str(tmp_path))
    for _ in range(3):
        with ReportWriter(tmp_path) as writer:
            for step in (0, 5):
                writer.append(_at(step))
            client.reload()
    marks = client.read("timeline", run=RUN)["marks"]
    assert [mark["step"] for mark in marks] == [0, 5, 0, 5, 0, 5]
    assert [mark["at"] for mark in marks] == [0, 5, 6, 11, 12, 17]


def test_a_second_process_in_the_directory_hides_nothing(tmp_path: Path) -> None:
    """`append_report` of another process while a training writes: what the training writes later is seen too."""
    import pickle
    import subprocess
    import sys

    client = LogClient(str(tmp_path))
    code = "import sys, pickle; from introspect.report.writer import append_report; "
    code += "append_report(sys.argv[1], pickle.load(sys.stdin.buffer))"
    with ReportWriter(tmp_path) as writer:
        writer.append(_at(1))
        client.reload()
        data = pickle.dumps(_at(0, "command line"))
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], input=data, check=True, timeout=60)
        client.reload()
        writer.append(_at(2))
        client.reload()
    marks = client.read("timeline", run=RUN)["marks"]
    assert [mark["reason"] for mark in marks] == ["epoch", "command line", "epoch"]


def test_two_runs_are_told_apart(tmp_path: Path) -> None:
    write_series(make_vgg_series(), str(tmp_path), "first")
    write_series(make_gan_series(), str(tmp_path), "second")
    client = LogClient(str(tmp_path))
    tokens = {run["run"]: run["token"] for run in client.read("runs")["runs"]}
    append_report(tmp_path / "second", _at(9000))
    client.reload()
    later = {run["run"]: run["token"] for run in client.read("runs")["runs"]}
    assert later["first/introspect"] == tokens["first/introspect"]
    assert later["second/introspect"] != tokens["second/introspect"]


def test_a_run_that_was_removed_goes(tmp_path: Path) -> None:
    write_series(make_gan_series(), str(tmp_path))
    append_report(tmp_path / "other", REPORT)
    client = LogClient(str(tmp_path))
    shutil.rmtree(tmp_path / "gan")
    client.reload()
    assert [run["run"] for run in client.read("runs")["runs"]] == ["other/introspect"]


def test_what_tensorboard_samples_away_is_said(tmp_path: Path) -> None:
    """Without `samples_per_plugin` (an embedder) ten reports and ten marks are left, the newest among them."""
    with ReportWriter(tmp_path) as writer:
        for step in range(40):
            writer.append(_at(step))
    kept = LogClient(str(tmp_path))
    assert len(kept.read("timeline", run=RUN)["marks"]) == 40
    client = LogClient(str(tmp_path), samples=10)
    marks = client.read("timeline", run=RUN)["marks"]
    assert sum(mark["stored"] for mark in marks) == 10
    assert sum(mark["counts"] is not None for mark in marks) == 10
    assert marks[-1]["at"] == 39
    for mark in marks:
        status = client.ask("report", run=RUN, at=mark["at"]).status_code
        assert status == (200 if mark["stored"] else 404)


def test_a_path_prefix_changes_nothing(tmp_path: Path) -> None:
    append_report(tmp_path, REPORT)
    client = LogClient(str(tmp_path), path_prefix="/pre/fix")
    assert client.read("report", run=RUN)["ok"]
