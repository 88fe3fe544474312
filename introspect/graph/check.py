"""A graph that does not hold together is refused by name, wherever it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from introspect.errors import GraphError


@contextmanager
def refuse_damage(what: str) -> Iterator[None]:
    """Turn whatever a damaged graph breaks inside into a GraphError that says `what` was read.

    Raises:
        GraphError: an index, a name or a number of the graph leads nowhere.
    """
    try:
        yield
    except (IndexError, KeyError, ValueError, RecursionError, OverflowError) as error:
        said = f"{type(error).__name__}: {error}".replace("\n", " ")
        raise GraphError(f"{what}: the graph does not hold together ({said}); capture it again") from error
