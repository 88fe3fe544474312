"""How the records of a report lie in tables: one for each record type, one column (or two) for each field.

A column is a list of small numbers; strings stand in one table of the report and columns hold their indexes, 0 for
None.
The protobuf message, the TensorBoard page's JSON and the checks all follow `TABLES`. Fields stand in the order of
their record, for rows are built by position.

| kind | holds | record's type |
| --- | --- | --- |
| TEXT | index of a string, never 0 | `str` |
| MAYBE_TEXT | index of a string | `str | None` |
| VALUE | index of a string that holds a JSON scalar | `float | str | None` |
| FLAG | 0 or 1 | `bool` |
| MAYBE | -1 (None), 0 or 1 | `bool | None` |
| WHOLE | the number | `int` |
| REAL | the number or None | `float | None` |
| TEXTS | indexes of strings, and offsets in `<name>_start` | `tuple[str, ...]` |
| PAIRS | as TEXTS, two indexes for each pair | `tuple[tuple[str, str], ...]` |
| SIZES | numbers, -1 for None, and offsets in `<name>_start` | `tuple[int | None, ...]` |
| ROW | row of the table `of`, or -1 | `Record | None` |
| CHILDREN | offsets into the table `of`, in `<name>_start` | `tuple[Record, ...]` |
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

from introspect.records import (
    Certainty,
    EvidenceStep,
    Finding,
    FixResult,
    FixTrial,
    FlowNode,
    GradientKind,
    LayerReport,
    Location,
    Measured,
    OptimizerReport,
    Severity,
    SlotReport,
    Source,
    TraceReport,
    Updated,
    VariableReport,
    Write,
    WriteKind,
)


class Kind(enum.Enum):
    """What a column holds; see the table above."""

    TEXT = enum.auto()
    MAYBE_TEXT = enum.auto()
    VALUE = enum.auto()
    FLAG = enum.auto()
    MAYBE = enum.auto()
    WHOLE = enum.auto()
    REAL = enum.auto()
    TEXTS = enum.auto()
    PAIRS = enum.auto()
    SIZES = enum.auto()
    ROW = enum.auto()
    CHILDREN = enum.auto()


HAS_OFFSETS = frozenset({Kind.TEXTS, Kind.PAIRS, Kind.SIZES, Kind.CHILDREN})


class FlowEdge(NamedTuple):
    """One edge of `Flow.edges`."""

    source: int
    target: int
    differentiable: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a record."""

    name: str
    kind: Kind
    of: str = ""
    """ROW and CHILDREN: the table that it points into."""
    choices: frozenset[str] = frozenset()
    """TEXT: what it may say; empty where anything may be said."""
    since: int = 1
    """Version of the format that brought it; a stored report of an earlier one reads as empty here."""


@dataclass(frozen=True, slots=True)
class Table:
    """All records of one type."""

    record: Callable[..., Any]
    columns: tuple[Column, ...]


def _columns(kind: Kind, names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names.split())


def _text(names: str) -> tuple[Column, ...]:
    return _columns(Kind.TEXT, names)


def _maybe(names: str) -> tuple[Column, ...]:
    return _columns(Kind.MAYBE_TEXT, names)


def _choice(name: str, literal: Any) -> Column:
    return Column(name, Kind.TEXT, choices=frozenset(get_args(literal)))


def _rows(name: str, table: str) -> Column:
    return Column(name, Kind.ROW, of=table)


def _children(name: str, table: str) -> Column:
    return Column(name, Kind.CHILDREN, of=table)


_FLOW_KINDS = frozenset({"input", "layer", "op", "cut", "loss"})

TABLES: dict[str, Table] = {
    "variables": Table(
        VariableReport,
        (
            *_text("path"),
            *_columns(Kind.SIZES, "shape"),
            *_text("dtype"),
            *_maybe("layer device"),
            *_columns(Kind.FLAG, "trainable expected"),
            _choice("updated", Updated),
            _choice("gradient", GradientKind),
            _children("writes", "writes"),
            *_maybe("reason optimizer"),
            _children("slots", "slots"),
            *_maybe("gradient_device"),
            _rows("measured", "measured"),
            *_columns(Kind.TEXTS, "findings"),
            *_columns(Kind.FLAG, "tracked"),
            *_maybe("decided_by"),
            *_columns(Kind.TEXTS, "replicas"),
        ),
    ),
    "writes": Table(
        Write,
        (
            _choice("kind", WriteKind),
            *_maybe("op op_type device placed"),
            *_columns(Kind.FLAG, "conditional"),
            *_maybe("trace function"),
            _rows("location", "locations"),
        ),
    ),
    "slots": Table(SlotReport, (*_text("name path"), _choice("updated", Updated), *_maybe("device placed"))),
    "measured": Table(
        Measured,
        (
            *_columns(Kind.REAL, "gradient_norm update_norm weight_norm zero_fraction"),
            *_columns(Kind.MAYBE, "finite resolved"),
            *_maybe("placed"),
        ),
    ),
    "layers": Table(
        LayerReport,
        (
            *_text("path name class_name"),
            *_maybe("parent"),
            *_columns(Kind.FLAG, "trainable built"),
            *_columns(Kind.TEXTS, "variables"),
        ),
    ),
    "optimizers": Table(
        OptimizerReport,
        (
            *_text("name class_name"),
            *_columns(Kind.VALUE, "learning_rate"),
            *_columns(Kind.TEXTS, "tracks"),
            *_columns(Kind.FLAG, "built"),
            *_columns(Kind.PAIRS, "settings"),
        ),
    ),
    "traces": Table(
        TraceReport,
        (
            *_text("id signature"),
            *_columns(Kind.WHOLE, "nodes functions"),
            *_columns(Kind.TEXTS, "updated"),
            *_columns(Kind.FLAG, "current"),
            _choice("source", Source),
            *_text("caller"),
            *_columns(Kind.FLAG, "jit"),
            Column("location", Kind.ROW, of="locations", since=2),
        ),
    ),
    "findings": Table(
        Finding,
        (
            *_text("rule name"),
            _choice("severity", Severity),
            _choice("certainty", Certainty),
            *_columns(Kind.TEXTS, "variables layers"),
            *_text("message cause fix"),
            _children("evidence", "evidence"),
            *_columns(Kind.FLAG, "verified"),
            _rows("fix_result", "fixes"),
            Column("trials", Kind.CHILDREN, of="trials", since=3),
        ),
    ),
    "evidence": Table(
        EvidenceStep,
        (*_text("note"), *_maybe("op op_type device layer"), _rows("location", "locations"), *_maybe("trace")),
    ),
    "fixes": Table(FixResult, (*_columns(Kind.TEXTS, "trains still_not"), *_text("note"))),
    "trials": Table(
        FixTrial,
        (*_columns(Kind.TEXTS, "trains still_not"), *_text("note code"), *_columns(Kind.FLAG, "verified")),
    ),
    "flow_nodes": Table(
        FlowNode,
        (
            *_columns(Kind.WHOLE, "id"),
            *_text("label"),
            Column("kind", Kind.TEXT, choices=_FLOW_KINDS),
            *_maybe("layer op op_type"),
            _rows("location", "locations"),
        ),
    ),
    "flow_edges": Table(FlowEdge, (*_columns(Kind.WHOLE, "source target"), *_columns(Kind.FLAG, "differentiable"))),
    "locations": Table(Location, (*_text("file"), *_columns(Kind.WHOLE, "line"), *_text("function"))),
}
"""By name. A table stands after those that point into it."""
