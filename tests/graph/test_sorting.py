"""Sorting by small whole numbers agrees with numpy's own."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from introspect.graph.sorting import begin_runs, sort_numbers

KEYS = st.lists(st.integers(0, 5) | st.integers(2**16 - 3, 2**16 + 3) | st.integers(0, 2**31 - 1))


@given(KEYS)
def test_order_is_stable(keys: list[int]) -> None:
    numbers = np.asarray(keys, dtype=np.int32)
    assert sort_numbers(numbers).tolist() == np.argsort(numbers, kind="stable").tolist()


@given(st.lists(st.integers(-1, 6)))
def test_runs_begin_where_the_sorted_keys_do(keys: list[int]) -> None:
    numbers = np.asarray(keys, dtype=np.int32)
    assert begin_runs(numbers, 7).tolist() == np.searchsorted(np.sort(numbers), np.arange(8)).tolist()
