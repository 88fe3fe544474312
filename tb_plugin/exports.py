"""A report as a download."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from introspect.outlets import OUTLETS, Options
from introspect.records import Measured, Report, VariableReport

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_FIELDS = ("path", "dtype", "layer", "device", "trainable", "expected", "updated", "gradient", "reason", "optimizer")
_LATER = ("gradient_device", "tracked", "decided_by")
_NUMBERS = ("gradient_norm", "update_norm", "weight_norm", "zero_fraction", "finite", "resolved", "placed")
HEADING = (*_FIELDS, *_LATER, "shape", "writes", "slots", "findings", "replicas", *_NUMBERS)


def export_json(report: Report) -> bytes:
    """`report.to_dict()` as the JSON outlet writes it."""
    outlet = next(outlet for outlet in OUTLETS if outlet.name == "json")
    text = outlet.render([report], Options(width=100, limit=None))
    return text if isinstance(text, bytes) else text.encode("utf-8")


def export_csv(report: Report) -> bytes:
    """One line a variable. Texts that a spreadsheet would run as a formula begin with an apostrophe."""
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\r\n")
    lines.writerow(HEADING)
    lines.writerows(map(_make_line, report.variables))
    return out.getvalue().encode("utf-8", "backslashreplace")


def _make_line(row: VariableReport) -> list[Any]:
    lists: Iterable[Iterable[str]] = (
        ["x".join("?" if size is None else str(size) for size in row.shape)],
        dict.fromkeys(write.kind for write in row.writes),
        (slot.name for slot in row.slots),
        row.findings,
        row.replicas,
    )
    plain = [getattr(row, name) for name in (*_FIELDS, *_LATER)]
    joined = ["; ".join(values) for values in lists]
    return [_disarm(value) for value in (*plain, *joined, *_list_numbers(row.measured))]


def _list_numbers(measured: Measured | None) -> list[Any]:
    return [None if measured is None else getattr(measured, name) for name in _NUMBERS]


def _disarm(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
