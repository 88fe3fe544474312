"""What the writer leaves in a directory, without TensorFlow."""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from introspect.errors import RecordError
from introspect.records import Report
from introspect.report import events
from introspect.report.events import LocalFiles, read_last_step
from introspect.report.metadata import NORM_BLOCK, NOT_MEASURED, REPORT_TAG, TIMELINE_TAG
from introspect.report.norms import NormSample
from introspect.report.writer import ReportWriter, append_report
from tests.report.reading import list_files, read_entries, read_events, read_marks, read_norm_entries, read_reports
from tests.tb.synthetic import Sample, make_gan_series, make_vgg_series, with_norms

REPORT = make_gan_series().reports[0]
PATHS = tuple(row.path for row in REPORT.variables)


def _at(step: int | None, reason: str = "epoch") -> Report:
    return dataclasses.replace(REPORT, step=step, reason=reason)


def _sample(step: int, value: float = 0.5) -> NormSample:
    return NormSample(PATHS, step, [value] * len(PATHS), [value / 10] * len(PATHS))


def test_a_report_and_its_mark_are_one_event(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as writer:
        assert writer.append(_at(7), epoch=2, detail="one", headline="All well.") == 7
    first, second = read_events(list_files(str(tmp_path))[0])
    assert first.file_version == "brain.Event:2"
    assert [value.tag for value in second.summary.value] == [REPORT_TAG, TIMELINE_TAG]
    for value in second.summary.value:
        assert value.metadata.plugin_data.plugin_name == "introspect"
        assert [dim.size for dim in value.tensor.tensor_shape.dim] == [1]
    assert [value.metadata.data_class for value in second.summary.value] == [3, 2]
    assert read_reports(str(tmp_path)) == [(7, _at(7))]
    ((at, mark),) = read_marks(str(tmp_path))
    assert (at, mark.step, mark.epoch, mark.detail, mark.headline) == (7, 7, 2, "one", "All well.")


def test_what_was_appended_is_visible_at_once(tmp_path: Path) -> None:
    writer = ReportWriter(tmp_path)
    for count in range(1, 4):
        writer.append(_at(count))
        assert len(read_reports(str(tmp_path))) == count
        writer.append_norms(_sample(count))
        assert len(read_norm_entries(str(tmp_path))) == count
    writer.close()


def test_nothing_is_made_before_the_first_report(tmp_path: Path) -> None:
    with ReportWriter(tmp_path / "logs"):
        pass
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([0, 0, 0], [0, 1, 2]),
        ([0, 300, 400], [0, 300, 400]),
        ([100, 500, 0, 100], [100, 500, 501, 601]),
        ([None, None, 5], [0, 1, 5]),
        ([500, 500, 501], [500, 501, 502]),
    ],
)
def test_steps_rise_strictly(tmp_path: Path, steps: list[int | None], expected: list[int]) -> None:
    with ReportWriter(tmp_path) as writer:
        assert [writer.append(_at(step)) for step in steps] == expected
    assert [at for at, _ in read_reports(str(tmp_path))] == expected
    assert [report.step for _, report in read_reports(str(tmp_path))] == steps


def test_norms_and_reports_share_an_axis_after_a_recompile(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as writer:
        places = [writer.append(_at(0)), writer.append_norms(_sample(100)), writer.append(_at(150))]
        places += [writer.append(_at(0)), writer.append_norms(_sample(100)), writer.append(_at(100))]
    assert places == [0, 100, 150, 151, 251, 251]


def test_a_restart_goes_on_after_the_last_step(tmp_path: Path) -> None:
    for _ in range(3):
        with ReportWriter(tmp_path) as writer:
            for step in (0, 10, 20):
                writer.append(_at(step))
            writer.append_norms(_sample(25))
    assert [at for at, _ in read_reports(str(tmp_path))] == [0, 10, 20, 26, 36, 46, 52, 62, 72]
    assert [at for at, *_ in read_norm_entries(str(tmp_path))] == [25, 51, 77]
    assert len(list_files(str(tmp_path))) == 3


def test_a_restart_after_step_zero_alone(tmp_path: Path) -> None:
    assert [append_report(tmp_path, _at(0)) for _ in range(3)] == [0, 1, 2]


def test_a_resumed_training_keeps_its_iterations(tmp_path: Path) -> None:
    append_report(tmp_path, _at(400))
    assert append_report(tmp_path, _at(700)) == 700


def test_a_later_file_sorts_after_an_earlier_one(tmp_path: Path) -> None:
    """Also where the clock went back: TensorBoard's Python reader never returns to an earlier file."""
    folder = tmp_path / "introspect"
    folder.mkdir()
    (folder / "events.out.tfevents.9000000000.host.1.0.introspect").write_bytes(b"")
    append_report(tmp_path, _at(0))
    append_report(tmp_path, _at(0))
    names = [os.path.basename(path) for path in list_files(str(tmp_path))]
    assert [name.split(".")[3] for name in names] == ["9000000000", "9000000001", "9000000002"]


def test_two_writers_of_one_process_share_the_file(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as first, ReportWriter(str(tmp_path) + os.sep) as second:
        places = [first.append(_at(5)), second.append(_at(1)), first.append(_at(6)), second.append(_at(2))]
    assert places == [5, 6, 7, 8]
    assert len(list_files(str(tmp_path))) == 1


def test_the_file_stays_open_for_the_writer_that_is_left(tmp_path: Path) -> None:
    first, second = ReportWriter(tmp_path), ReportWriter(tmp_path)
    first.append(_at(1))
    second.append(_at(2))
    first.close()
    second.append(_at(3))
    second.close()
    assert len(list_files(str(tmp_path))) == 1
    assert len(read_reports(str(tmp_path))) == 3


def test_threads_may_write_at_once(tmp_path: Path) -> None:
    def write() -> None:
        with ReportWriter(tmp_path) as writer:
            for step in range(10):
                writer.append(_at(step))

    with ReportWriter(tmp_path) as holder:
        holder.append(_at(0))
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    places = [at for at, _ in read_reports(str(tmp_path))]
    assert len(places) == 41
    assert places == sorted(set(places))


def test_another_process_in_the_directory_is_followed_by_a_new_file(tmp_path: Path) -> None:
    """TensorBoard's Python reader goes stale on the older of two files, so the writer moves on to a newer one."""
    with ReportWriter(tmp_path) as writer:
        writer.append(_at(10))
        code = "import sys, pickle; from introspect.report.writer import append_report; "
        code += "append_report(sys.argv[1], pickle.load(sys.stdin.buffer))"
        data = pickle.dumps(_at(3, "command line"))
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], input=data, check=True, timeout=60)
        writer.append(_at(20))
        writer.append(_at(30))
    assert [(at, report.step) for at, report in read_reports(str(tmp_path))] == [(10, 10), (11, 3), (20, 20), (30, 30)]
    assert len(list_files(str(tmp_path))) == 3


def test_a_removed_directory_is_made_anew(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as writer:
        writer.append(_at(10))
        shutil.rmtree(tmp_path / "introspect")
        writer.append(_at(5))
    ((at, report),) = read_reports(str(tmp_path))
    assert (at, report.step) == (11, 5)


def test_a_forked_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as writer:
        writer.append(_at(1))
        child = os.fork()
        if child == 0:
            try:
                writer.append(_at(2))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        writer.append(_at(3))
    assert [report.step for _, report in read_reports(str(tmp_path))] == [1, 2, 3]
    assert len(list_files(str(tmp_path))) == 3


def test_limits_leave_out_all_but_the_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "introspect"), ReportWriter(tmp_path, max_reports=3) as writer:
        assert [writer.append(_at(step)) for step in range(6)] == [0, 1, 2, None, None, None]
        assert writer.append(_at(9, "train end"), last=True) == 9
    assert [at for at, _ in read_reports(str(tmp_path))] == [0, 1, 2, 9]
    assert len(caplog.records) == 1
    with ReportWriter(tmp_path / "small", max_bytes=1000) as writer:
        writer.append(_at(0))
        assert writer.append(_at(1)) is None
        assert writer.append_norms(_sample(2)) is None


def test_a_writer_pickles_with_its_settings_alone(tmp_path: Path) -> None:
    with ReportWriter(tmp_path, max_reports=5, max_bytes=10_000) as writer:
        writer.append(_at(1))
        copy = pickle.loads(pickle.dumps(writer))
    assert (copy.directory, copy.max_reports, copy.max_bytes) == (writer.directory, 5, 10_000)
    with copy:
        assert copy.append(_at(2)) == 2


def test_a_relative_directory_is_taken_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    writer = ReportWriter("logs")
    monkeypatch.chdir("/")
    with writer:
        writer.append(_at(0))
    assert len(read_reports(str(tmp_path / "logs"))) == 1


def test_norms_come_back_by_block(tmp_path: Path) -> None:
    paths = tuple(f"v{index}" for index in range(2 * NORM_BLOCK + 3))
    gradient = np.full(len(paths), NOT_MEASURED)
    gradient[5], gradient[-1], gradient[-2] = 2.5, math.nan, math.inf
    with ReportWriter(tmp_path) as writer:
        writer.append_norms(NormSample(paths, 4, gradient, [None] * len(paths)))
    found = {tag.rsplit("/", 1)[1]: value for _, tag, value in read_norm_entries(str(tmp_path))}
    assert found.keys() == {"0", "2"}  # nothing was measured in block 1
    assert found["0"].shape == (4, NORM_BLOCK)
    assert found["2"].shape == (4, 3)
    assert found["0"][0, 5] == 2.5
    assert found["2"][0, 1] == math.inf
    assert math.isnan(found["2"][0, 2])
    assert found["0"][1, 5] == NOT_MEASURED
    for entry in read_entries(str(tmp_path)):
        assert (entry.metadata.data_class, entry.metadata.plugin_data.plugin_name) == (2, "introspect")


def test_norms_of_another_length_are_refused(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as writer, pytest.raises(ValueError, match="3 entries for 2 variables"):
        writer.append_norms(NormSample(("a", "b"), 0, [1.0, 2.0, 3.0], [1.0, 2.0]))


def test_nothing_measured_writes_nothing(tmp_path: Path) -> None:
    with ReportWriter(tmp_path) as writer:
        assert writer.append_norms(NormSample(("a",), 0, [None], [None])) is None
    assert not (tmp_path / "introspect").exists()


def test_a_measured_report_is_a_point_of_its_norms(tmp_path: Path) -> None:
    series = make_vgg_series()
    sample = next(event for event in series.events if isinstance(event, Sample))
    report = dataclasses.replace(with_norms(series.reports[0], sample), step=5)
    with ReportWriter(tmp_path) as writer:
        writer.append(report)
        paths = tuple(row.path for row in report.variables)
        writer.append_norms(NormSample(paths, 8, sample.gradient, sample.update))
        writer.append(dataclasses.replace(report, step=8))  # its norms are there already
    entries = read_norm_entries(str(tmp_path))
    assert [at for at, *_ in entries] == [5, 8]
    measured = report.variables[-1].measured
    assert measured is not None
    assert entries[0][2][:2, -1].tolist() == pytest.approx([measured.gradient_norm, measured.update_norm])


class _FullDisk(LocalFiles):
    """Half of a record is written, then the disk is full, once."""

    def __init__(self, least: int) -> None:
        self.failures = 1
        self.least = least

    def create(self, directory: str, name: str) -> events.EventFile:
        file: Any = super().create(directory, name)
        write = file.write

        def write_or_fail(record: bytes) -> None:
            if len(record) > self.least and self.failures:
                self.failures -= 1
                file._writer.write(struct.pack("<QI", len(record), 0) + record[:10])
                raise OSError(28, "No space left on device")
            write(record)

        file.write = write_or_fail
        return file  # type: ignore[no-any-return]


@pytest.mark.parametrize("least", [0, 100], ids=["the first record", "a report"])
def test_a_full_disk_is_said_and_the_next_report_begins_a_file(tmp_path: Path, least: int) -> None:
    with ReportWriter(tmp_path, _FullDisk(least)) as writer:
        with pytest.raises(RecordError, match="No space left") as caught:
            writer.append(_at(1))
        assert str(tmp_path) in str(caught.value)
        writer.append(_at(2))
    gc.collect()
    assert [at for at, _ in read_reports_of_whole_files(tmp_path)] == [2]


def read_reports_of_whole_files(tmp_path: Path) -> list[tuple[int, Report]]:
    """Leaves out the file that ends in half a record, as TensorBoard does."""
    first, *_ = list_files(str(tmp_path))
    os.remove(first)
    return read_reports(str(tmp_path))


def test_a_directory_that_cannot_be_written_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError) as caught:
        append_report(tmp_path / "file", _at(0))
    assert "\n" not in str(caught.value)


def test_a_remote_directory_needs_tensorflow() -> None:
    with pytest.raises(RecordError, match="TensorFlow's file systems"):
        append_report("gs://bucket/logs", _at(0))


def test_append_report_replaces_reason_and_step(tmp_path: Path) -> None:
    append_report(tmp_path, REPORT, reason="command line", step=12)
    append_report(tmp_path, _at(30))
    assert [(at, report.reason, report.step) for at, report in read_reports(str(tmp_path))] == [
        (12, "command line", 12),
        (30, "epoch", 30),
    ]


@pytest.mark.parametrize("rest", [b"", b"\x01", struct.pack("<QI", 2**62, 0), struct.pack("<QI", 40, 0) + b"\xff" * 44])
def test_the_last_step_is_found_in_files_that_end_badly(tmp_path: Path, rest: bytes) -> None:
    append_report(tmp_path, _at(41))
    (path,) = list_files(str(tmp_path))
    with open(path, "ab") as file:
        file.write(rest)
    assert read_last_step(LocalFiles(), str(tmp_path / "introspect")) == 41
    assert append_report(tmp_path, _at(3)) == 42


def test_the_last_step_of_no_directory_is_before_all(tmp_path: Path) -> None:
    assert read_last_step(LocalFiles(), str(tmp_path / "none")) == -1


def test_writing_imports_no_tensorflow(tmp_path: Path) -> None:
    code = "import sys, pickle; from introspect.report.writer import append_report; "
    code += "append_report(sys.argv[1], pickle.load(sys.stdin.buffer)); "
    code += "assert not {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], input=pickle.dumps(REPORT), check=True, timeout=60)
    assert len(read_reports(str(tmp_path))) == 1
