"""Placement equals another reading of the partition graphs; looking changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.placement.conftest import run_module

pytestmark = [pytest.mark.tf, pytest.mark.gpu, pytest.mark.slow]

MODULE = "tests.placement.scenario"


def check(result: dict[str, Any], writes: int = 4) -> None:
    assert result["faults"] == []
    assert result["variables"] == 4
    assert result["compared"] >= writes
    assert result["derived"] == []  # a device that no executed graph showed is never called placed
    assert result["followed"] == [True] * 3  # at the first trace, at the end, and whoever asks later
    assert result["steady"]
    assert result["same"]


@pytest.mark.parametrize("name", ["plain", "steps", "jit", "jit-steps", "tf_keras", "tf_keras-steps", "tf_keras-jit"])
def test_one_gpu(name: str, fake_gpu: Path) -> None:
    result = run_module(MODULE, name, fake_gpu)
    check(result)
    assert set(result["gradients"].values()) == {"/job:localhost/replica:0/task:0/device:GPU:0"}
    assert result["findings"] == (["INT604"] if "jit" in name or "tf_keras" in name else [])


def test_jit_by_default(fake_gpu: Path) -> None:
    result = run_module(MODULE, "jit-by-default", fake_gpu)
    check(result)
    assert result["findings"] == ["INT604"]


@pytest.mark.parametrize("name", ["mixed", "mixed-steps"])
def test_a_layer_on_the_host(name: str, fake_gpu: Path) -> None:
    result = run_module(MODULE, name, fake_gpu)
    check(result)
    assert set(result["gradients"].values()) == {"/job:localhost/replica:0/task:0/device:GPU:0"}
    assert result["findings"] == ["INT601", "INT602"]
    # kernel and bias of (4 * 6 + 6) float32 go to the GPU, their updates come back
    assert "240 bytes cross" in result["crossing"]


@pytest.mark.parametrize("name", ["mirrored", "tf_keras-mirrored"])
def test_two_gpus(name: str, fake_gpu: Path) -> None:
    result = run_module(MODULE, name, fake_gpu, gpus=2)
    check(result, writes=8)


def test_two_cpu_devices() -> None:
    result = run_module(MODULE, "mixed")
    check(result)
    assert "INT602" not in result["findings"] or result["findings"][0] == "INT601"


def test_replicas_on_two_cpu_devices() -> None:
    check(run_module(MODULE, "mirrored"), writes=8)


def test_data_stays_on_the_host(fake_gpu: Path) -> None:
    """An iterator over a copy of the data on a GPU ends the process: its elements are read by the host."""
    assert run_module("tests.placement.host", "keras", fake_gpu) == []


@pytest.mark.parametrize("name", ["int32", "int64", "plain-int32"])
def test_what_xla_cannot_reach(name: str, fake_gpu: Path) -> None:
    """A counter on the host, in a step that XLA compiles for the GPU: the step raises, and that is told before."""
    check_reach(name, run_module("tests.placement.elsewhere", name, fake_gpu))


def check_reach(name: str, result: dict[str, Any]) -> None:
    assert result["faults"] == []
    assert list(result["told"]) == (["INT202"] if name == "int32" else [])
    assert name != "int32" or "GPU:0 and cannot reach Variable" in result["told"]["INT202"]
