"""What all tests share: the truth oracle's figures at the end of a run."""

from __future__ import annotations

import sys
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line with what the oracle counted in this process."""
    oracle = sys.modules.get("tests.oracle")
    if oracle is not None and oracle.TOTALS["situations"]:
        terminalreporter.write_line("oracle: " + ", ".join(f"{n} {what}" for what, n in oracle.TOTALS.items()))
