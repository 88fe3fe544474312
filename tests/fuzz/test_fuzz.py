"""Random trainings: the report on the last fit against what one real step does.

python -m pytest tests/fuzz                               a few, the same each time
INTROSPECT_FUZZ=2000 python -m pytest -s tests/fuzz       as many; INTROSPECT_FUZZ=5000-7000: these seeds
"""

from __future__ import annotations

import os
import traceback

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.fuzz.plans import PLANS, Act, Part, Plan, draw_plan, shrink
from tests.fuzz.play import play

pytestmark = pytest.mark.tf

MANY = os.environ.get("INTROSPECT_FUZZ", "")


@pytest.mark.slow
@settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False)
@given(PLANS)
def test_random_training(plan: Plan) -> None:
    """No fault, whatever was done before."""
    faults = play(plan)
    note("\n".join(faults))
    assert faults == []


def find_faults(plan: Plan) -> list[str]:
    """Faults of a plan; an exception that should not be is one too."""
    try:
        return play(plan)
    except Exception:
        return [f"exception: {' / '.join(traceback.format_exc().strip().splitlines()[-3:])}"]


@pytest.mark.skipif(not MANY, reason="INTROSPECT_FUZZ says how many")
def test_many() -> None:
    """As many as asked, each failure shrunk and printed."""
    first, _, last = MANY.rpartition("-")
    failed = []
    for seed in range(int(first or 0), int(last)):
        plan = draw_plan(seed)
        faults = find_faults(plan)
        if faults:
            print(f"\nseed {seed}: {faults[:3]}; smaller:", flush=True)
            small = shrink(plan, lambda other: bool(find_faults(other)))
            failed.append(small)
            print(f"seed {seed}: {small}\n  " + "\n  ".join(find_faults(small)[:6]), flush=True)
    assert failed == []


FOUND: dict[str, Plan] = {
    "int8 under mixed precision, run eagerly": Plan(
        (Part("spectral"),),
        policy="mixed_bfloat16",
        shape="subclassed",
        compile={"run_eagerly": True},
        acts=(Act("quantize", flag=False), Act("compile", flag=True)),
    ),
    "all frozen, averages that nobody keeps and nobody asks for": Plan(
        (Part("dense"),),
        setting="ema",
        acts=(Act("layer", flag=False), Act("compile", flag=True)),
        shape="sequential",
        keras=2,
    ),
}
"""What once failed, shrunk."""


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str) -> None:
    """What once failed stays right."""
    assert play(FOUND[name]) == []
