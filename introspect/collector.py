"""Python's garbage collector: out of the way for a while, and what it knows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection meanwhile: one walks all that TensorFlow holds, and can cost more than what is done here."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def list_alive(choose: Callable[[type], T | None]) -> Iterator[tuple[Any, T]]:
    """(object, what `choose` says of its class) of the live objects of which it says anything.

    Each class is asked once; two passes over all that the collector knows.
    """
    objects = gc.get_objects()
    said = {kind: told for kind in set(map(type, objects)) if (told := choose(kind))}
    return ((value, said[type(value)]) for value in objects if type(value) in said)
