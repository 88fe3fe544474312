"""Sorting by whole numbers that are not large: lengths of names, ports."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGIT = 16
"""Bits. numpy sorts numbers of two bytes by counting, several times as fast as longer ones."""


def sort_numbers(keys: NDArray[Any]) -> NDArray[np.int64]:
    """[keys] places of the keys, none below 0, in their order; equal ones stay in theirs."""
    order: NDArray[np.int64] = np.argsort(keys.astype(np.uint16), kind="stable")
    for shift in range(DIGIT, int(keys.max(initial=0)).bit_length(), DIGIT):
        order = order[np.argsort((keys >> shift).astype(np.uint16)[order], kind="stable")]
    return order


def begin_runs(keys: NDArray[Any], kinds: int) -> NDArray[np.int32]:
    """[kinds + 1] where the keys 0, 1, … begin among all in their order, those below 0 before them; at the end, how many."""
    return np.cumsum(np.bincount(keys + 1, minlength=kinds + 1), dtype=np.int32)
