"""The step computes gradients and does not apply them this time.

What it does
    With `measure`: names variables whose update stands in a branch that one real step did not take, or is undone by
    another write of the same step.

Why it matters
    The weights stand still at this step and move at another: that is no stale step.

Cause
    Gradients are accumulated and the update is not due yet; a loss scale skipped the step because some gradient is not
    finite; a `tf.cond` of the train step's own; a `kernel_constraint` that the new value would break in every element.

Fix
    None is needed where it is meant.

Example
    keras.optimizers.Adam(gradient_accumulation_steps=8)      # seven steps out of eight
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.capture.record import CapturedOptimizer
from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._groups import of_layers
from introspect.rules._numbers import Numbers, by_optimizer, list_numbers, say_batch, select, setting_of
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each optimizer, and one for what other writes put back."""
    for optimizer, group in by_optimizer(select(facts, "held back")):
        yield _report(facts, group, "was held back", _tell(facts, optimizer, group))
    undone = select(facts, "put back")
    if undone:
        yield _report(facts, undone, "was undone", _tell_undone(facts, undone))


def _tell_undone(facts: Facts, group: list[Numbers]) -> str:
    writes = [fact for one in group if facts.current is not None for fact in facts.current.overwrites(one.index)]
    constrained = all(fact.kind == "constraint" for fact in writes)
    by = "A constraint, which the step applies behind the update," if constrained else "Another write of the same step"
    return f"{by} leaves every element as it was."


def _report(facts: Facts, group: list[Numbers], how: str, cause: str) -> Finding:
    indices = [one.index for one in group]
    paths, number = facts.paths_of(indices), len(indices)
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"The update of {count(number, 'variable')}{of_layers(facts, indices)} {how} in the measured step"
            f"{say_batch(facts)}: "
            f"{name_some(paths)}; {agree(number, 'its', 'their')} gradients are there."
        ),
        cause=cause,
        fix="Nothing, where this is meant.",
    )


def _tell(facts: Facts, optimizer: CapturedOptimizer | None, group: list[Numbers]) -> str:
    scaled = facts.capture.measure is not None and facts.capture.measure.loss_scale is not None
    if scaled and any(one.numbers.finite is False for one in list_numbers(facts)):
        return "Some gradient is not finite, so the loss scale skips the whole step."
    steps = setting_of(optimizer, "gradient_accumulation_steps")
    if steps is not None:
        done = "" if facts.capture.step is None else f"; {facts.capture.step % int(steps)} of {steps} are in"
        return f"The optimizer adds up the gradients of {steps} steps before it updates{done}."
    return "The update stands in a branch that this step did not take."


RULE = Rule("INT505", "update-held-back", "info", "proven", __doc__ or "", check)
