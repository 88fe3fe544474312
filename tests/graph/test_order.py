"""Nodes are put into an order in which they may run, as near to the one given as may be."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from introspect.graph.order import sort_nodes

Needs = list[list[int]]


def sort(needs: Needs) -> list[int] | None:
    start = np.cumsum([0, *map(len, needs)]).astype(np.int32)
    order = sort_nodes(start, np.asarray([other for row in needs for other in row], dtype=np.int32))
    return None if order is None else order.tolist()


def test_an_order_that_is_right_stays() -> None:
    assert sort([[], [0], [-1, 0, 1]]) is None
    assert sort([]) is None


def test_only_what_is_needed_earlier_moves() -> None:
    assert sort([[], [4], [0], [2], [2], [1]]) == [0, 2, 4, 1, 3, 5]


def test_a_circle_loses_one_edge() -> None:
    assert sort([[], [0, 3], [1], [2], [1]]) == [0, 2, 3, 1, 4]
    assert sort([[0]]) == [0]


@given(count=st.integers(1, 30), seed=st.integers(0, 2**32), edges=st.integers(0, 80))
def test_any_order_of_any_graph(count: int, seed: int, edges: int) -> None:
    generator = random.Random(seed)
    place = list(range(count))
    generator.shuffle(place)
    needs: Needs = [[] for _ in range(count)]
    for _ in range(edges):
        before, after = sorted(generator.choices(range(count), k=2))
        if before != after:
            needs[place[after]].append(place[before])
    order = sort(needs) or list(range(count))
    assert sorted(order) == list(range(count))
    where = {node: i for i, node in enumerate(order)}
    assert all(where[other] < where[node] for node in range(count) for other in needs[node])
