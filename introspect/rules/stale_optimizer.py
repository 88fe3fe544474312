"""The step goes on with an older optimizer, or learning rate, than the model's.

What it does
    Looks in the compiled step for the variables of `model.optimizer` (slots, iterations, learning rate) and finds
    none of them, while the step trains. What a `train_step` of one's own means to use, and which of the other
    optimizers that the model holds, a step tells that is traced now: it uses one of which the compiled step, which
    trains by one that the model does not hold, knows no variable. So with a custom loop's function, and the optimizers
    that it was said to train with or that its closure, its globals and its object lead to; and with a schedule: the
    compiled step takes the rate from a variable in its place.

Why it matters
    A learning rate set on the new optimizer does nothing; the old one goes on.

Cause
    `model.optimizer = …` (`model.g_optimizer = …`, a loop's `optimizer = …`, a schedule as
    `model.optimizer.learning_rate`) was assigned after the step was traced, without compile; or `train_step` is a
    tf.function of one's own, which keeps its trace when the model is compiled again.

Fix
    Give the optimizer to `model.compile(optimizer=…)`; take `@tf.function` from `train_step`; make a loop's tf.function
    anew.

Example
    model.fit(x, y); model.optimizer = keras.optimizers.SGD(0.5); model.fit(x, y)
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.capture.record import Capture, CapturedOptimizer
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.remedies import OR
from introspect.rules._assigned import find_kept_training, is_apart, is_default, list_bound, list_idle, list_kept_rates
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop, write_anew, write_held
from introspect.rules._stale import explain_kept, mend_kept


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each optimizer, and for each schedule, that the step leaves out though it is meant to use it."""
    current, capture = facts.current, facts.capture
    if current is None:
        return
    mine = next((optimizer for optimizer in capture.optimizers if optimizer.current), None)
    kept = find_kept_training(facts, current)
    if mine is not None and _is_stale(facts, current, mine, kept):
        yield _report(facts, current, mine, kept)
    else:
        yield from (_report(facts, current, idle, ()) for idle in list_idle(facts))
        yield from (_report_rate(facts, current, one, index) for one, index in list_kept_rates(facts))


def _is_stale(facts: Facts, current: TraceEvidence, mine: CapturedOptimizer, kept: tuple[str, ...]) -> bool:
    """Whether the trace alone shows that `model.optimizer` is left out though the step means to use it."""
    capture, bound = facts.capture, list_bound(current)
    own = {index for optimizer in capture.optimizers if optimizer.current for index in optimizer.variables}
    if not own or is_own_loop(current):
        return False
    if kept:
        return _uses_old_alone(capture, bound) and not is_default(mine)
    compiled = current.trace.source == "compiled"
    return compiled and not capture.model.custom_train_step and _misses(facts, own, bound)


def _uses_old_alone(capture: Capture, bound: set[int]) -> bool:
    """Whether the step uses an optimizer that the model does not hold, and none that it holds."""
    held = {index for optimizer in capture.optimizers if optimizer.held for index in optimizer.variables}
    old = {index for optimizer in capture.optimizers if not optimizer.held for index in optimizer.variables}
    return bool(bound & old) and not bound & held


def _misses(facts: Facts, own: set[int], bound: set[int]) -> bool:
    """Whether the step trains, and binds nothing of the model's optimizer, with those it holds, but something of another."""
    current = facts.current
    trains = current is not None and any(current.updates(index) for index, _, _ in facts.pairs)
    return trains and not bound & own and any(is_apart(facts.capture, index) for index in bound)


def _report(facts: Facts, current: TraceEvidence, mine: CapturedOptimizer, kept: tuple[str, ...]) -> Finding:
    held = write_held(current, mine)
    if kept:
        cause, fix = explain_kept(current, kept, "model was given this one"), mend_kept(facts, current, kept)
    else:
        cause, fix = _explain(held), _mend(facts, current, held)
    return RULE.finding(
        variables=(),
        layers=(),
        message=f"The step goes on with an older optimizer: it does not use {held} ({mine.class_name} {mine.name!r}).",
        cause=f"{cause} A learning rate set on the new one does nothing.",
        fix=fix,
        evidence=(EvidenceStep(note=f"{current.trace.id} binds no variable of {mine.name!r}", trace=current.trace.id),),
    )


def _report_rate(facts: Facts, current: TraceEvidence, optimizer: CapturedOptimizer, index: int) -> Finding:
    held, path = write_held(current, optimizer), facts.capture.variables[index].path
    return RULE.finding(
        variables=(),
        layers=(),
        message=f"The step goes on with an older learning rate: it does not use the {optimizer.learning_rate} of {held}.",
        cause=_explain(f"{held}.learning_rate"),
        fix=write_anew(facts),
        evidence=(
            EvidenceStep(note=f"{current.trace.id} takes the rate from variable {path!r}", trace=current.trace.id),
        ),
    )


def _explain(held: str) -> str:
    return f"{held} was assigned after the step was traced, and the step keeps the one that it was traced with."


def _mend(facts: Facts, current: TraceEvidence, held: str) -> str:
    fix = write_anew(facts)
    if held != "model.optimizer" or is_own_loop(current):
        return fix
    return (
        f"{fix}\n{OR}to go on with this very object:\nmodel.compile(optimizer=model.optimizer, loss=..., metrics=...)"
    )


RULE = Rule("INT203", "stale-optimizer", "error", "proven", __doc__ or "", check)
