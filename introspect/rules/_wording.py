"""Words that several rules use, so that they are the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence

from introspect.records import Location

RECOMPILE = (
    "introspect.recompile(model)\n# or, with a new optimizer: model.compile(optimizer=..., loss=..., metrics=...)"
)


def count(number: int, noun: str) -> str:
    """ "1 variable", "3 variables"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_some(names: Sequence[str], most: int = 3) -> str:
    """ "a, b, c and 4 more"; "a, b and c" where these are all."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return join(names)


def join(names: Sequence[str], word: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else "".join(names)


def agree(number: int, one: str, several: str) -> str:
    """The verb form that fits the number."""
    return one if number == 1 else several


def place(location: Location | None) -> str:
    """ "train.py:41"; nothing where the place is not known."""
    return f"{os.path.basename(location.file)}:{location.line}" if location is not None else ""


def capitalise(text: str) -> str:
    """The first letter large, the others as they are."""
    return text[:1].upper() + text[1:]
