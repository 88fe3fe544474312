"""Whether only a step traced now would tell why a trace goes against the flags."""

from __future__ import annotations

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.rules._assigned import may_be_assigned
from introspect.rules._targets import is_averaged_by_step
from introspect.rules.frozen_layer_statistics_updated import ASK_THEIR_FLAG, moves, name_writer
from introspect.rules.untracked_variable import list_untracked


def is_doubtful(facts: Facts) -> bool:
    """Whether an older trace does otherwise than the flags say, and code of the user's may be why as well as their age."""
    current = facts.current
    if current is None:
        return False
    if (facts.flags_of_compile and doubts_calls(facts)) or doubts_gradients(facts, current) or may_be_assigned(facts):
        return True
    own = facts.capture.model.custom_train_step or facts.capture.sets_flags
    if current.trace.source != "compiled" or (facts.flags_of_compile and not own):
        return False
    if any(facts.is_unsure_of_loss(index) for index in list_untracked(facts, current)):
        return True
    if own and (is_loss_unknown(facts, current) or is_cut_off(facts)):
        return True
    left_out = (index for index in facts.left_out if not facts.step_flags([index], frozen=False))
    if any(own or facts.own_optimizer([index]) is not None for index in left_out):
        return True
    trained = (index for index in _list_frozen(facts) if current.updates(index))
    return (own and any(not facts.step_flags([index], frozen=True) for index in trained)) or doubts_calls(facts)


def doubts_loop(facts: Facts) -> bool:
    """The same of a custom loop's step, where the age of its trace alone is in doubt."""
    return may_be_assigned(facts) or doubts_age(facts)


def doubts_age(facts: Facts) -> bool:
    """Whether an older trace of a loop does otherwise than the flags say, for its age, or for what it calls or keeps.

    Among replicas the trace of a trial is not compared.
    """
    current = facts.current
    if current is None or current.trace.source != "compiled" or facts.is_replicated:
        return False
    trained = any(current.updates(index) for index in _list_frozen(facts))
    return bool(facts.left_out) or trained or is_cut_off(facts) or doubts_calls(facts)


def is_loss_unknown(facts: Facts, current: TraceEvidence) -> bool:
    """Whether the step trains nothing, and so shows nothing of what it differentiates."""
    asked = facts.capture.asked
    if (asked is not None and asked.targets) or current.trains:
        return False
    return any(facts.way_to_loss(index).kind == "unused" for index in facts.without_gradient)


def is_cut_off(facts: Facts) -> bool:
    """Whether every way to the loss is cut for a variable: the step may not ask for its gradient either."""
    return any(facts.way_to_loss(index).kind == "cut" for index in facts.without_gradient)


def doubts_gradients(facts: Facts, current: TraceEvidence) -> bool:
    """Whether the optimizer of a compiled step knows a variable that gets no gradient: from before, or for another cause."""
    ways = (facts.way_to_loss(index) for index in facts.without_gradient if index in facts.tracked)
    return current.trace.source == "compiled" and any(way.open or way.suspects or not way.touched for way in ways)


def doubts_calls(facts: Facts) -> bool:
    """Whether the call of a layer changes what is frozen, which may not ask a flag at all."""
    current = facts.current
    return current is not None and any(
        _is_changed(facts, current, index) for index in _list_frozen(facts) if not current.updates(index)
    )


def _list_frozen(facts: Facts) -> list[int]:
    return [index for index, variable, row in facts.pairs if variable.role == "model" and not row.expected]


def _is_changed(facts: Facts, current: TraceEvidence, index: int) -> bool:
    if not facts.in_frozen_layer(index) or not moves(facts, current, index):
        return False
    if is_averaged_by_step(facts, current, index):
        return False
    return name_writer(facts, current, index) not in ASK_THEIR_FLAG
