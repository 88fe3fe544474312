"""State that no attribute shows: what generators have drawn, what deques and small arrays hold."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

MOST_OF_ARRAY = 2**20
MOST_OF_ARRAYS = 2**26
"""Bytes of one array, and of all arrays of a snapshot, that are kept; a larger array is left as the step left it."""

GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)

Restore = Callable[[], None]


class ArrayRoom:
    """What is left of the bytes that a snapshot may copy."""

    def __init__(self) -> None:
        self._left = MOST_OF_ARRAYS

    def take(self, size: int) -> bool:
        """Whether an array of so many bytes may be copied; then they are taken."""
        if size > min(MOST_OF_ARRAY, self._left):
            return False
        self._left -= size
        return True


@cache
def has_inner(kind: type) -> bool:
    """Whether objects of a class have such state."""
    return issubclass(kind, (deque, np.ndarray, *GENERATORS))


def save_inner(value: Any, room: ArrayRoom) -> Restore | None:
    """The way to put the object's inner state back; None where there is none to keep."""
    if isinstance(value, deque):
        return save_deque(value)
    if isinstance(value, np.ndarray):
        return save_array(value, room)
    if isinstance(value, GENERATORS):
        return save_generator(value)
    return None


def save_deque(value: deque[Any]) -> Restore:
    kept = list(value)

    def restore() -> None:
        if len(value) != len(kept) or any(a is not b for a, b in zip(value, kept, strict=True)):
            deque.clear(value)
            deque.extend(value, kept)

    return restore


def save_array(value: Any, room: ArrayRoom) -> Restore | None:
    if not value.flags.writeable or not room.take(value.nbytes):
        return None
    kept = np.array(value, subok=False)

    def restore() -> None:
        if value.shape == kept.shape and not holds_same(value, kept):
            value[...] = kept

    return restore


def holds_same(array: Any, kept: Any) -> bool:
    """Whether two arrays of one shape are equal to the bit, those of objects by identity."""
    if array.dtype != kept.dtype:
        return False
    if kept.dtype.hasobject:
        return all(a is b for a, b in zip(array.flat, kept.flat, strict=True))
    return bool(array.tobytes() == kept.tobytes())


def save_generator(value: Any) -> Restore | None:
    """A generator of random numbers, Python's or numpy's; None for the system's own, which has no state."""
    if isinstance(value, random.Random):
        try:
            state = value.getstate()
        except NotImplementedError:
            return None
        return lambda: value.setstate(state)
    if isinstance(value, np.random.RandomState):
        legacy = value.get_state(legacy=False)
        return lambda: value.set_state(legacy)
    source = value.bit_generator if isinstance(value, np.random.Generator) else value
    numbers = source.state

    def restore() -> None:
        source.state = numbers

    return restore
