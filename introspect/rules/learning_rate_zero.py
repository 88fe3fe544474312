"""The optimizer's learning rate is 0, so that what it writes changes nothing.

What it does
    Names variables that the step updates by an optimizer whose learning rate is 0; with `measure`, also those to which a
    schedule adds exactly nothing at this step.

Why it matters
    The weights stand still like those of a stale step, and no compile mends it.

Cause
    A schedule that starts or ends at 0, a callback that set the rate, a MultiOptimizer's part with the rate 0.

Fix
    Set the rate; where a schedule gives it, wait, or compile with another.

Example
    keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(1e-3, 1000, 0.0))      # after step 1000
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from introspect.capture.record import CapturedOptimizer
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._code import write_anew, write_held
from introspect.rules._groups import of_layers
from introspect.rules._numbers import by_optimizer, select
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each optimizer."""
    current = facts.current
    if current is None:
        return
    told: set[int] = set()
    for optimizer in facts.capture.optimizers:
        still = [index for index in optimizer.tracks if index not in told and current.updates(index)]
        if optimizer.learning_rate == 0 and still:
            told.update(still)
            yield _report(facts, current, optimizer, still, "its learning rate is 0")
    left = [one for one in select(facts, "rate is zero") if one.index not in told]
    for found, group in by_optimizer(left):
        if found is not None and isinstance(found.learning_rate, str):
            step = "" if facts.capture.step is None else f" at step {facts.capture.step}"
            reason = f"its schedule ({found.learning_rate}) gives 0{step}"
            yield _report(facts, current, found, [one.index for one in group], reason)


def _report(
    facts: Facts, current: TraceEvidence, optimizer: CapturedOptimizer, still: Sequence[int], reason: str
) -> Finding:
    paths = facts.paths_of(still)
    # One that the step goes on with though another took its place (INT203).
    old = not (optimizer.attribute or optimizer.current) and any(one.attribute for one in facts.capture.optimizers)
    number = len(still)
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(still),
        message=(
            f"{count(number, 'variable')}{of_layers(facts, still)} {agree(number, 'gets its', 'get their')} gradient and "
            f"{agree(number, 'stands', 'stand')} still: {name_some(paths)}."
        ),
        cause=f"Optimizer {optimizer.name} writes {agree(number, 'it', 'them')}, and {reason}{'' if old else '; the step is not stale'}.",
        fix=write_anew(facts) if old else _write_rate(current, optimizer),
    )


def _write_rate(current: TraceEvidence, optimizer: CapturedOptimizer) -> str:
    if isinstance(optimizer.learning_rate, str):
        return _SCHEDULE
    return f"{write_held(current, optimizer)}.learning_rate = 1e-3"


_SCHEDULE = "# wait, if it warms up; else compile with another schedule: Keras lets nobody set the rate that one gives"

RULE = Rule("INT501", "learning-rate-zero", "info", "proven", __doc__ or "", check)
