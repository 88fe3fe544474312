"""The step uses another optimizer than `model.optimizer`.

What it does
    Looks in the compiled step for the variables of `model.optimizer` (slots, iterations, learning rate) and finds
    none of them, while the step trains. What a `train_step` of one's own means to use, and which of the other
    optimizers that the model holds, a step tells that is traced now: it uses one of which the compiled step, which
    trains by one that the model does not hold, knows no variable.

Why it matters
    A learning rate set on the new optimizer does nothing; the old one goes on.

Cause
    `model.optimizer = …` (or `model.g_optimizer = …`) was assigned after the step was traced, without compile; or `train_step` is a tf.function of
    one's own, which keeps its trace when the model is compiled again.

Fix
    Give the optimizer to `model.compile(optimizer=…)`; take `@tf.function` from `train_step`.

Example
    model.fit(x, y); model.optimizer = keras.optimizers.SGD(0.5); model.fit(x, y)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from introspect.capture.record import Capture, CapturedOptimizer
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.remedies import OR
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop, write_anew
from introspect.rules._stale import explain_kept, mend_kept, name_kept


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each optimizer of the model's that the step leaves out though it is meant to use it."""
    current, capture = facts.current, facts.capture
    if current is None:
        return
    mine = next((optimizer for optimizer in capture.optimizers if optimizer.current), None)
    kept = _name_kept(facts, current)
    if mine is not None and _is_stale(facts, current, mine, kept):
        yield _report(facts, current, mine, kept)
    else:
        yield from (_report(facts, current, idle, None) for idle in find_idle(facts) if _uses_anew(capture, idle))


def _is_stale(facts: Facts, current: TraceEvidence, mine: CapturedOptimizer, kept: str | None) -> bool:
    """Whether the trace alone shows that `model.optimizer` is left out though the step means to use it."""
    capture, bound = facts.capture, _list_bound(current)
    own = {index for optimizer in capture.optimizers if optimizer.current for index in optimizer.variables}
    if not own or is_own_loop(current):
        return False
    if kept is not None:
        return _uses_old_alone(capture, bound) and not _is_default(mine)
    compiled = current.trace.source == "compiled"
    return compiled and not capture.model.custom_train_step and _misses(facts, own, bound)


def _list_bound(current: TraceEvidence) -> set[int]:
    """Variables that the trace takes."""
    return {binding.variable for binding in current.trace.bindings}


def find_idle(facts: Facts) -> list[CapturedOptimizer]:
    """Optimizers that the model holds and its compiled step does not use, while that uses others than the model holds.

    A whole in place of its parts. Whether the step means to use them only a new one tells; that Keras' own means to use
    `model.optimizer` is known.
    """
    current, capture = facts.current, facts.capture
    if current is None or current.trace.source != "compiled":
        return []
    held = [optimizer for optimizer in capture.optimizers if optimizer.attribute]
    own = {index for optimizer in held for index in optimizer.variables}
    bound = _list_bound(current)
    others = any(capture.variables[index].role in ("untracked", "optimizer") for index in bound - own)
    if not held or not others or _name_kept(facts, current) is not None:
        return []
    asked = (one for one in held if capture.model.custom_train_step or one.attribute != "optimizer")
    idle = [one for one in asked if not _is_default(one) and bound.isdisjoint(_list_whole(held, one))]
    return [one for one in idle if not any(_is_part(one, other) for other in idle)]


def _list_whole(held: Sequence[CapturedOptimizer], whole: CapturedOptimizer) -> set[int]:
    """Variables of an optimizer and of those that it holds."""
    return {index for one in held if one is whole or _is_part(one, whole) for index in one.variables}


def _is_part(part: CapturedOptimizer, whole: CapturedOptimizer) -> bool:
    return part.attribute.startswith((f"{whole.attribute}.", f"{whole.attribute}["))


def _uses_anew(capture: Capture, optimizer: CapturedOptimizer) -> bool:
    """Whether a step that is traced now uses it, or one that it holds."""
    own = optimizer.attribute
    return any(name == own or name.startswith((f"{own}.", f"{own}[")) for name in capture.used_anew)


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


def _report(facts: Facts, current: TraceEvidence, mine: CapturedOptimizer, kept: str | None) -> Finding:
    loop = is_own_loop(current)
    held = mine.attribute if loop else f"model.{mine.attribute or 'optimizer'}"
    if kept is None:
        cause = f"{held} was assigned after the step was traced, and the step keeps the one that it was traced with."
        fix = write_anew(facts)
        if held == "model.optimizer":
            fix += f"\n{OR}to go on with this very object:\nmodel.compile(optimizer=model.optimizer, loss=..., metrics=...)"
    else:
        cause, fix = explain_kept(kept, "model was compiled with this one"), mend_kept(kept)
    return RULE.finding(
        variables=(),
        layers=(),
        message=f"The step goes on with an older optimizer: it does not use {held} ({mine.class_name} {mine.name!r}).",
        cause=f"{cause} A learning rate set on the new one does nothing.",
        fix=fix,
        evidence=(EvidenceStep(note=f"{current.trace.id} binds no variable of {mine.name!r}", trace=current.trace.id),),
    )


RULE = Rule("INT203", "stale-optimizer", "error", "proven", __doc__ or "", check)
