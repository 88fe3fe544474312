"""What the parts share: rows, medians, peak memory."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable


def show(what: str, figure: str, aim: str = "") -> None:
    """One row of the table, for benchmarks/run to pick up."""
    print("ROW " + json.dumps({"what": what, "figure": figure, "aim": aim}), flush=True)


def time_once(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def time_pairs(first: Callable[[], object], second: Callable[[], object], pairs: int) -> tuple[float, float]:
    """Medians of both, called in turn so that both meet the same machine."""
    times = [(time_once(first), time_once(second)) for _ in range(pairs)]
    return statistics.median(a for a, _ in times), statistics.median(b for _, b in times)


def peak_memory() -> int:
    """Peak resident memory of this process in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run_alone(script: str, *arguments: str) -> None:
    """Run a script in a process of its own; where it fails, a row says so and the others go on."""
    done = subprocess.run([sys.executable, script, *arguments])
    if done.returncode:
        show(f"{' '.join(arguments).removeprefix('--one ')} failed with exit code {done.returncode}", "")
