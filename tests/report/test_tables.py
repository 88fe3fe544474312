"""The tables, the records and the protobuf message say the same."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import pytest

from introspect import records
from introspect.report import report_pb2 as pb
from introspect.report.tables import HAS_OFFSETS, TABLES, Column, FlowEdge, Kind

_TYPES = {
    Kind.TEXT: "TYPE_SINT32",
    Kind.MAYBE_TEXT: "TYPE_SINT32",
    Kind.VALUE: "TYPE_SINT32",
    Kind.TEXTS: "TYPE_SINT32",
    Kind.PAIRS: "TYPE_SINT32",
    Kind.ROW: "TYPE_SINT32",
    Kind.MAYBE: "TYPE_SINT32",
    Kind.FLAG: "TYPE_UINT32",
    Kind.WHOLE: "TYPE_SINT64",
    Kind.SIZES: "TYPE_SINT64",
    Kind.REAL: "TYPE_MESSAGE",
}
_HINTS: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.MAYBE_TEXT: str | None,
    Kind.VALUE: float | str | None,
    Kind.FLAG: bool,
    Kind.MAYBE: bool | None,
    Kind.WHOLE: int,
    Kind.REAL: float | None,
    Kind.TEXTS: tuple[str, ...],
    Kind.PAIRS: tuple[tuple[str, str], ...],
    Kind.SIZES: tuple[int | None, ...],
}


@pytest.mark.parametrize("name", TABLES)
def test_each_field_of_a_record_has_its_column(name: str) -> None:
    table = TABLES[name]
    record: Any = table.record
    fields = record._fields if record is FlowEdge else [field.name for field in dataclasses.fields(record)]
    assert [column.name for column in table.columns] == list(fields), (
        f"{record.__name__} and TABLES[{name!r}] differ: add the column to tables.py and report.proto"
    )


@pytest.mark.parametrize("name", TABLES)
def test_each_column_fits_its_field(name: str) -> None:
    hints = typing.get_type_hints(TABLES[name].record)
    for column in TABLES[name].columns:
        hint = hints[column.name]
        if column.choices:
            assert column.choices == set(typing.get_args(hint)), column.name
        elif column.kind is Kind.ROW:
            assert hint == typing.cast(Any, TABLES[column.of].record) | None, column.name
        elif column.kind is Kind.CHILDREN:
            assert hint == tuple[typing.cast(Any, TABLES[column.of].record), ...], column.name
        else:
            assert hint == _HINTS[column.kind], column.name


@pytest.mark.parametrize("name", TABLES)
def test_each_column_is_in_the_proto(name: str) -> None:
    message = pb.Report.DESCRIPTOR.fields_by_name[name].message_type
    expected = {"rows": "TYPE_UINT32"}
    for column in TABLES[name].columns:
        expected |= _name_fields(column)
    assert {field.name: _name_type(field) for field in message.fields} == expected


def _name_fields(column: Column) -> dict[str, str]:
    counts = {f"{column.name}_count": "TYPE_UINT32"} if column.kind in HAS_OFFSETS else {}
    return counts if column.kind is Kind.CHILDREN else {column.name: _TYPES[column.kind], **counts}


def _name_type(field: Any) -> str:
    names = {getattr(field, name): name for name in dir(field) if name.startswith("TYPE_")}
    return names[field.type]


@pytest.mark.parametrize(("message", "record"), [("Model", records.ModelSummary), ("Environment", records.Environment)])
def test_the_records_beside_the_tables_are_in_the_proto(message: str, record: Any) -> None:
    stored = [field.name for field in getattr(pb, message).DESCRIPTOR.fields]
    assert stored == [field.name for field in dataclasses.fields(record)]


def test_the_report_itself_is_in_the_proto() -> None:
    stored = {field.name for field in pb.Report.DESCRIPTOR.fields}
    fields = {field.name for field in dataclasses.fields(records.Report)} - {"flow"}
    assert stored == fields | TABLES.keys() | {"strings"}


def test_a_table_stands_after_those_that_point_into_it() -> None:
    names = list(TABLES)
    for name, table in TABLES.items():
        for column in table.columns:
            assert not column.of or names.index(column.of) > names.index(name), (name, column.name)
