"""Under MirroredStrategy the measured gradient is that of the whole batch."""

from __future__ import annotations

import pytest

from tests.placement.conftest import run_module

pytestmark = [pytest.mark.tf, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["perceptron", "recurrent", "tied"])
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_two_replicas(name: str, kind: str) -> None:
    assert run_module("tests.measure.replicas", name, more=(kind,)) == []
