"""Arrays that remember what they are made of: numpy hands it on, and their values are those of plain arrays."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from introspect.capture.trace.values import remember


class Graph:
    pass


GRAPH = Graph()


def name_sources(value: Any) -> set[str]:
    return {name for _, name in getattr(value, "made_of", ())}


def make(name: str) -> Any:
    """An array of the tensor of this name."""
    return remember(np.arange(6.0).reshape(2, 3), SimpleNamespace(graph=GRAPH, name=name))


def add_in_place(a: Any, b: Any) -> Any:
    a += b
    return a


def add_at(a: Any, b: Any) -> Any:
    np.add.at(a, ([0], [0]), b[0, 1:2])
    return a


def set_items(a: Any, b: Any) -> Any:
    a[...] = b
    return a


def write_out(a: Any, b: Any) -> Any:
    np.multiply(a, b, out=a)
    return a


HANDED_ON: dict[str, tuple[Callable[[Any, Any], Any], set[str]]] = {
    "sum": (lambda a, b: 0.9 * a + b, {"a", "b"}),
    "slice": (lambda a, b: a[:, 1:].T, {"a"}),
    "reduced": (lambda a, b: a.mean(0) - b.max(1, keepdims=True), {"a", "b"}),
    "function": (lambda a, b: np.concatenate([a, b]), {"a", "b"}),
    "parts": (lambda a, b: np.split(np.stack([a, b]), 2)[0], {"a", "b"}),
    "where": (lambda a, b: np.where(a > 2, b, 0.0), {"a", "b"}),
    "product": (lambda a, b: a @ b.T, {"a", "b"}),
    "cast": (lambda a, b: a.astype("float32").copy(), {"a"}),
    "in place": (add_in_place, {"a", "b"}),
    "at": (add_at, {"a", "b"}),
    "items": (set_items, {"a", "b"}),
    "out": (write_out, {"a", "b"}),
    "plain": (lambda a, b: np.array(a) + np.ones((2, 3)), set()),
}


@pytest.mark.parametrize("way", HANDED_ON)
def test_numpy_hands_on_what_an_array_is_made_of(way: str) -> None:
    apply, sources = HANDED_ON[way]
    found = apply(make("a"), make("b"))
    plain = apply(np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3))
    assert name_sources(found) == sources
    assert found.dtype == plain.dtype
    assert np.asarray(found).tobytes() == plain.tobytes()


def test_an_array_can_be_kept() -> None:
    """A user's code may store it, print it and give it to Python."""
    array = make("a")
    for other in (copy.deepcopy(array), pickle.loads(pickle.dumps(array))):
        assert np.asarray(other).tobytes() == np.asarray(array).tobytes()
    assert array.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert float(array[1, 2]) == 5.0
    assert f"{array.sum():.1f}" == "15.0"


def test_numbers_and_texts_stay_as_they_are() -> None:
    tensor = SimpleNamespace(graph=GRAPH, name="a")
    for value in (np.float32(1.0), np.array(["a"], dtype=object), b"text"):
        assert remember(value, tensor) is value
