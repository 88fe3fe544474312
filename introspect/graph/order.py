"""An order in which nodes may run."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


def sort_nodes(start: Ints, before: Ints) -> Ints | None:
    """Nodes in an order in which each stands behind those that it needs; None where they stand so already.

    Node i needs before[start[i]:start[i + 1]]; a negative number is nothing. The order given is kept as far as may be:
    TensorFlow's own is right but for a few nodes. Of a circle one edge is left out.
    """
    owner = np.repeat(np.arange(start.shape[0] - 1, dtype=np.int32), np.diff(start))
    waits = np.zeros(start.shape[0] - 1, dtype=bool)
    waits[owner[before >= owner]] = True
    late = np.flatnonzero(waits)
    if not late.size:
        return None
    moved, ahead = _pull_forward(
        array("i", start.tobytes()), array("i", before.astype(np.int32).tobytes()), late.tolist()
    )
    stay = np.delete(np.arange(start.shape[0] - 1, dtype=np.int32), moved)
    return np.insert(stay, np.searchsorted(stay, ahead), np.asarray(moved, dtype=np.int32))


def _pull_forward(start: array[int], before: array[int], late: list[int]) -> tuple[list[int], list[int]]:
    """(the nodes that do not keep their place, in their order; the one of `late` in whose place each stands)"""
    moved: list[int] = []
    ahead: list[int] = []
    early: set[int] = set()
    for node in late:
        stack, opened = [node], set[int]()
        while stack:
            here = stack[-1]
            if here not in opened and here not in early:
                opened.add(here)
                needs = before[start[here] : start[here + 1]]
                stack += [other for other in needs if other >= node and other not in opened]
                continue
            stack.pop()
            if here not in early:
                early.add(here)
                moved.append(here)
                ahead.append(node)
    return moved, ahead
