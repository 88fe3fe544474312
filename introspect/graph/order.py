"""An order in which nodes may run."""

from __future__ import annotations

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
    return np.asarray(_pull_forward(start.tolist(), before.tolist(), late.tolist()), dtype=np.int32)


def _pull_forward(start: list[int], before: list[int], late: list[int]) -> list[int]:
    order: list[int] = []
    early: set[int] = set()
    done = 0
    for node in late:
        order += [other for other in range(done, node) if other not in early]
        done = node
        stack, opened = [node], set[int]()
        while stack:
            here = stack[-1]
            if here not in opened and here not in early:
                opened.add(here)
                needs = before[start[here] : start[here + 1]]
                stack += [other for other in needs if other >= done and other not in opened]
                continue
            stack.pop()
            if here not in early:
                early.add(here)
                order.append(here)
    order += [other for other in range(done, len(start) - 1) if other not in early]
    return order
