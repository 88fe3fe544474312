"""What is kept of a trace between two looks: it changes no report, goes with the graph, and is never more than may be."""

from __future__ import annotations

import gc
from dataclasses import replace
from types import FunctionType, ModuleType
from typing import Any

import pytest

from introspect.capture import memo
from introspect.capture.memo import Memo, memo_of


class Graph:
    """Stands for a FuncGraph."""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No graph of another test."""
    monkeypatch.setattr(memo, "_MEMOS", type(memo._MEMOS)())


def test_of_an_equal_source() -> None:
    """The last value alone, and only what was made of the same."""
    one = Memo()
    assert one.find(()) is None
    one.keep(("a", 1), "made of a")
    assert one.find(("a", 1)) == "made of a"
    assert one.find(("a", 2)) is None
    one.keep(("a", 2), "made anew")
    assert (one.find(("a", 1)), one.find(("a", 2))) == (None, "made anew")


def test_goes_with_the_graph() -> None:
    """A graph that nobody holds is not held by what was made of it."""
    graph = Graph()
    memo_of(graph).keep("evidence", 1, "made", 8)
    assert memo_of(graph).find("evidence", 1) == "made"
    del graph
    gc.collect()
    assert not memo._MEMOS


def test_the_oldest_gives_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is too much together, what was looked at longest ago goes; the export and the evidence of a graph together."""
    monkeypatch.setattr(memo, "MOST_KEPT", 100)
    first, second, third = Graph(), Graph(), Graph()
    for graph in (first, second):
        memo_of(graph).keep("export", 1, "export", 10)
        memo_of(graph).keep("evidence", 1, "evidence", 40)
    assert memo_of(first).find("export", 1)
    assert memo_of(second).find("evidence", 1)
    memo_of(first).find("export", 1)
    memo_of(third).keep("export", 1, "export", 1)
    assert memo_of(first).find("evidence", 1) == "evidence"
    assert memo_of(second).find("evidence", 1) is None
    assert memo_of(second).find("export", 1) is None
    assert memo_of(third).find("export", 1) == "export"


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is alone more than may be kept is not, and what comes in its place counts alone."""
    monkeypatch.setattr(memo, "MOST_KEPT", 100)
    graph = Graph()
    memo_of(graph).keep("evidence", 1, "evidence", 101)
    assert memo_of(graph).find("evidence", 1) is None
    for source in range(5):
        memo_of(graph).keep("evidence", source, "evidence", 60)
    assert memo_of(graph).find("evidence", 4) == "evidence"


def make_model() -> Any:
    import keras

    tower = keras.Sequential([keras.layers.Dense(4, name="one"), keras.layers.BatchNormalization()], name="tower")
    model = keras.Sequential([keras.Input((3,)), tower, keras.layers.Dense(1, name="head")])
    tower.trainable = False
    model.compile("adam", "mse")
    return model


def train(model: Any) -> None:
    import numpy as np

    model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), batch_size=4, verbose=0)


def tell(model: Any) -> dict[str, Any]:
    """The report without what a clock says."""
    import introspect

    return replace(introspect.inspect(model), timings=(), created=0.0).to_dict()


@pytest.mark.tf
@pytest.mark.parametrize("change", ["nothing", "flags", "compiled", "learning rate", "renamed"])
def test_same_report(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later look tells what a first one would, whatever was set in between; what is left of the trace is read once."""
    from introspect.evidence import collect

    model = make_model()
    train(model)
    first = tell(model)
    if change == "flags":
        model.get_layer("tower").trainable = True
        model.get_layer("head").trainable = False
    elif change == "compiled":
        model.get_layer("tower").trainable = True
        model.compile("sgd", "mae")
        train(model)
    elif change == "learning rate":
        model.optimizer.learning_rate = 0.0
    elif change == "renamed":
        model.layers[-1].name = "top"
    read: list[Any] = []
    monkeypatch.setattr(collect, "_collect", lambda *given, real=collect._collect: read.append(given) or real(*given))
    later, times = tell(model), len(read)
    memo._MEMOS.clear()
    assert later == tell(model)
    assert times == (1 if change == "compiled" else 0)
    assert (later == first) == (change == "nothing")


@pytest.mark.tf
def test_holds_no_graph() -> None:
    """Nothing of TensorFlow's or Keras' is reached from what is kept, but messages of protobuf."""
    model = make_model()
    train(model)
    tell(model)
    (kept,) = memo._MEMOS.values()
    queue, seen, held = [*kept._memos.values()], set[int](), set[str]()
    assert len(queue) == 2
    while queue:
        value = queue.pop()
        if id(value) in seen or isinstance(value, (type, ModuleType)):
            continue
        seen.add(id(value))
        held.add(type(value).__module__.partition(".")[0])
        cells = value.__closure__ or () if isinstance(value, FunctionType) else gc.get_referents(value)
        queue += cells
    assert len(seen) > 100
    assert not held & {"tensorflow", "keras", "tf_keras"}, held
