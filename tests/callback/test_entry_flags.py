"""The flags that tf_keras' `fit` has put aside, for which the collector is asked."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import introspect

pytestmark = pytest.mark.tf


def make_model() -> Any:
    keras = pytest.importorskip("tf_keras")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="hid"), keras.layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    model.get_layer("hid").trainable = False
    return model


def test_no_collection_while_referrers_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython walks the collector's own lists for it, and a collection that begins meanwhile moves them."""
    listed, during = gc.get_referrers, []

    def list_referrers(*objects: Any) -> list[Any]:
        during.append(gc.isenabled())
        return listed(*objects)

    monkeypatch.setattr(gc, "get_referrers", list_referrers)
    callback = introspect.IntrospectCallback(on_mismatch="log")
    make_model().fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0, callbacks=[callback])
    assert during
    assert not any(during)
    assert gc.isenabled()
    assert callback.report is not None
    assert callback.report.findings[0].rule == "INT101"
