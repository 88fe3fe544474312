"""Placement and measurement of the current step of a reading; both are kept for as long as the trace lives."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from introspect.capture.assembly import Reading
from introspect.capture.measurement.feeding import feed_step, flatten_call
from introspect.capture.measurement.known import KNOWN, Known
from introspect.capture.measurement.measure import LiveStep, Measurer, require_one_process, run_for_placement
from introspect.capture.record import Capture, CapturedTrace, StepPlan
from introspect.capture.trace.batch import take_batch
from introspect.capture.trace.followed import list_valued
from introspect.capture.trace.guard import save_random
from introspect.capture.variables import VariableTable
from introspect.errors import DataError, IntrospectError


@dataclass(frozen=True)
class Feed:
    """What a step is run on."""

    data: Any = None
    """As `fit` takes it."""
    args: tuple[Any, ...] | None = None
    """Of a tf.function of the user's; values, or TensorSpecs for which values are made up."""
    kwargs: dict[str, Any] | None = None
    batch_size: int | None = None


Planner = Callable[[Capture, CapturedTrace], StepPlan]
"""Makes the plan of a measurement from the evidence of a trace."""


def run_step(reading: Reading, table: VariableTable, capture: Capture, plan: Planner, feed: Feed) -> Capture:
    """The capture with the current trace's placement and measure; with a warning instead where they cannot be had."""
    trace = next((trace for trace in capture.traces if trace.current), None)
    if trace is None:
        return capture
    restores = save_random()
    try:
        return measure_trace(reading, table, capture, trace, plan(capture, trace), feed)
    except IntrospectError as error:
        return replace(capture, warnings=(*capture.warnings, str(error)))
    finally:
        for restore in restores:
            restore()


def measure_trace(
    reading: Reading, table: VariableTable, capture: Capture, trace: CapturedTrace, plan: StepPlan, feed: Feed
) -> Capture:
    """Run the step twice on copies: as it is, for the placement, once in its life; then with readers, for the numbers.

    Raises:
        IntrospectError: it cannot be run on copies, or not on this batch.
    """
    if capture.failure is not None and not capture.failure.at_end:
        raise DataError("the next step fails, so there is none to measure; mend it first")
    strategy = getattr(reading.model, "distribute_strategy", None)
    steps = vars(reading.model).get("_steps_per_execution") if reading.model is not None else None
    live = LiveStep(reading.current, trace, table, strategy, steps)
    require_one_process(live)
    known = KNOWN.setdefault(reading.current, Known())
    if known.placement is None:
        inputs, _ = feed_live(reading, live, feed)
        known.placement = run_for_placement(live, inputs, plan.written)
    inputs, given = feed_live(reading, live, feed)
    measure = prepare(known, live, plan).measure(live, inputs, given)
    others = tuple(placement for placement in capture.placements if placement.trace != trace.id)
    own = () if known.placement is None else (replace(known.placement, trace=trace.id),)
    return replace(
        capture,
        measure=measure,
        placements=(*others, *own),
        timings=(*capture.timings, ("measure", measure.seconds)),
    )


def prepare(known: Known, live: LiveStep, plan: StepPlan) -> Measurer:
    """The measurer of a trace, made anew where the plan is another one."""
    if known.measurer is None or known.measurer.plan != plan:
        if known.measurer is not None:
            known.measurer.close()
        known.measurer = measurer = Measurer(live, plan)
        weakref.finalize(live.concrete, measurer.close)
    return known.measurer


def feed_live(reading: Reading, live: LiveStep, feed: Feed) -> tuple[list[Any], bool]:
    """Flat inputs for one step, and whether they are of a batch that the user gave.

    Raises:
        DataError: the data cannot be looked at, or does not fit.
    """
    if feed.args is not None:
        args, kwargs = feed.args, feed.kwargs or {}
        return feed_arguments(
            live.concrete, *((tuple(list_valued(args, kwargs)), {}) if reading.apart else (args, kwargs))
        )
    batch = None if feed.data is None else take_batch(reading.model, feed.data, reading.keras, feed.batch_size)
    return feed_step(live.concrete, live.strategy, batch), batch is not None


def feed_arguments(concrete: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], bool]:
    """Inputs of a call as the user's loop makes it; values for the specs among them are made up."""
    import tensorflow as tf

    from introspect.capture.trace.batch import invent_batch

    parts = tf.nest.flatten((args, kwargs))
    if any("Iterator" in type(part).__name__ for part in parts):
        raise DataError("an iterator among args would move on; pass args with a batch instead")
    specs = [isinstance(part, tf.TypeSpec) for part in parts]
    values = [invent_batch(part) if spec else part for part, spec in zip(parts, specs, strict=True)]
    called_args, called_kwargs = tf.nest.pack_sequence_as((args, kwargs), values)
    return flatten_call(concrete, called_args, called_kwargs), not any(specs)
