"""A report as columns and back: the form that is stored, and the one that the TensorBoard page is given.

100 000 variables are a few dozen lists of numbers here and half a million objects as a `Report`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate, chain, pairwise
from operator import attrgetter
from typing import Any, cast

from introspect.records import Environment, Flow, ModelSummary, Report, Source
from introspect.report.tables import HAS_OFFSETS, TABLES, Column, FlowEdge, Kind

Columns = dict[str, list[Any]]


@dataclass(slots=True)
class ReportColumns:
    """A report in tables (see `introspect.report.tables`), and what is not tabular beside them.

    A table that was checked or flattened has every column of its `Table`, and offsets with one entry more than rows.
    """

    model: ModelSummary
    environment: Environment
    source: Source
    reason: str | None
    step: int | None
    created: float
    timings: tuple[tuple[str, float], ...]
    strings: list[str | None] = field(default_factory=lambda: [None])
    rows: dict[str, int] = field(default_factory=dict)
    tables: dict[str, Columns] = field(default_factory=dict)

    def texts(self, table: str, column: str) -> list[str | None]:
        """A TEXT column as strings."""
        strings = self.strings
        return [strings[index] for index in self.tables[table][column]]

    @property
    def variables_id(self) -> str:
        """16 hexadecimal digits; equal where two reports have the same paths in the same order."""
        return identify_paths(cast(list[str], self.texts("variables", "path")))


def identify_paths(paths: Iterable[str]) -> str:
    """The `variables_id` of these paths: 16 hexadecimal digits."""
    joined = "\0".join(paths).encode("utf-8", "surrogatepass")
    return hashlib.sha256(joined).hexdigest()[:16]


def flatten_report(report: Report) -> ReportColumns:
    """The columns of a report; O(records)."""
    columns = ReportColumns(
        report.model,
        report.environment,
        report.source,
        report.reason,
        report.step,
        report.created,
        report.timings,
    )
    flattener = _Flattener(columns)
    flattener.add("variables", report.variables)
    flattener.add("layers", report.layers)
    flattener.add("optimizers", report.optimizers)
    flattener.add("traces", report.traces)
    flattener.add("findings", report.findings)
    flattener.add("flow_nodes", report.flow.nodes)
    flattener.add("flow_edges", [FlowEdge(*edge) for edge in report.flow.edges])
    flattener.add_pointed()
    return columns


class _Flattener:
    def __init__(self, columns: ReportColumns) -> None:
        self.columns = columns
        self.index: dict[str | None, int] = {None: 0}
        self.pointed: dict[str, list[Any]] = {"measured": [], "fixes": [], "locations": []}
        self.places: dict[Any, int] = {}

    def add(self, name: str, records: Sequence[Any]) -> None:
        table: Columns = {}
        self.columns.tables[name] = table
        self.columns.rows[name] = len(records)
        for column in TABLES[name].columns:
            self._add_column(table, column, list(map(attrgetter(column.name), records)))

    def add_pointed(self) -> None:
        for name, records in self.pointed.items():
            self.add(name, records)

    def _add_column(self, table: Columns, column: Column, values: list[Any]) -> None:
        match column.kind:
            case Kind.TEXT | Kind.MAYBE_TEXT:
                table[column.name] = self._intern(values)
            case Kind.VALUE:
                table[column.name] = self._intern([json.dumps(value) for value in values])
            case Kind.FLAG | Kind.WHOLE:
                table[column.name] = list(map(int, values))
            case Kind.MAYBE:
                table[column.name] = [-1 if value is None else int(value) for value in values]
            case Kind.REAL:
                table[column.name] = values
            case Kind.ROW:
                table[column.name] = [self._point(column.of, value) for value in values]
            case _:
                self._add_lists(table, column, values)

    def _add_lists(self, table: Columns, column: Column, values: list[Sequence[Any]]) -> None:
        table[f"{column.name}_start"] = list(accumulate(map(len, values), initial=0))
        flat = list(chain.from_iterable(values))
        match column.kind:
            case Kind.TEXTS:
                table[column.name] = self._intern(flat)
            case Kind.PAIRS:
                table[f"{column.name}_start"] = [2 * start for start in table[f"{column.name}_start"]]
                table[column.name] = self._intern(chain.from_iterable(flat))
            case Kind.SIZES:
                table[column.name] = [-1 if size is None else size for size in flat]
            case _:
                self.add(column.of, flat)

    def _intern(self, values: Iterable[str | None]) -> list[int]:
        index, strings = self.index, self.columns.strings
        found = []
        for value in values:
            at = index.get(value)
            if at is None:
                at = index[value] = len(strings)
                strings.append(value)
            found.append(at)
        return found

    def _point(self, table: str, record: Any) -> int:
        if record is None:
            return -1
        records = self.pointed[table]
        if table != "locations":
            records.append(record)
            return len(records) - 1
        row = self.places.setdefault(record, len(records))
        if row == len(records):
            records.append(record)
        return row


def build_report(columns: ReportColumns) -> Report:
    """The report of these columns; they must be flattened or checked ones. O(records)."""
    made: dict[str, list[Any]] = {}
    for name in reversed(TABLES):
        made[name] = _build_records(columns, name, made)
    flow = Flow(tuple(made["flow_nodes"]), tuple((a, b, bool(c)) for a, b, c in made["flow_edges"]))
    return Report(
        model=columns.model,
        source=columns.source,
        findings=tuple(made["findings"]),
        variables=tuple(made["variables"]),
        layers=tuple(made["layers"]),
        optimizers=tuple(made["optimizers"]),
        traces=tuple(made["traces"]),
        environment=columns.environment,
        timings=columns.timings,
        flow=flow,
        reason=columns.reason,
        step=columns.step,
        created=columns.created,
    )


def _build_records(columns: ReportColumns, name: str, made: dict[str, list[Any]]) -> list[Any]:
    table = TABLES[name]
    stored = columns.tables[name]
    values = [_build_column(column, stored, columns.strings, made) for column in table.columns]
    return list(map(table.record, *values))


def _build_column(column: Column, stored: Columns, strings: list[str | None], made: dict[str, list[Any]]) -> list[Any]:
    match column.kind:
        case Kind.TEXT | Kind.MAYBE_TEXT:
            return [strings[index] for index in stored[column.name]]
        case Kind.VALUE:
            return [json.loads(strings[index] or "null") for index in stored[column.name]]
        case Kind.FLAG:
            return list(map(bool, stored[column.name]))
        case Kind.MAYBE:
            return [None if value < 0 else value == 1 for value in stored[column.name]]
        case Kind.WHOLE | Kind.REAL:
            return stored[column.name]
        case Kind.ROW:
            records = made[column.of]
            return [None if row < 0 else records[row] for row in stored[column.name]]
        case _:
            return _build_lists(column, stored, strings, made)


def _build_lists(
    column: Column, stored: Columns, strings: list[str | None], made: dict[str, list[Any]]
) -> list[tuple[Any, ...]]:
    starts = stored[f"{column.name}_start"]
    flat: list[Any]
    match column.kind:
        case Kind.TEXTS:
            flat = [strings[index] for index in stored[column.name]]
        case Kind.PAIRS:
            texts = [strings[index] for index in stored[column.name]]
            flat = list(zip(texts[::2], texts[1::2], strict=True))
            starts = [start // 2 for start in starts]
        case Kind.SIZES:
            flat = [None if size < 0 else size for size in stored[column.name]]
        case _:
            flat = made[column.of]
    return [tuple(flat[start:end]) for start, end in pairwise(starts)]


def fill_column(columns: ReportColumns, name: str, column: Column) -> None:
    """Give a column that the stored version did not have yet its field's default in every row."""
    rows = columns.rows[name]
    defaults: dict[str, Any] = {item.name: item.default for item in fields(cast(Any, TABLES[name].record))}
    default = defaults[column.name]
    value: Any = default
    stored = columns.tables[name]
    if column.kind in HAS_OFFSETS:
        stored[f"{column.name}_start"] = [0] * (rows + 1)
        if column.kind is not Kind.CHILDREN:
            stored[column.name] = []
        return
    match column.kind:
        case Kind.TEXT | Kind.MAYBE_TEXT | Kind.VALUE:
            text = json.dumps(default) if column.kind is Kind.VALUE else default
            value = 0 if text is None else len(columns.strings)
            columns.strings.extend([] if text is None else [text])
        case Kind.MAYBE | Kind.ROW:
            value = -1 if default is None else int(default)
        case _:
            pass
    stored[column.name] = [value] * rows
