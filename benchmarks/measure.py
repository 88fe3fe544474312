"""One measurement of a step against one training step, and fingerprints of all variables and slots against it.

python benchmarks/measure.py [name …]; each model in a process of its own.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from models import make_model
from timing import peak_memory, run_alone, show, time_pairs

NAMES = ("ResNet50", "transformer")
ROWS = {"ResNet50": 16, "transformer": 16}


def build(name: str) -> tuple[Any, Any, Any]:
    import numpy as np

    model, x, y = make_model(name)
    rows = ROWS[name]
    return model, np.repeat(x, rows // len(x), axis=0), np.repeat(y, rows // len(y), axis=0)


def measure(name: str) -> None:
    from introspect.capture import capture_model
    from introspect.capture.assembly import Reading
    from introspect.capture.measurement.feeding import feed_step
    from introspect.capture.measurement.fingerprint import fingerprint_model
    from introspect.capture.measurement.measure import LiveStep, Measurer
    from introspect.capture.record import Capture
    from introspect.capture.variables import VariableTable
    from introspect.measuring import plan_trace

    model, x, y = build(name)
    model.fit(x, y, batch_size=len(x), verbose=0)
    held: list[tuple[LiveStep, Any]] = []

    def hold(reading: Reading, table: VariableTable, capture: Capture) -> Capture:
        (trace,) = [trace for trace in capture.traces if trace.current]
        held.append((LiveStep(reading.current, trace, table, model.distribute_strategy), plan_trace(capture, trace)))
        return capture

    capture_model(model, observe=hold)
    ((live, plan),) = held
    started = time.perf_counter()
    measurer = Measurer(live, plan)

    def look() -> None:
        measurer.measure(live, feed_step(live.concrete, live.strategy, (x, y)), True)

    look()
    first = time.perf_counter() - started

    def step() -> None:
        live.concrete._call_flat(feed_step(live.concrete, live.strategy, (x, y)), live.concrete.captured_inputs)

    step()
    before = peak_memory()
    looked, stepped = time_pairs(look, step, 7)
    show(
        f"{name} ({len(plan.points)} variables): measurement / training step ({stepped * 1000:.0f} ms)",
        f"{looked / stepped:.2f}; +{peak_memory() - before} MiB; the first {first:.1f} s",
        "≤ 1.3",
    )
    finger = fingerprint_model(model)
    finger.take()
    looked, stepped = time_pairs(finger.take, step, 7)
    show(f"{name}: fingerprint of {len(finger.paths)} variables and slots / training step", f"{looked / stepped:.2f}")


def main(names: list[str]) -> None:
    for name in names:
        run_alone(__file__, "--one", name)


if __name__ == "__main__":
    measure(sys.argv[2]) if sys.argv[1:2] == ["--one"] else main(sys.argv[1:] or list(NAMES))
