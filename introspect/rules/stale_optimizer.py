"""The step uses another optimizer than `model.optimizer`.

What it does
    Looks in the compiled step for the variables of `model.optimizer` (slots, iterations, learning rate) and finds
    none of them, while the step trains.

Why it matters
    A learning rate set on the new optimizer does nothing; the old one goes on.

Cause
    `model.optimizer = …` was assigned after the step was traced, without compile; or `train_step` is a tf.function of
    one's own, which keeps its trace when the model is compiled again.

Fix
    Give the optimizer to `model.compile(optimizer=…)`; take `@tf.function` from `train_step`.

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
from introspect.rules._base import Rule
from introspect.rules._code import OWN_CALLERS
from introspect.rules._stale import explain_kept, mend_kept, name_kept


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current, capture = facts.current, facts.capture
    mine = next((optimizer for optimizer in capture.optimizers if optimizer.current), None)
    own = {index for optimizer in capture.optimizers if optimizer.current for index in optimizer.variables}
    if current is None or mine is None or not own or current.trace.caller not in OWN_CALLERS:
        return
    kept = _name_kept(facts, current)
    bound = {binding.variable for binding in current.trace.bindings}
    if kept is not None:
        stale = _uses_old_alone(capture, bound) and not _is_default(mine)
    else:
        stale = (
            current.trace.source == "compiled" and not capture.model.custom_train_step and _misses(facts, own, bound)
        )
    if stale:
        yield _report(current, mine, kept)


def _name_kept(facts: Facts, current: TraceEvidence) -> str | None:
    """The tf.function of the user's in whose older trace all training stands."""
    return name_kept(current, [write.node for index, _, _ in facts.pairs for write in current.gradient_writes(index)])


def _uses_old_alone(capture: Capture, bound: set[int]) -> bool:
    """Whether the step uses an optimizer that the model does not hold, and none that it holds."""
    held = {index for optimizer in capture.optimizers if optimizer.held for index in optimizer.variables}
    old = {index for optimizer in capture.optimizers if not optimizer.held for index in optimizer.variables}
    return bool(bound & old) and not bound & held


def _is_default(mine: CapturedOptimizer) -> bool:
    """Whether it looks as if `compile()` was given none: a step with optimizers of its own then means to use those."""
    return mine.class_name == "RMSprop" and not mine.built


def _misses(facts: Facts, own: set[int], bound: set[int]) -> bool:
    """Whether the step trains, and binds nothing of the model's optimizer, with those it holds, but something of another."""
    current = facts.current
    trains = current is not None and any(current.updates(index) for index, _, _ in facts.pairs)
    if not trains or bound & own:
        return False
    return any(facts.capture.variables[index].role in ("untracked", "optimizer") for index in bound)


def _report(current: TraceEvidence, mine: CapturedOptimizer, kept: str | None) -> Finding:
    if kept is None:
        cause = "model.optimizer was assigned after the step was traced, and the step keeps the one that it was traced with."
        fix = (
            f"introspect.recompile(model)\n{OR}to go on with this very object:\n"
            "model.compile(optimizer=model.optimizer, loss=..., metrics=...)"
        )
    else:
        cause, fix = explain_kept(kept, "model was compiled with this one"), mend_kept(kept)
    return RULE.finding(
        variables=(),
        layers=(),
        message=f"The step goes on with an older optimizer: it does not use model.optimizer ({mine.class_name} {mine.name!r}).",
        cause=f"{cause} A learning rate set on the new one does nothing.",
        fix=fix,
        evidence=(EvidenceStep(note=f"{current.trace.id} binds no variable of {mine.name!r}", trace=current.trace.id),),
    )


RULE = Rule("INT203", "stale-optimizer", "error", "proven", __doc__ or "", check)
