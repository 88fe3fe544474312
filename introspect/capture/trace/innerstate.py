"""State that no dict of attributes shows: what generators have drawn, what deques and small arrays hold, `__slots__`."""

from __future__ import annotations

import array
import random
import types
from collections import deque
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, cast

import numpy as np

from introspect.capture.frames import list_owners

MOST_OF_ARRAY = 2**20
MOST_OF_ARRAYS = 2**26
"""Bytes of one array, and of all arrays of a snapshot, that are kept; a larger array is left as the step left it."""

GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)

MISSING = object()

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
    return issubclass(kind, (deque, np.ndarray, array.array, bytearray, *GENERATORS))


def save_inner(value: Any, room: ArrayRoom) -> Restore | None:
    """The way to put the object's inner state back; None where there is none to keep."""
    if isinstance(value, deque):
        return save_deque(value)
    if isinstance(value, np.ndarray):
        return save_array(value, room)
    if isinstance(value, (array.array, bytearray)):
        return save_numbers(value, room)
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


def save_numbers(value: Any, room: ArrayRoom) -> Restore | None:
    """An array of Python's own: its numbers or bytes."""
    if not room.take(len(value) * getattr(value, "itemsize", 1)):
        return None
    kept = value[:]

    def restore() -> None:
        if bytes(value) != bytes(kept):
            value[:] = kept

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


@cache
def list_slots(kind: Any) -> tuple[types.MemberDescriptorType, ...]:
    """The attributes that `__slots__` of a user's class give its objects."""
    own = (member for owner in list_owners(kind) for member in vars(owner).values())
    return tuple(member for member in own if isinstance(member, types.MemberDescriptorType))


def read_slots(value: Any) -> dict[types.MemberDescriptorType, Any]:
    """What those attributes hold, `MISSING` where one was never set."""
    found: dict[types.MemberDescriptorType, Any] = {}
    for member in list_slots(cast(Hashable, type(value))):
        try:
            found[member] = member.__get__(value)
        except AttributeError:
            found[member] = MISSING
    return found


def restore_slots(value: Any, kept: dict[types.MemberDescriptorType, Any]) -> None:
    """Put them back, past every `__setattr__`."""
    for member, now in read_slots(value).items():
        if kept[member] is MISSING and now is not MISSING:
            member.__delete__(value)
        elif now is not kept[member]:
            member.__set__(value, kept[member])
