"""100 000 variables: time and size of each answer."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import numpy as np
import pytest

from introspect.report.norms import NormSample
from introspect.report.writer import ReportWriter
from tests.tb.serving import LogClient
from tests.tb.synthetic import make_huge_report

pytestmark = pytest.mark.slow
COUNT = 100_000
RUN = "introspect"
GZIP = {"Accept-Encoding": "gzip"}


def test_a_hundred_thousand_variables_are_served_in_seconds(tmp_path: Path) -> None:
    report = make_huge_report(COUNT, step=0)
    paths = tuple(row.path for row in report.variables)
    clock = _Clock()
    with ReportWriter(tmp_path) as writer:
        writer.append(report)
        clock.tell("append the report")
        for step in range(1, 21):
            writer.append_norms(NormSample(paths, step, np.full(COUNT, 0.5), np.full(COUNT, step / 10)))
        clock.tell("append 20 norm samples")
        writer.append(make_huge_report(COUNT, step=30))
    clock.tell()
    client = LogClient(str(tmp_path))
    clock.tell("TensorBoard reads the directory")
    client.read("runs")
    clock.tell("runs")
    answer = client.ask("report", run=RUN, at=0, headers=GZIP)
    seconds = clock.tell("report, first time", answer.data)
    client.ask("report", run=RUN, at=0, headers=GZIP)
    again = clock.tell("report, again", answer.data)
    text = gzip.decompress(answer.data)
    clock.tell()
    body = json.loads(text)
    clock.tell("parsed by Python", text)
    assert body["variables"]["rows"] == COUNT
    assert [body["strings"][index] for index in body["variables"]["path"]] == list(paths)
    norms = client.read("norms", run=RUN, variable=[paths[0], paths[-1]])
    clock.tell("norms of two variables")
    assert norms["series"][1]["update_norm"] == pytest.approx([step / 10 for step in range(1, 21)])
    latest = client.ask("latest_norms", run=RUN, headers=GZIP)
    clock.tell("latest_norms", latest.data)
    assert json.loads(gzip.decompress(latest.data))["sampled_at"] == 20
    client.ask("compare", run=RUN, with_at=0)
    clock.tell("compare")
    client.ask("export", run=RUN, format="csv")
    clock.tell("export as CSV")
    assert seconds < 20
    assert again < 0.5
    assert len(answer.data) < 8_000_000


class _Clock:
    def __init__(self) -> None:
        self.last = time.perf_counter()

    def tell(self, what: str = "", data: bytes = b"") -> float:
        now = time.perf_counter()
        seconds, self.last = now - self.last, now
        if what:
            print(f"{what}: {seconds:.2f} s" + (f", {len(data) / 1e6:.2f} MB" if data else ""))
        return seconds
