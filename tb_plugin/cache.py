"""What was used last, up to a weight, for the threads of TensorBoard's server."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cache(Generic[T]):
    """Least-recently-used values by key.

    Args:
        limit: greatest sum of weights that is kept; a value heavier than that is made anew each time.
        weigh: the weight of a value, usually bytes.
    """

    def __init__(self, limit: int, weigh: Callable[[T], int]) -> None:
        self.limit = limit
        self._weigh = weigh
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made where it is not kept.

        Threads that ask for the same at once wait for the one that makes it.
        """
        found = self._find(key)
        if found is not None:
            return found[0]
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._find(key)
            return self._make(key, make) if found is None else found[0]

    def _make(self, key: Hashable, make: Callable[[], T]) -> T:
        try:
            value = make()
            self._keep(key, value)
            return value
        finally:
            with self._lock:
                self._making.pop(key, None)

    def _find(self, key: Hashable) -> tuple[T, int] | None:
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def _keep(self, key: Hashable, value: T) -> None:
        weight = self._weigh(value)
        if weight > self.limit:
            return
        with self._lock:
            self._values[key] = (value, weight)
            self._weight += weight
            while self._weight > self.limit:
                _, (_, lost) = self._values.popitem(last=False)
                self._weight -= lost
