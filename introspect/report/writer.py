"""Reports and norms into a run directory that TensorBoard shows while training goes on."""

from __future__ import annotations

import dataclasses
import logging
import os
from types import TracebackType
from typing import Any, Self

import numpy as np

from introspect.proof import Proof
from introspect.records import Report
from introspect.report import events, serde
from introspect.report.columns import ReportColumns, flatten_report, identify_paths
from introspect.report.events import EventFiles, LocalFiles
from introspect.report.metadata import (
    NORM_BLOCK,
    NORM_ROWS,
    NORMS_TAG,
    NOT_MEASURED,
    PLUGIN_NAME,
    PROOF_TAG,
    REPORT_TAG,
    RUN_NAME,
    TIMELINE_TAG,
    mark_report,
    name_norms_tag,
)
from introspect.report.norms import NormSample
from introspect.report.proofs import flatten_proof
from introspect.report.stream import Stream

MAX_REPORTS = 1000
MAX_BYTES = 512 << 20
_LOG = logging.getLogger("introspect")


class ReportWriter:
    """Appends reports and norms to the run `<log_dir>/introspect`; what was appended is visible at once.

    Steps rise strictly, also where training begins anew in the same directory, and several writers of one process may
    share it. The writer opens its file with the first report, so it may be made, copied and pickled before. Only the
    chief of a distributed training should have one.

    Args:
        log_dir: what `tensorboard --logdir` is given, or a directory below it.
        files: the file system; None is the local one without TensorFlow.
        max_reports: reports after these are left out, except one that is said to be the last.
        max_bytes: reports and norms after these are left out in the same way.

    Methods raise RecordError where a report cannot be stored or the directory cannot be written.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        files: EventFiles | None = None,
        *,
        max_reports: int = MAX_REPORTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.files: EventFiles = LocalFiles() if files is None else files
        directory = self.files.join(os.fspath(log_dir), RUN_NAME)
        self.directory = directory if "://" in directory else os.path.abspath(directory)
        self.max_reports = max_reports
        self.max_bytes = max_bytes
        self._reset()

    def _reset(self) -> None:
        self._stream: Stream | None = None
        self._reports = 0
        self._bytes = 0
        self._full = False
        self._offset = 0
        self._previous: int | None = None
        self._normed: int | None = None
        self._named: tuple[tuple[str, ...], str] = ((), identify_paths(()))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "directory": self.directory,
            "max_reports": self.max_reports,
            "max_bytes": self.max_bytes,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def append(
        self,
        report: Report,
        *,
        epoch: int | None = None,
        detail: str | None = None,
        headline: str | None = None,
        last: bool = False,
    ) -> int | None:
        """Append a report and its mark on the timeline, and its measured norms.

        Args:
            report: with `step` and `reason` as they are to be shown.
            epoch: the epoch, from 0.
            detail: one line on what changed.
            headline: the verdict in one sentence; without it the message of the most severe finding stands there.
            last: the final report of a training: written though the limits are reached.

        Returns:
            The report's place in the run, or None where the limits left it out.
        """
        if not last and self._is_full(self._reports >= self.max_reports):
            return None
        columns = flatten_report(report)
        values = [
            events.make_text_value(REPORT_TAG, serde.write_columns(columns), PLUGIN_NAME, blob=True),
            events.make_text_value(
                TIMELINE_TAG,
                serde.write_mark(mark_report(columns, epoch=epoch, detail=detail, headline=headline)),
                PLUGIN_NAME,
                blob=False,
            ),
        ]
        at = self._write(REPORT_TAG, report.step, values, look=True)
        self._reports += 1
        if report.step is None or report.step != self._normed:
            self._append_measured(columns, report)
        return at

    def append_norms(self, sample: NormSample) -> int | None:
        """Append the norms of one step.

        Returns:
            The sample's place in the run, or None where the limits left it out or nothing was measured.
        """
        if self._is_full(False):
            return None
        if sample.paths is not self._named[0]:
            self._named = (sample.paths, identify_paths(sample.paths))
        rows = sample.stack()
        values = []
        for block, start in enumerate(range(0, rows.shape[1], NORM_BLOCK)):
            part = np.ascontiguousarray(rows[:, start : start + NORM_BLOCK], "<f4")
            if np.any(part != NOT_MEASURED):
                tag = name_norms_tag(self._named[1], block)
                values.append(events.make_float_value(tag, part.tobytes(), part.shape, PLUGIN_NAME))
        if not values:
            return None
        self._normed = sample.step
        return self._write(NORMS_TAG, sample.step, values, look=False)

    def append_proof(self, proof: Proof, report_at: int) -> int | None:
        """Append a look at the values; `report_at` is the place of the report that it was held against.

        Returns:
            The look's place in the run, or None where the limits left it out.
        """
        if self._is_full(False):
            return None
        data = serde.write_proof(flatten_proof(proof, report_at))
        return self._write(
            PROOF_TAG, proof.step, [events.make_text_value(PROOF_TAG, data, PLUGIN_NAME, blob=False)], look=False
        )

    def close(self) -> None:
        """Close the file; a later report opens another."""
        if self._stream is not None:
            self._stream.release(self)
            self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append_measured(self, columns: ReportColumns, report: Report) -> None:
        measured = columns.tables["measured"]
        rows = columns.tables["variables"]["measured"]
        if max(rows, default=-1) < 0:
            return
        norms = {name: [None if row < 0 else measured[name][row] for row in rows] for name in NORM_ROWS}
        paths = tuple(row.path for row in report.variables)
        self.append_norms(NormSample(paths, report.step, **norms))

    def _is_full(self, counted: bool) -> bool:
        full = counted or self._bytes >= self.max_bytes
        if full and not self._full:
            self._full = True
            _LOG.warning("introspect: %s is full, later reports are left out; raise max_reports", self.directory)
        return full

    def _write(self, series: str, step: int | None, values: list[Any], *, look: bool) -> int:
        stream = self._open()
        try:
            at, size = stream.append(series, lambda last: self._place(step, last), values, look)
        except OSError as error:
            raise events.refuse_writing(self.directory, error) from error
        self._bytes += size
        return at

    def _open(self) -> Stream:
        if self._stream is None or self._stream.process != os.getpid():
            self._stream = Stream.share(self.files, self.directory)
            self._stream.users.add(self)
        return self._stream

    def _place(self, step: int | None, last: int) -> int:
        """Where a step lies on the run's axis, which goes on where iterations begin anew (a recompile, a restart)."""
        if step is None:
            return last + 1
        if self._previous is None or step < self._previous:
            self._offset = 0 if step > last else last + 1 - step
        self._previous = step
        return step + self._offset


def append_report(
    log_dir: str | os.PathLike[str],
    report: Report,
    *,
    reason: str | None = None,
    step: int | None = None,
    headline: str | None = None,
    files: EventFiles | None = None,
) -> int:
    """Append one report to the run below `log_dir`; its `reason` and `step` are replaced where they are given.

    Returns:
        The report's place in the run.

    Raises:
        RecordError: the report cannot be stored, or the directory cannot be written.
    """
    changes = {name: value for name, value in (("reason", reason), ("step", step)) if value is not None}
    with ReportWriter(log_dir, files) as writer:
        at = writer.append(dataclasses.replace(report, **changes), headline=headline, last=True)  # type: ignore[arg-type]
    assert at is not None
    return at
