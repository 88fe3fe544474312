"""An optimizer that keeps slots for every variable and uses some of them for matrices alone."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from tests.rules.exchanged import PACKAGES, make_layers  # noqa: E402
from tests.rules.reported import batches  # noqa: E402

pytestmark = pytest.mark.tf


@PACKAGES
def test_slots_that_wait_for_matrices_are_no_finding(package: Any) -> None:
    model = make_layers(package)
    model.compile(package.optimizers.Adafactor(0.1), "mse")
    model.fit(batches(), verbose=0)
    report = introspect.inspect(model)
    slots = [slot.updated for row in report.variables for slot in row.slots]
    assert {"yes", "no"} <= set(slots)
    assert report.findings == ()
