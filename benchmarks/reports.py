"""Size of a report of 100 000 variables, and seconds to write, to read and to show it."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from growth import make_capture, make_graph
from timing import show

VARIABLES = 100_000


def main() -> None:
    from introspect.diagnosis import diagnose
    from introspect.outlets import render_text
    from introspect.report.serde import read_report, write_report
    from introspect.report.writer import append_report

    report = diagnose(make_capture(600, "descent", make_graph(600, "descent")))
    rows = tuple(replace(report.variables[0], path=f"block{i // 8}/layer{i % 8}/kernel") for i in range(VARIABLES))
    report = replace(report, variables=rows)
    started = time.perf_counter()
    data = write_report(report)
    wrote = time.perf_counter()
    assert read_report(data) == report
    read = time.perf_counter()
    show(
        f"report of {VARIABLES:,} variables as protobuf",
        f"{len(data) / 1e6:.2f} MB, written in {wrote - started:.2f} s, read in {read - wrote:.2f} s",
    )
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        append_report(folder, report)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        show("the same into a log directory", f"{size / 1e6:.2f} MB, {time.perf_counter() - started:.2f} s")
    started = time.perf_counter()
    render_text(report)
    show("the same as text", f"{time.perf_counter() - started:.2f} s")


if __name__ == "__main__":
    main()
