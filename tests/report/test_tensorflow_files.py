"""The same files through TensorFlow's file systems."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest

from introspect.errors import RecordError
from introspect.report.events import list_event_files, read_last_step
from introspect.report.writer import ReportWriter, append_report
from tests.report.reading import list_files, read_reports
from tests.tb.synthetic import make_gan_series

pytestmark = pytest.mark.tf
REPORT = make_gan_series().reports[0]


@pytest.fixture
def files() -> Any:
    from introspect.capture.live.eventfiles import TensorFlowFiles

    return TensorFlowFiles()


def test_local_files_are_the_same_as_without_it(tmp_path: Path, files: Any) -> None:
    with ReportWriter(tmp_path, files) as writer:
        assert writer.append(dataclasses.replace(REPORT, step=5)) == 5
        assert [at for at, _ in read_reports(str(tmp_path))] == [5]  # visible before it is closed
    assert append_report(tmp_path, REPORT) == 6
    assert append_report(tmp_path, REPORT, files=files) == 7
    assert [at for at, _ in read_reports(str(tmp_path))] == [5, 6, 7]
    assert len(list_files(str(tmp_path))) == 3


def test_a_file_system_that_only_tensorflow_knows(files: Any) -> None:
    log_dir = "ram://logs/run"
    for expected in (0, 1):
        assert append_report(log_dir, REPORT, files=files) == expected
    assert len(list_event_files(files, "ram://logs/run/introspect")) == 2
    assert read_last_step(files, "ram://logs/run/introspect") == 1


def test_its_errors_are_ours(tmp_path: Path, files: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError) as caught:
        append_report(tmp_path / "file", REPORT, files=files)
    assert "\n" not in str(caught.value)


def test_an_unknown_file_system_is_an_error_in_one_line(files: Any) -> None:
    with pytest.raises(RecordError, match="nosuch") as caught:
        append_report("nosuch://bucket/logs", REPORT, files=files)
    assert "\n" not in str(caught.value)


def test_a_missing_directory_is_empty(tmp_path: Path, files: Any) -> None:
    assert files.list_names(str(tmp_path / "none")) == []


def test_it_pickles(tmp_path: Path, files: Any) -> None:
    writer = pickle.loads(pickle.dumps(ReportWriter(tmp_path, files)))
    with writer:
        assert writer.append(REPORT) == 0
