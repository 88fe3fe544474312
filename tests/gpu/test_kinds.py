"""Kinds of models on a real GPU, where cuDNN and XLA take over what ran as plain ops on the host."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.placement.conftest import run_module

pytestmark = [pytest.mark.tf, pytest.mark.gpu, pytest.mark.slow]

KINDS = ("perceptron", "recurrent", "convolution", "tied", "shared", "attention", "dead")
PLAIN = [(*each, "float32") for each in itertools.product(KINDS, ("keras", "tf_keras"), ("default", "plain"))]
MIXED = [
    (*each, policy)
    for each in itertools.product(("convolution", "attention"), ("keras", "tf_keras"), ("default", "plain"))
    for policy in ("mixed_float16", "mixed_bfloat16")
]


@pytest.mark.parametrize("case", [*PLAIN, *MIXED], ids="-".join)
def test_kind(case: tuple[str, ...], gpus: list[str]) -> None:
    result: dict[str, Any] = run_module("tests.gpu.kinds", case[0], more=case[1:], real=True)
    assert result["faults"] == []
    assert result["compared"] >= 3
    assert result["gradients"] == ["/job:localhost/replica:0/task:0/device:GPU:0"]


def test_cudnn_is_among_them(gpus: list[str]) -> None:
    """Keras 3 takes cuDNN's kernel for an LSTM that it does not compile."""
    assert run_module("tests.gpu.kinds", "recurrent", more=("keras", "plain", "float32"), real=True)["cudnn"]
