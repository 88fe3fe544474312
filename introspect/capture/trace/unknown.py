"""Which optimizer of a step is handed variables that it was not built with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from introspect.capture.slots import is_built, open_optimizer
from introspect.capture.variables import find_face

Known = Mapping[Any, Any]
"""Variables by identity, or by tf_keras' own key, then without the variable."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An optimizer, and variables that it does not know; without the optimizer's name where no one can be blamed."""

    optimizer: str | None
    variables: tuple[Any, ...]


def find_unknown(
    forgotten: Sequence[Any],
    copies: Iterable[tuple[Any, Any]],
    known: Mapping[int, Known],
    trained: Sequence[Any],
    said: str,
) -> tuple[Unknown, ...]:
    """Each optimizer with what the step hands it and it does not know, the one that raises first.

    Args:
        forgotten: optimizers that a trace was made with as if they were never built; wholes before their parts.
        copies: (an optimizer, the twin's in its place).
        known: what each knew before, by identity.
        trained: variables that the flags let train.
        said: the error's text.
    """
    tellers = {id(real): copy for real, copy in copies}
    used = [(real, tell) for real in forgotten if (tell := find_teller(real, tellers.get(id(real)))) is not None]
    inner = {id(part) for real, _ in used for part in open_optimizer(real)[1:]}
    wholes = [(real, tell) for real, tell in used if id(real) not in inner]
    books = {id(real): join_books(known.get(id(part), {}) for part in open_optimizer(real)) for real, _ in wholes}
    found = [
        Unknown(str(real.name), missing)
        for real, tell in wholes
        if (missing := list_missing(list_handed(tell, trained), books[id(real)]))
    ]
    if found:
        return tuple(sorted(found, key=lambda one: not any(name_variable(v) in said for v in one.variables)))
    blamed = str(wholes[0][0].name) if wholes else None
    return (Unknown(blamed, pick_unknown(trained, books.values() if wholes else known.values())),)


def find_teller(real: Any, copy: Any | None) -> Any | None:
    """Whose books hold what the trace built; None where the step uses neither."""
    return next((part for part in (copy, real) if part is not None and is_built(part)), None)


def name_variable(variable: Any) -> str:
    """The name by which Keras calls the variable in an error."""
    face = find_face(variable)
    return str(getattr(face, "path", None) or face.name)


def list_handed(teller: Any, trained: Sequence[Any]) -> list[Any]:
    """The variables that an optimizer was built with, those of its parts included."""
    handed: dict[int, Any] = {}
    for part in open_optimizer(teller):
        variables = vars(part).get("_trainable_variables") or ()
        keys = vars(part).get("_index_dict") or {}
        found = [*variables, *(v for v in trained if getattr(v, "_unique_id", None) in keys)]
        handed |= {id(variable): variable for variable in found}
    return list(handed.values())


def read_known(optimizer: Any) -> Known:
    """What an optimizer was built with."""
    variables = vars(optimizer).get("_trainable_variables") or ()
    return {id(variable): variable for variable in variables} | dict.fromkeys(vars(optimizer).get("_index_dict") or {})


def join_books(books: Iterable[Known]) -> Known:
    return {key: variable for book in books for key, variable in book.items()}


def list_missing(variables: Iterable[Any], known: Known) -> tuple[Any, ...]:
    return tuple(v for v in variables if id(v) not in known and getattr(v, "_unique_id", None) not in known)


def pick_unknown(trained: Sequence[Any], books: Iterable[Known]) -> tuple[Any, ...]:
    """Variables that the flags let train and that no optimizer knows; else those that one knows and that are frozen."""
    known = join_books(books)
    wanted = {id(variable) for variable in trained}
    return list_missing(trained, known) or tuple(v for k, v in known.items() if v is not None and k not in wanted)
