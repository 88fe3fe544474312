"""Event files read back by TensorBoard's own reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2
from tensorboard.util import tensor_util

from introspect.records import Report
from introspect.report import serde
from introspect.report.metadata import NORMS_TAG, REPORT_TAG, TIMELINE_TAG, Mark


@dataclass(frozen=True)
class Entry:
    """One value of one event."""

    tag: str
    step: int
    value: Any
    metadata: Any


def list_files(log_dir: str) -> list[str]:
    """Event files of the run below `log_dir`, in the order in which TensorBoard reads them."""
    directory = os.path.join(log_dir, "introspect")
    return sorted(os.path.join(directory, name) for name in os.listdir(directory))


def read_events(path: str) -> list[Any]:
    """All events of a file, checksums checked."""
    return [event_pb2.Event.FromString(data) for data in RawEventFileLoader(path).Load()]


def read_entries(log_dir: str) -> Iterator[Entry]:
    """All values of the run below `log_dir`, in file order."""
    for path in list_files(log_dir):
        for event in read_events(path):
            for value in event.summary.value:
                array = tensor_util.make_ndarray(value.tensor)
                yield Entry(value.tag, event.step, array, value.metadata)


def read_reports(log_dir: str) -> list[tuple[int, Report]]:
    """Reports with their places."""
    entries = read_entries(log_dir)
    return [(entry.step, serde.read_report(entry.value[0])) for entry in entries if entry.tag == REPORT_TAG]


def read_marks(log_dir: str) -> list[tuple[int, Mark]]:
    """Marks with their places."""
    entries = read_entries(log_dir)
    return [(entry.step, serde.read_mark(entry.value[0])) for entry in entries if entry.tag == TIMELINE_TAG]


def read_norm_entries(log_dir: str) -> list[tuple[int, str, np.ndarray[Any, Any]]]:
    """Norms with their places and tags."""
    return [(entry.step, entry.tag, entry.value) for entry in read_entries(log_dir) if entry.tag.startswith(NORMS_TAG)]
