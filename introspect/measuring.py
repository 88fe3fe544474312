"""`measure=True`: what the evidence says of a step decides where the numbers are taken."""

from __future__ import annotations

from typing import Any

from introspect.capture.assembly import Observer, Reading
from introspect.capture.record import Capture, CapturedTrace, StepPlan
from introspect.capture.variables import VariableTable
from introspect.evidence.collect import collect_trace
from introspect.evidence.points import plan_step


def observe_step(
    data: Any = None,
    *,
    args: tuple[Any, ...] | None = None,
    kwargs: dict[str, Any] | None = None,
    batch_size: int | None = None,
) -> Observer:
    """What `capture_model` and `capture_function` take as `observe` to run one step on copies.

    Args:
        data: as `fit` takes it; without it a batch is made up. Nothing is taken from it.
        args, kwargs: in place of data, what a tf.function of the user's is called with.
        batch_size: as `fit` takes it.
    """
    from introspect.capture.measurement.realstep import Feed, run_step

    feed = Feed(data, args, kwargs, batch_size)

    def observe(reading: Reading, table: VariableTable, capture: Capture) -> Capture:
        return run_step(reading, table, capture, plan_trace, feed)

    return observe


def plan_trace(capture: Capture, trace: CapturedTrace) -> StepPlan:
    """The plan of one trace of a capture."""
    probes = dict(zip((one.id for one in capture.traces), capture.probes, strict=False))
    return plan_step(capture, collect_trace(capture, trace, probes.get(trace.id)))
