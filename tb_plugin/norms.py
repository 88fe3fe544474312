"""Norms over time, read for a few variables at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.report.columns import ReportColumns
from introspect.report.metadata import NORM_BLOCK, NORM_ROWS, NOT_MEASURED, name_norms_tag

from .reports import ReportLog, RequestError

MAX_POINTS = 1000
MIN_POINTS = 32
LAYER_BYTES = 64 << 20
"""Read at most, or about, for the norms of one layer."""
_BLOCK_BYTES = NORM_BLOCK * len(NORM_ROWS) * 4
MAX_MODELS = 8
"""Sets of variables that one run's norms are looked for in."""


@dataclass(frozen=True, slots=True)
class NormSeries:
    """One variable's norms over time: `rows` is float32 [4, points], as `NORM_ROWS`."""

    at: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    rows: NDArray[np.float32]
    truncated: bool


@dataclass(frozen=True, slots=True)
class LatestNorms:
    """The newest norms of all variables: float32 [4, variables]."""

    at: int
    wall_time: float
    rows: NDArray[np.float32]


def read_norms(log: ReportLog, run: str, variables: Sequence[str]) -> list[NormSeries]:
    """The history of each variable's norms, under whatever report knew it.

    Raises:
        RequestError: 404 where no stored report knows one of them.
    """
    parts: list[list[NormSeries]] = [[] for _ in variables]
    for columns in _read_models(log, run):
        places = {path: row for row, path in enumerate(columns.texts("variables", "path"))}
        variables_id = columns.variables_id
        for variable, part in zip(variables, parts, strict=True):
            if variable in places:
                part.append(_read_history(log, run, variables_id, places[variable]))
    if not all(parts):
        raise RequestError(404, "no stored report of this run knows this variable")
    return [_join_series(part) for part in parts]


def read_layer_norms(log: ReportLog, run: str, layer: str) -> tuple[NormSeries, int]:
    """The norms of a layer's variables together, those of layers below it with them, and how many they are.

    An empty name stands for the variables of no layer. What is read stays within `LAYER_BYTES`: the more blocks of
    variables the layer has, the fewer points of each.

    Raises:
        RequestError: 404 where no stored report knows the layer, or it has no variables.
    """
    parts, counts = [], []
    for columns in _read_models(log, run):
        rows = find_rows_below(columns, layer)
        if rows.size:
            parts.append(_read_sum(log, run, columns.variables_id, rows))
            counts.append(int(rows.size))
    if not parts:
        raise RequestError(404, "no stored report of this run knows this layer, or it has no variables")
    return _join_series(parts), counts[0]


def find_rows_below(columns: ReportColumns, layer: str) -> NDArray[np.int64]:
    """Rows of the variables of a layer and of those below it."""
    owners = columns.texts("variables", "layer")
    if not layer:
        return np.array([row for row, owner in enumerate(owners) if owner is None], np.int64)
    children: dict[str | None, list[str | None]] = {}
    for path, parent in zip(columns.texts("layers", "path"), columns.texts("layers", "parent"), strict=True):
        children.setdefault(parent, []).append(path)
    below: set[str | None] = set()
    waiting: list[str | None] = [layer]
    while waiting:
        path = waiting.pop()
        if path not in below:
            below.add(path)
            waiting.extend(children.get(path, ()))
    return np.array([row for row, owner in enumerate(owners) if owner in below], np.int64)


def _read_sum(log: ReportLog, run: str, variables_id: str, rows: NDArray[np.int64]) -> NormSeries:
    """Roots of the sums of squares, block by block; where a block was sampled, the points that all such blocks hold."""
    blocks = np.unique(rows // NORM_BLOCK)
    limit = max(MIN_POINTS, min(MAX_POINTS, LAYER_BYTES // (len(blocks) * _BLOCK_BYTES)))
    squares: dict[int, NDArray[np.float64]] = {}
    times: dict[int, float] = {}
    complete: set[int] | None = None
    for block in blocks:
        inside = rows[rows // NORM_BLOCK == block] % NORM_BLOCK
        tag = name_norms_tag(variables_id, int(block))
        data = log.read_series(run, [tag], limit).get(tag, ())
        for datum in data:
            if _is_norms(datum.numpy) and datum.numpy.shape[1] > inside.max():
                before = squares.get(datum.step, np.full(len(NORM_ROWS), NOT_MEASURED))
                squares[datum.step] = _add_squares(before, datum.numpy[:, inside])
                times[datum.step] = datum.wall_time
        if len(data) >= limit:
            kept = {datum.step for datum in data}
            complete = kept if complete is None else complete & kept
    at = sorted(squares if complete is None else complete & squares.keys())
    found = np.array([squares[step] for step in at]).reshape(-1, len(NORM_ROWS)).T
    with np.errstate(invalid="ignore"):
        norms = np.where(found < 0, NOT_MEASURED, np.sqrt(found)).astype(np.float32)
    norms[NORM_ROWS.index("zero_fraction")] = NOT_MEASURED  # a share of elements is no sum
    wall_time = np.array([times[step] for step in at], np.float64)
    return NormSeries(np.array(at, np.int64), wall_time, norms, complete is not None)


def _add_squares(before: NDArray[np.float64], norms: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sums of squares by row with those before; NOT_MEASURED where neither measured anything."""
    measured = (norms >= 0) | ~np.isfinite(norms)
    sums = np.where(measured, norms.astype(np.float64) ** 2, 0.0).sum(axis=1)
    sums = np.where(measured.any(axis=1), sums, NOT_MEASURED)
    both = np.where(before == NOT_MEASURED, 0.0, before) + np.where(sums == NOT_MEASURED, 0.0, sums)
    return np.where((before == NOT_MEASURED) & (sums == NOT_MEASURED), NOT_MEASURED, both)


def _read_models(log: ReportLog, run: str) -> list[ReportColumns]:
    """A report for each set of variables that the run had, newest first, at most MAX_MODELS."""
    places = {place.at: place for place in log.find_places(run)}
    newest = {
        moment.mark.variables_id: moment.at
        for moment in log.read_timeline(run)
        if moment.at in places and moment.mark is not None
    }
    wanted = sorted(newest.values(), reverse=True)[:MAX_MODELS] or sorted(places, reverse=True)[:1]
    if not wanted:
        raise RequestError(404, "no reports in this run; ask for `runs`")
    return [log.read_columns(places[at]) for at in wanted]


def _read_history(log: ReportLog, run: str, variables_id: str, row: int) -> NormSeries:
    tag = name_norms_tag(variables_id, row // NORM_BLOCK)
    data = log.read_series(run, [tag], MAX_POINTS).get(tag, ())
    inside = row % NORM_BLOCK
    points = [datum for datum in data if _is_norms(datum.numpy) and datum.numpy.shape[1] > inside]
    rows = [datum.numpy[:, inside] for datum in points]
    return NormSeries(
        np.array([datum.step for datum in points], np.int64),
        np.array([datum.wall_time for datum in points], np.float64),
        np.stack(rows, axis=1) if rows else np.zeros((len(NORM_ROWS), 0), np.float32),
        len(data) >= MAX_POINTS,
    )


def _join_series(parts: Sequence[NormSeries]) -> NormSeries:
    """One series of those that a variable has under several sets of variables."""
    at = np.concatenate([part.at for part in parts])
    order = np.argsort(at, kind="stable")
    return NormSeries(
        at[order],
        np.concatenate([part.wall_time for part in parts])[order],
        np.concatenate([part.rows for part in parts], axis=1)[:, order],
        any(part.truncated for part in parts),
    )


def read_latest_norms(log: ReportLog, run: str, columns: ReportColumns) -> LatestNorms | None:
    """The newest norms of a report's variables; None where none were measured."""
    count = columns.rows["variables"]
    tags = [name_norms_tag(columns.variables_id, block) for block in range(-(-count // NORM_BLOCK))]
    read = log.read_series(run, tags, 1) if tags else {}
    found = {tag: data[-1] for tag, data in read.items() if data and _is_norms(data[-1].numpy)}
    if not found:
        return None
    at = max(datum.step for datum in found.values())
    rows = np.full((len(NORM_ROWS), count), NOT_MEASURED, np.float32)
    for block, tag in enumerate(tags):
        if tag in found and found[tag].step == at:
            part = rows[:, block * NORM_BLOCK : (block + 1) * NORM_BLOCK]
            values = found[tag].numpy[:, : part.shape[1]]
            part[:, : values.shape[1]] = values
    return LatestNorms(at, max(datum.wall_time for datum in found.values()), rows)


def _is_norms(value: NDArray[Any]) -> bool:
    return value.dtype == np.float32 and value.ndim == 2 and value.shape[0] == len(NORM_ROWS)
