"""Arrays are cut into batches as `fit` is told to: the batch size decides which trace the next fit uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tf_keras

import introspect
from tests.oracle import Asked, hold

pytestmark = pytest.mark.tf
X, Y = np.random.default_rng(0).normal(size=(2, 16, 4)).astype("float32")


@pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("size", [8, 5, None])
def test_the_trace_of_a_batch_size(package: Any, size: int | None) -> None:
    layers = [package.layers.Dense(4, name=name) for name in ("enc", "head")]
    model = package.Sequential([package.layers.Input((4,)), *layers])
    model.compile("sgd", "mse")

    def fit(*_: Any) -> None:
        model.fit(X, Y, batch_size=size, verbose=0)

    def look() -> introspect.Report:
        return introspect.inspect(model, data=(X, Y), batch_size=size)

    fit()
    layers[0].trainable = False
    outcome = hold(model, look, None, Asked(), fit)
    assert not outcome.faults
    assert outcome.rules == {"INT101"}
    introspect.recompile(model)
    assert not hold(model, look, None, Asked(), fit).faults


def test_a_file_is_traced_with_it_too(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    path = tmp_path / "m.keras"
    model.save(path)
    for size in (8, 5, None):
        reports = (introspect.inspect(one, data=(X, Y), batch_size=size) for one in (model, path))
        live, loaded = (report.traces[-1].signature for report in reports)
        assert live == loaded
        assert ("[8, 4]" in loaded) == (size == 8)
