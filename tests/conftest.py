"""What all tests share: folders left out where TensorFlow is missing, the truth oracle's figures at the end of a run."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")  # a time limit for each example fails on a busy machine

GPUS_WERE = os.environ.setdefault("INTROSPECT_TESTS_GPUS_WERE", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
"""What was in sight before; in the environment, since each worker of xdist comes here after the process that began it."""
if os.environ.get("INTROSPECT_TESTS_SEE_GPU") != "1":
    # With a GPU in sight Keras compiles by XLA: other numbers, one finding more. What needs it (tests/gpu) shows it again.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

HAS_TENSORFLOW = find_spec("tensorflow") is not None
TRAINS = re.compile(r"^pytestmark = .*pytest\.mark\.tf\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a file whose every test trains, where there is no TensorFlow: it could not even be imported."""
    if HAS_TENSORFLOW or collection_path.suffix != ".py":
        return None
    return True if TRAINS.search(collection_path.read_text(encoding="utf-8")) else None


@pytest.fixture(autouse=True, scope="module")
def _leave_old_alone() -> Iterator[None]:
    """Set aside what is still alive after a file.

    TensorFlow 2.21 never lets go of some 27,000 objects of each model that ran: in a long run each collection, and each
    search among all live objects, would come to take seconds.
    """
    yield
    gc.collect()
    gc.freeze()


def pytest_report_header() -> str | None:
    """Say what is left out, and why."""
    return None if HAS_TENSORFLOW else "no TensorFlow here, so files whose every test trains are left out"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line with what the oracle counted in this process."""
    oracle = sys.modules.get("tests.oracle")
    if oracle is not None and oracle.TOTALS["situations"]:
        terminalreporter.write_line("oracle: " + ", ".join(f"{n} {what}" for what, n in oracle.TOTALS.items()))
