"""On a real GPU: reports equal the partition graphs and the profiler's kernels; the samples say what they say."""

from __future__ import annotations

import pytest

from introspect.rules import RULES, Rule
from tests.placement.conftest import run_module
from tests.placement.test_executed import check, check_reach
from tests.placement.test_samples import WITH_INFO
from tests.rules.test_samples import NEEDS_GPU

pytestmark = [pytest.mark.tf, pytest.mark.gpu, pytest.mark.slow]

ONE = ("plain", "steps", "jit", "jit-steps", "jit-by-default", "tf_keras", "tf_keras-steps", "tf_keras-jit")
MIXED = ("mixed", "mixed-steps")
TWO = ("mirrored", "tf_keras-mirrored")


@pytest.mark.parametrize("name", [*ONE, *MIXED])
def test_placement_equals_partition_graphs(name: str, gpus: list[str]) -> None:
    result = run_module("tests.placement.scenario", name, real=True)
    check(result)
    assert all("GPU:0" in device for device in result["gradients"].values())
    assert ("INT601" in result["findings"]) == (name in MIXED)


@pytest.mark.parametrize("name", TWO)
def test_two_gpus(name: str, gpus: list[str]) -> None:
    if len(gpus) < 2:
        pytest.skip("a MirroredStrategy over GPUs needs two; this machine has one")
    check(run_module("tests.placement.scenario", name, gpus=2, real=True), writes=8)


@pytest.mark.parametrize("name", ["int32", "int64", "plain-int32"])
def test_what_xla_cannot_reach(name: str, gpus: list[str]) -> None:
    check_reach(name, run_module("tests.placement.elsewhere", name, real=True))


@pytest.mark.parametrize("name", ["plain", "steps", "mixed", "mixed-steps"])
def test_placement_equals_profiled_kernels(name: str, gpus: list[str]) -> None:
    """Without XLA, whose kernels bear no names of ops."""
    result = run_module("tests.gpu.kernels", name, real=True)
    assert result["kernels"] > 0
    assert result["compared"] >= 4
    assert result["faults"] == []


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.id in NEEDS_GPU], ids=lambda rule: rule.name)
def test_samples(rule: Rule, gpus: list[str]) -> None:
    said = run_module("tests.placement.sample", rule.name, real=True)
    own = f"{rule.id} {rule.severity} {rule.certainty}"
    assert said == {"bad": [*WITH_INFO.get(rule.id, []), own], "good": []}
