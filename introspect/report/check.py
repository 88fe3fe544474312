"""Whether columns that came from outside hold together; after this they can be built and shown without a fault."""

from __future__ import annotations

import json

from introspect.errors import RecordError
from introspect.report.columns import Columns, ReportColumns
from introspect.report.tables import HAS_OFFSETS, TABLES, Column, Kind


def check_columns(columns: ReportColumns) -> None:
    """Check every column's length and range.

    Raises:
        RecordError: some column points outside of its table, or says what its field cannot say.
    """
    for name, table in TABLES.items():
        stored = columns.tables[name]
        for column in table.columns:
            values = _check_offsets(columns, name, column) if column.kind in HAS_OFFSETS else stored[column.name]
            if column.kind not in HAS_OFFSETS and len(values) != columns.rows[name]:
                raise _damage(name, column, f"has {len(values)} entries for {columns.rows[name]} rows")
            _check_values(columns, name, column, values)


def _damage(table: str, column: Column, what: str) -> RecordError:
    return RecordError(f"report is damaged: {table}.{column.name} {what}; write it anew")


def _check_offsets(columns: ReportColumns, table: str, column: Column) -> list[int]:
    stored: Columns = columns.tables[table]
    starts = stored[f"{column.name}_start"]
    values = [] if column.kind is Kind.CHILDREN else stored[column.name]
    total = columns.rows[column.of] if column.kind is Kind.CHILDREN else len(values)
    if len(starts) != columns.rows[table] + 1 or starts[-1] != total:
        raise _damage(table, column, f"does not share out its {total} values among {columns.rows[table]} rows")
    if column.kind is Kind.PAIRS and any(start % 2 for start in starts):
        raise _damage(table, column, "holds half a pair")
    return values


def _check_values(columns: ReportColumns, table: str, column: Column, values: list[int]) -> None:
    if not values or column.kind in (Kind.REAL, Kind.WHOLE):
        return
    low, high = _find_range(columns, column)
    if min(values) < low or max(values) > high:
        raise _damage(table, column, f"holds a number outside of {low} to {high}")
    said = {columns.strings[value] for value in set(values)} if column.choices or column.kind is Kind.VALUE else set()
    if column.choices and not said <= column.choices:
        raise _damage(table, column, "says what it cannot say")
    if column.kind is Kind.VALUE and not all(_is_scalar(text or "") for text in said):
        raise _damage(table, column, "is neither a number nor a text")


def _find_range(columns: ReportColumns, column: Column) -> tuple[int, int]:
    last = len(columns.strings) - 1
    match column.kind:
        case Kind.MAYBE_TEXT:
            return 0, last
        case Kind.FLAG:
            return 0, 1
        case Kind.MAYBE:
            return -1, 1
        case Kind.SIZES:
            return -1, 2**63 - 1
        case Kind.ROW:
            return -1, columns.rows[column.of] - 1
        case _:
            return 1, last


def _is_scalar(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return value is None or (isinstance(value, int | float | str) and not isinstance(value, bool))
