"""What all tests share: folders left out where TensorFlow is missing, the truth oracle's figures at the end of a run."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")  # a time limit for each example fails on a busy machine

NEED_TENSORFLOW = ("fuzz", "matrix", "measure", "strategies")
"""Folders whose every test trains."""

collect_ignore = [] if find_spec("tensorflow") else list(NEED_TENSORFLOW)


def pytest_report_header() -> str | None:
    """Say what is left out, and why."""
    return f"no TensorFlow here, so these folders are left out: {', '.join(collect_ignore)}" if collect_ignore else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line with what the oracle counted in this process."""
    oracle = sys.modules.get("tests.oracle")
    if oracle is not None and oracle.TOTALS["situations"]:
        terminalreporter.write_line("oracle: " + ", ".join(f"{n} {what}" for what, n in oracle.TOTALS.items()))
