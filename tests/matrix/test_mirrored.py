"""MirroredStrategy on two logical CPUs; the devices are set up in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def test_all_cells() -> None:
    """Each cell of tests/matrix/mirrored.py is right."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.matrix.mirrored"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert {name: faults for name, faults in answer["faults"].items() if faults} == {}
    assert answer["totals"]["situations"] >= 3 * 10
