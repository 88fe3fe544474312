"""Strategies of one process; the devices are set up in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.strategies.cluster import ROOT

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def test_all_cells() -> None:
    """Each cell of tests/strategies/single.py is right."""
    command = [sys.executable, "-m", "tests.strategies.single"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert {name: found for name, found in answer["faults"].items() if found} == {}
    assert answer["totals"]["situations"] == 2 * 3 + 3 * 3 + 2
