"""What was made of a live graph, kept for later looks at it: a finished trace's graph does not change."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

MOST_KEPT = 128 * 2**20
"""Bytes of all that is kept of graphs: some 550 a node, so of 240,000 nodes."""

Made = Literal["export", "evidence"]

T = TypeVar("T")

_clock = count()


class Memo:
    """The last value that was made of something, and all else that it was made of."""

    def __init__(self) -> None:
        self.size = 0
        """Bytes, about, where they count."""
        self._source: object = None
        self._value: Any = None

    def find(self, source: object) -> Any | None:
        """The value that was made of an equal source; None where it was made of another one, or none was."""
        return self._value if self._value is not None and self._source == source else None

    def keep(self, source: object, value: Any, size: int = 0) -> None:
        """Keep a value in the place of the last one."""
        self._source, self._value, self.size = source, value, size

    def recall(self, source: object, make: Callable[[], T]) -> T:
        """What `make` gives of this source, of an earlier time where it is kept."""
        found: T | None = self.find(source)
        if found is None:
            found = make()
            self.keep(source, found)
        return found


class GraphMemo:
    """A memo for each kind of what is made of one graph. No value may hold the graph, which would never go then."""

    def __init__(self) -> None:
        self.used = 0
        self._memos: dict[Made, Memo] = {}

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(memo.size for memo in self._memos.values())

    def find(self, made: Made, source: object) -> Any | None:
        """As `Memo.find`."""
        self.used = next(_clock)
        return self._memos[made].find(source) if made in self._memos else None

    def keep(self, made: Made, source: object, value: Any, size: int) -> None:
        """As `Memo.keep`, unless it is too large; graphs that were not looked at for longest give place."""
        self.used = next(_clock)
        self._memos.setdefault(made, Memo()).keep(source, value, size)
        make_room()

    def recall(self, made: Made, source: object, make: Callable[[], T], measure: Callable[[T], int]) -> T:
        """As `Memo.recall`; `measure` tells the bytes of what was made."""
        found: T | None = self.find(made, source)
        if found is None:
            found = make()
            self.keep(made, source, found, measure(found))
        return found

    def clear(self) -> None:
        """Keep nothing."""
        self._memos.clear()


_MEMOS: WeakKeyDictionary[Any, GraphMemo] = WeakKeyDictionary()


def memo_of(graph: Any) -> GraphMemo:
    """The memo of a FuncGraph; it goes when the graph does."""
    found = _MEMOS.get(graph)
    if found is None:
        found = _MEMOS[graph] = GraphMemo()
    return found


def make_room() -> None:
    """Let go what was used longest ago, until no more is kept than may be."""
    memos = sorted(_MEMOS.values(), key=lambda memo: memo.used)
    left = sum(memo.size for memo in memos)
    for memo in memos:
        if left <= MOST_KEPT:
            return
        left -= memo.size
        memo.clear()
