"""Hypothesis strategies for whole reports, from the records' own types."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from introspect.records import Report

TEXT = st.text(st.characters(), max_size=6)
"""Surrogates too: a file name that is no UTF-8 holds them."""
WHOLE = st.integers(-(2**53), 2**53)
SIZE = st.integers(0, 2**62)


def make_strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a record's field by its type."""
    if isinstance(hint, typing.NewType):
        return make_strategy(hint.__supertype__)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: TEXT,
        int: WHOLE,
        bool: st.booleans(),
        float: st.floats(),
        type(None): st.none(),
    }
    if hint in plain:
        return plain[hint]
    if dataclasses.is_dataclass(hint):
        return make_records(hint)
    arguments = get_args(hint)
    if get_origin(hint) is Literal:
        return st.sampled_from(arguments)
    if get_origin(hint) in (Union, types.UnionType):
        return st.one_of(*map(make_strategy, arguments))
    assert get_origin(hint) is tuple, hint
    if arguments[-1] is Ellipsis:
        return st.lists(make_strategy(arguments[0]), max_size=3).map(tuple)
    return st.tuples(*map(make_strategy, arguments))


def make_records(record: Any) -> st.SearchStrategy[Any]:
    """Values of one record type."""
    hints = get_type_hints(record)
    fields = {field.name: make_strategy(hints[field.name]) for field in dataclasses.fields(record)}
    if "shape" in fields:
        fields["shape"] = st.lists(st.none() | SIZE, max_size=4).map(tuple)
    return st.builds(record, **fields)


reports = st.deferred(lambda: make_records(Report))
