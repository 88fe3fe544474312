"""The samples that a newcomer watches, run as he runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from introspect.records import Report
from tests.report.reading import read_reports

pytestmark = [pytest.mark.tf, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def run_sample(name: str, folder: Path, *options: str) -> list[Report]:
    command = [sys.executable, str(ROOT / "samples" / name), "--logdir", str(folder), *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return [report for _, report in read_reports(str(folder))]


def test_finetune(tmp_path: Path) -> None:
    reports = run_sample("live_finetune.py", tmp_path, "--pause", "0", "--epochs", "8")
    assert [report.reason for report in reports] == [
        *("first trace", "epoch", "epoch", "epoch"),
        *("flag changed", "epoch", "epoch", "epoch"),
        *("recompiled", "epoch", "epoch", "train end"),
    ]
    assert [report.ok for report in reports] == [True] * 4 + [False] * 4 + [True] * 4
    (finding,) = reports[4].findings
    assert finding.rule == "INT103"
    assert len(finding.variables) == 26
    assert "backbone.trainable was set to True at live_finetune.py:" in finding.cause
    assert sum(row.updated == "yes" for row in reports[-1].variables) == 32
    assert [report.step for report in reports] == sorted(report.step or 0 for report in reports)


def test_gan(tmp_path: Path) -> None:
    reports = run_sample("live_gan.py", tmp_path, "--epochs", "2")
    assert [report.reason for report in reports] == ["first trace", "train end"]
    assert reports[-1].ok
    kinds = {row.path: {write.kind for write in row.writes} for row in reports[-1].variables}
    assert all(kinds[path] == {"average"} for path in kinds if path.startswith("average/") and "seed" not in path)
    assert len(reports[-1].optimizers) >= 2


def test_replicas(tmp_path: Path) -> None:
    reports = run_sample("live_replicas.py", tmp_path, "--epochs", "4")
    assert [report.reason for report in reports] == ["first trace", "flag changed", "train end"]
    assert [f.rule for f in reports[1].findings if f.severity == "error"] == ["INT101"]
    assert all(len(row.replicas) == 2 for row in reports[0].variables if row.path.startswith(("stem", "head")))
