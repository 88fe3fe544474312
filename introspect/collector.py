"""Python's garbage collector: out of the way for a while, and what it knows."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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


def list_alive(choose: Callable[[type], object]) -> Iterator[Any]:
    """Live objects of the classes that `choose` says yes to, each class asked once: two passes over all."""
    objects = gc.get_objects()
    chosen = {kind for kind in set(map(type, objects)) if choose(kind)}
    return (value for value in objects if type(value) in chosen)
