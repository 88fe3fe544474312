"""Frozen records to JSON and back, by their type annotations."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any

from introspect.errors import RecordError


def to_json(value: Any) -> Any:
    """A record as dicts, lists and plain values; bytes are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(to_json(item) for item in value)
    return None if isinstance(value, bytes) else value


def from_json(kind: Any, plain: Any, where: str = "capture") -> Any:
    """The record of class `kind` that `to_json` gave; unknown fields are ignored, missing ones take their default.

    Raises:
        RecordError: a value is not of the type that the record declares.
    """
    if dataclasses.is_dataclass(kind):
        return read_record(kind, plain, where)
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return read_union(parts, plain, where)
    if origin is typing.Literal:
        return plain if plain in parts else fail(where, plain)
    if origin in (tuple, frozenset):
        return read_items(origin, parts, plain, where)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if kind is Any or type(plain) is kind:
        return plain
    return fail(where, plain)


def read_record(kind: Any, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        fail(where, plain)
    hints = read_hints(kind)
    values = {name: from_json(hints[name], plain[name], f"{where}.{name}") for name in hints if name in plain}
    try:
        return kind(**values)
    except TypeError as error:
        raise RecordError(f"{where}: {error}; write the file again") from error


@cache
def read_hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def read_union(parts: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and type(None) in parts:
        return None
    for part in parts:
        if part is not type(None):
            try:
                return from_json(part, plain, where)
            except RecordError:
                continue
    return fail(where, plain)


def read_items(origin: Any, parts: tuple[Any, ...], plain: Any, where: str) -> Any:
    if not isinstance(plain, list):
        return fail(where, plain)
    if origin is frozenset or (len(parts) == 2 and parts[1] is Ellipsis):
        return origin(from_json(parts[0], item, f"{where}[{i}]") for i, item in enumerate(plain))
    if len(parts) != len(plain):
        return fail(where, plain)
    return tuple(from_json(part, item, where) for part, item in zip(parts, plain, strict=True))


def fail(where: str, plain: Any) -> Any:
    raise RecordError(f"{where}: {str(plain)[:40]!r} is not what a capture holds there; write the file again")
