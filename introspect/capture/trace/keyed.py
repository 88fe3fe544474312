"""The user's own dicts that hold something for each model, by the model itself or its id.

A twin is another object, so while a trace runs such a dict holds for the twin too what it holds for the model; the
snapshot that `guard.preserve` takes puts it back.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.capture.trace.snapshot import ObjectSnapshot

_SNAPSHOTS: list[ObjectSnapshot] = []
"""Of the guards that are entered, the innermost last."""


@contextmanager
def lend_keys(snapshot: ObjectSnapshot) -> Iterator[None]:
    """Let `share_keys` write to the dicts of a snapshot, which puts them back."""
    _SNAPSHOTS.append(snapshot)
    try:
        yield
    finally:
        _SNAPSHOTS[:] = [other for other in _SNAPSHOTS if other is not snapshot]


def share_keys(model: Any, twin: Any) -> None:
    """Enter the twin where a dict holds something for the model; nothing outside of a guard."""
    for mapping, pairs in _SNAPSHOTS[-1].dicts if _SNAPSHOTS else ():
        for key, value in pairs:
            twins = make_key(key, model, twin)
            if twins is not None:
                dict.__setitem__(mapping, twins, value)


def make_key(key: Any, model: Any, twin: Any) -> Any | None:
    """The twin's key in the place of the model's; None for any other."""
    if key is model:
        return twin
    if type(key) is int:
        return id(twin) if key == id(model) else None
    if isinstance(key, weakref.ref):  # of a WeakKeyDictionary
        return weakref.ref(twin) if key() is model else None
    return None
