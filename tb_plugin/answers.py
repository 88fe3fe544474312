"""What the page is given: plain dicts and lists in the shapes of http_api.md, from columns and marks."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.report.columns import Columns, ReportColumns
from introspect.report.metadata import NORM_ROWS, Mark, count_columns
from introspect.report.tables import HAS_OFFSETS, TABLES, Column, Kind
from introspect.report.updates import list_updates

from .norms import NormSeries
from .proofs import Look

SCHEMA = 1
PAGE_TABLES = ("variables", "writes", "slots", "measured", "locations", "layers", "flow_nodes", "flow_edges")
"""Tables that the page gets as columns; the others have few rows and become objects."""

Json = dict[str, Any]


def show_float(value: float | None) -> float | str | None:
    """A float as JSON can hold it: NaN and the infinities become words."""
    if value is None or math.isfinite(value):
        return value
    if math.isnan(value):
        return "nan"
    return "inf" if value > 0 else "-inf"


def show_mark(at: int, wall_time: float, mark: Mark | None, stored: bool) -> Json:
    """A MARK; all that only the mark knows is null where it was sampled away."""
    place = {"at": at, "wall_time": wall_time, "stored": stored}
    if mark is None:
        names = [field.name for field in dataclasses.fields(Mark)]
        return {**place, **dict.fromkeys(names), "rules": []}
    return {**place, **dataclasses.asdict(mark), "created": show_float(mark.created)}


def show_report(columns: ReportColumns, run: str, at: int, wall_time: float) -> Json:
    """The answer of `report`."""
    counts = count_columns(columns)
    return {
        "schema": SCHEMA,
        "run": run,
        "at": at,
        "wall_time": wall_time,
        "variables_id": columns.variables_id,
        "source": columns.source,
        "reason": columns.reason,
        "step": columns.step,
        "created": show_float(columns.created),
        "ok": counts.errors + counts.warnings == 0,
        "model": dataclasses.asdict(columns.model),
        "environment": dataclasses.asdict(columns.environment),
        "timings": [[stage, show_float(seconds)] for stage, seconds in columns.timings],
        "counts": dataclasses.asdict(counts),
        "strings": columns.strings,
        **{name: show_table(columns, name) for name in PAGE_TABLES},
        "updates": list_updates(columns),
        **{name: show_objects(columns, name) for name in ("findings", "traces", "optimizers")},
    }


def show_norms(rows: NDArray[np.float32]) -> dict[str, list[float | str | None]]:
    """Columns of float32 [4, n]; a negative number is "not measured", and float32's shortest form is kept."""
    return {
        name: [None if value < 0 and value != -math.inf else show_float(float(str(value))) for value in row]
        for name, row in zip(NORM_ROWS, rows, strict=True)
    }


def show_series(name: Json, norms: NormSeries) -> Json:
    """A history of norms as an object that begins with its name."""
    place = {"truncated": norms.truncated, "at": norms.at.tolist(), "wall_time": norms.wall_time.tolist()}
    return {**name, **place, **show_norms(norms.rows)}


def show_proof(look: Look | None) -> Json:
    """What `proof` tells of a look, or of none."""
    if look is None:
        nothing = dict.fromkeys(("looked_at", "wall_time", "step", "since", "steps", "seconds"))
        return {**nothing, "age": [], "judgement": [], "slot_age": [], "slot_judgement": []}
    proof = look.proof
    return {
        "looked_at": look.at,
        "wall_time": look.wall_time,
        "step": proof.step,
        "since": proof.since,
        "steps": proof.steps,
        "seconds": show_float(proof.seconds),
        "age": proof.ages[: proof.variables],
        "judgement": proof.judgements[: proof.variables],
        "slot_age": proof.ages[proof.variables :],
        "slot_judgement": proof.judgements[proof.variables :],
    }


def show_table(columns: ReportColumns, name: str) -> Json:
    """A table as the page gets it: its columns and `rows`."""
    shown: Json = {"rows": columns.rows[name], **columns.tables[name]}
    for column in TABLES[name].columns:
        if column.kind is Kind.REAL:
            shown[column.name] = list(map(show_float, shown[column.name]))
    return shown


def show_objects(columns: ReportColumns, name: str) -> list[Json]:
    """A table of few rows as objects; lists of paths stay indexes into the answer's strings."""
    return [_show_row(columns, name, row) for row in range(columns.rows[name])]


def _show_row(columns: ReportColumns, name: str, row: int) -> Json:
    stored = columns.tables[name]
    return {column.name: _show_field(columns, column, stored, row) for column in TABLES[name].columns}


def _show_field(columns: ReportColumns, column: Column, stored: Columns, row: int) -> Any:
    if column.kind in HAS_OFFSETS:
        starts = stored[f"{column.name}_start"]
        return _show_list(columns, column, stored, range(starts[row], starts[row + 1]))
    value = stored[column.name][row]
    match column.kind:
        case Kind.TEXT | Kind.MAYBE_TEXT:
            return columns.strings[value]
        case Kind.VALUE:
            scalar = json.loads(columns.strings[value] or "null")
            return show_float(scalar) if isinstance(scalar, float) else scalar
        case Kind.FLAG:
            return bool(value)
        case Kind.ROW:
            return None if value < 0 else _show_row(columns, column.of, value)
        case _:
            return value


def _show_list(columns: ReportColumns, column: Column, stored: Columns, rows: range) -> list[Any]:
    if column.kind is Kind.CHILDREN:
        return [_show_row(columns, column.of, row) for row in rows]
    flat = stored[column.name][rows.start : rows.stop]
    if column.kind is Kind.PAIRS:
        texts = [columns.strings[index] for index in flat]
        return [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
    return flat
