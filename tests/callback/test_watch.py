"""The probe: what it sees, how soon, and at what cost."""

from __future__ import annotations

import timeit
from typing import Any

import pytest

from introspect.capture.live.watch import SLICE, Change, Watch
from tests.fixes.steps import make_data, make_model, train

pytestmark = pytest.mark.tf


def make_deep(layers: int = 40) -> Any:
    import keras

    inputs = hidden = keras.Input((4,))
    for number in range(layers):
        hidden = keras.layers.Dense(4, name=f"d{number}")(hidden)
    model = keras.Model(inputs, hidden)
    model.compile("sgd", "mse")
    return model


def settle(model: Any) -> Watch:
    watch = Watch(model)
    watch.settle()
    return watch


def test_nothing_to_read_before_the_first_trace() -> None:
    model = make_model()
    model.compile("sgd", "mse")
    watch = Watch(model)
    assert watch.find_change() is None
    train(model, 1)
    assert watch.find_change() == Change("first trace")
    watch.settle()
    assert watch.find_change() is None
    assert not watch.has_moved()


def test_every_flag_is_seen_in_turn() -> None:
    model = make_deep()
    train_data = make_data(outputs=4)
    model.fit(*train_data, verbose=0)
    watch = settle(model)
    flags = 1 + len(model.layers) + len(model.variables)
    turns = -(-flags // SLICE)
    assert turns > 1
    for name in ("d0", "d39"):
        kernel = model.get_layer(name).kernel
        kernel.trainable = False
        assert any(watch.has_moved() for _ in range(turns))
        assert watch.find_change() == Change("flag changed", f"{kernel.path} → False")
        watch.settle()
        assert not any(watch.has_moved() for _ in range(2 * turns))


def test_reasons() -> None:
    import keras

    model = make_model()
    model.compile("adam", "mse")
    train(model, 1)
    watch = settle(model)
    model.optimizer.add_variable((), name="extra")
    assert watch.find_change() == Change("new optimizer variable")
    watch.settle()
    model.optimizer = keras.optimizers.SGD(0.1)
    assert watch.has_moved()
    assert watch.find_change() == Change("optimizer replaced")
    watch.settle()
    x, y = make_data()
    model.compile("sgd", "mse")
    assert watch.has_moved()
    assert watch.find_change() is None  # not traced yet
    train(model, 1)
    assert watch.find_change() == Change("recompiled")
    watch.settle()
    model.train_on_batch(x, y)
    assert watch.has_moved()
    assert watch.find_change() == Change("new trace")
    watch.settle()
    model.trainable = False
    assert watch.find_change() == Change("flag changed", "net → False, inputs → False, d1 → False and 2 more")


def test_costs_microseconds() -> None:
    """Measured: 2 to 8 on the machine of record; the bound leaves room for a busy one."""
    model = make_deep()
    model.fit(*make_data(outputs=4), verbose=0)
    watch = settle(model)
    assert min(timeit.repeat(watch.has_moved, number=200, repeat=5)) / 200 < 200e-6


def test_of_a_model_that_is_gone() -> None:
    import gc

    watch = settle(make_deep(2))
    gc.collect()
    assert watch.model is None
    watch.has_moved()
    assert watch.find_change() is None
