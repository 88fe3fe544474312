"""Reports, marks and norms as TensorBoard's data provider holds them, read and checked.

Works with both of TensorBoard's readers; nothing here opens a file, and no blob key or path comes from a request.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from tensorboard.data import provider as tb_provider

from introspect.errors import RecordError
from introspect.report import serde
from introspect.report.columns import ReportColumns
from introspect.report.metadata import (
    NORMS_TAG,
    PLUGIN_NAME,
    PROOF_TAG,
    REPORT_TAG,
    TIMELINE_TAG,
    Mark,
)

from .cache import Cache

MAX_MARKS = 5000
_COLUMNS_BYTES = 512 << 20
_LOG = logging.getLogger(__name__)


class RequestError(Exception):
    """An answer that is not the one asked for: an HTTP status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RunState:
    """What listing alone says of a run."""

    run: str
    token: str
    last_at: int
    last_wall_time: float
    has_norms: bool
    has_timeline: bool
    has_proof: bool


@dataclass(frozen=True, slots=True)
class Place:
    """One stored report."""

    run: str
    at: int
    wall_time: float
    blob_key: str


@dataclass(frozen=True, slots=True)
class Moment:
    """One report on the timeline; `mark` is None and `stored` False where TensorBoard sampled that part away."""

    at: int
    wall_time: float
    mark: Mark | None
    stored: bool


class ReportLog:
    """What one experiment has logged. Methods raise RequestError (404, 413, 422)."""

    def __init__(self, provider: Any, kept: Cache[ReportColumns], context: Any, experiment: str) -> None:
        self._provider = provider
        self._kept = kept
        self._experiment = experiment
        self._asked = {"ctx": context, "experiment_id": experiment}
        self._ours = {**self._asked, "plugin_name": PLUGIN_NAME}

    def find_location(self) -> str:
        """The directory that TensorBoard watches, as it names it; "" where it does not say."""
        return str(self._provider.experiment_metadata(**self._asked).data_location or "")

    def list_runs(self) -> list[RunState]:
        """The runs that hold reports, by name."""
        blobs = self._provider.list_blob_sequences(**self._ours)
        tensors = self._provider.list_tensors(**self._ours)
        runs = {run for run, tags in blobs.items() if REPORT_TAG in tags}
        runs |= {run for run, tags in tensors.items() if TIMELINE_TAG in tags}
        return [_describe_run(run, blobs.get(run, {}), tensors.get(run, {})) for run in sorted(runs)]

    def find_run(self, run: str) -> RunState:
        """One run, as `list_runs` has it."""
        state = next((state for state in self.list_runs() if state.run == run), None)
        if state is None:
            raise RequestError(404, "no reports in this run; ask for `runs`")
        return state

    def read_timeline(self, run: str, limit: int = MAX_MARKS) -> list[Moment]:
        """The newest `limit` reports of a run, oldest first."""
        places = {place.at: place for place in self.find_places(run)}
        marks = {at: (wall_time, mark) for at, wall_time, mark in self._read_marks(run, limit)}
        moments = []
        for at in sorted(places.keys() | marks.keys()):
            wall_time = marks[at][0] if at in marks else places[at].wall_time
            moments.append(Moment(at, wall_time, marks[at][1] if at in marks else None, at in places))
        return moments[-limit:]

    def read_last_moment(self, state: RunState) -> Moment | None:
        """The newest mark of a run, or None where it has none or cannot be read."""
        marks = self._read_marks(state.run, 1) if state.has_timeline else []
        if not marks:
            return None
        at, wall_time, mark = marks[-1]
        return Moment(at, wall_time, mark, stored=state.last_at >= at)

    def find_places(self, run: str) -> list[Place]:
        """Where the stored reports of a run are, oldest first."""
        chosen = tb_provider.RunTagFilter(runs=[run], tags=[REPORT_TAG])
        listed = self._provider.list_blob_sequences(**self._ours, run_tag_filter=chosen)
        series = listed.get(run, {}).get(REPORT_TAG)
        if series is None:
            return []
        if (series.max_length or 0) > 1:
            raise RequestError(422, "reports of this run are damaged: more than one blob at a step")
        read = self._provider.read_blob_sequences(**self._ours, downsample=MAX_MARKS, run_tag_filter=chosen)
        data = read.get(run, {}).get(REPORT_TAG, ())
        return [Place(run, datum.step, datum.wall_time, datum.values[0].blob_key) for datum in data if datum.values]

    def find_place(self, run: str, at: int | None) -> Place:
        """Where one report is; `at` None is the newest."""
        places = self.find_places(run)
        found = [place for place in places if at is None or place.at == at]
        if not found:
            raise RequestError(404, "no such report in this run; TensorBoard may have sampled it away")
        return found[-1]

    def read_columns(self, place: Place) -> ReportColumns:
        """A stored report, checked."""
        key = (self._experiment, place.run, place.at, place.wall_time)
        return self._kept.get(key, lambda: self._read_blob(place))

    def _read_blob(self, place: Place) -> ReportColumns:
        data = self._provider.read_blob(ctx=self._asked["ctx"], blob_key=place.blob_key)
        try:
            return serde.read_columns(bytes(data))
        except serde.ReportTooLargeError as error:
            raise RequestError(413, str(error)) from error
        except RecordError as error:
            raise RequestError(422, str(error)) from error

    def _read_marks(self, run: str, limit: int) -> list[tuple[int, float, Mark | None]]:
        try:
            data = self.read_series(run, [TIMELINE_TAG], limit).get(TIMELINE_TAG, ())
        except Exception:  # a hostile tensor fails inside TensorBoard, in any of numpy's ways
            _LOG.warning("the timeline of a run cannot be read", exc_info=True)
            return []
        return [(datum.step, datum.wall_time, _parse_mark(datum.numpy)) for datum in data]

    def read_series(self, run: str, tags: Sequence[str], limit: int) -> Mapping[str, Sequence[Any]]:
        """Tensor series of a run by tag; of each the newest datum and `limit` in all."""
        chosen = tb_provider.RunTagFilter(runs=[run], tags=tags)
        read = self._provider.read_tensors(**self._ours, downsample=limit, run_tag_filter=chosen)
        series: Mapping[str, Sequence[Any]] = read.get(run, {})
        return series


def weigh_columns(columns: ReportColumns) -> int:
    """About the bytes that a report's columns take in memory."""
    numbers = sum(len(values) for table in columns.tables.values() for values in table.values())
    return 8 * numbers + 64 * len(columns.strings) + sum(map(len, filter(None, columns.strings)))


def make_columns_cache() -> Cache[ReportColumns]:
    """The cache that all requests share."""
    return Cache(_COLUMNS_BYTES, weigh_columns)


def hash_states(states: Iterable[object]) -> str:
    """A token of 16 hexadecimal digits that changes when any of these does."""
    return hashlib.sha256(repr(list(states)).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _describe_run(run: str, blobs: Mapping[str, Any], tensors: Mapping[str, Any]) -> RunState:
    series = {**tensors, **blobs}
    seen = [(tag, item.max_step, item.max_wall_time) for tag, item in sorted(series.items())]
    newest = blobs.get(REPORT_TAG) or tensors.get(TIMELINE_TAG)
    assert newest is not None
    return RunState(
        run=run,
        token=hash_states((run, *seen)),
        last_at=newest.max_step or 0,
        last_wall_time=newest.max_wall_time or 0.0,
        has_norms=any(tag.startswith(NORMS_TAG + "/") for tag in tensors),
        has_timeline=TIMELINE_TAG in tensors,
        has_proof=PROOF_TAG in tensors,
    )


def _parse_mark(value: NDArray[Any]) -> Mark | None:
    try:
        return serde.read_mark(bytes(value.reshape(-1)[0]))
    except (RecordError, IndexError, TypeError, ValueError) as error:
        _LOG.debug("a mark of the timeline cannot be read: %s", error)
        return None
