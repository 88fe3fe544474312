"""What an outlet is: one file that turns reports into text or bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from introspect.records import Report


@dataclass(frozen=True, slots=True)
class Options:
    """How a report is to be shown; an outlet takes what it understands and leaves the rest."""

    width: int = 80
    """Columns of the text forms."""
    unicode: bool = True
    """False where the reader's encoding knows ASCII alone."""
    limit: int | None = 24
    """Most rows of the layer tree that are shown open; None shows every variable and folds nothing."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """One row of the table of outlets.

    `render` takes one report or several, in the order in which they are to be shown, and returns `bytes` if `binary`.
    """

    name: str
    endings: tuple[str, ...]
    binary: bool
    render: Callable[[Sequence[Report], Options], str | bytes]
