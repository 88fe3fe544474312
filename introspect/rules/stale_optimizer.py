"""The step uses another optimizer than `model.optimizer`.

What it does
    Looks in the compiled step for the variables of `model.optimizer` (slots, iterations, learning rate) and finds
    none of them, while the step trains.

Why it matters
    A learning rate set on the new optimizer does nothing; the old one goes on.

Cause
    `model.optimizer = …` was assigned after the step was traced, without compile.

Fix
    Give the optimizer to `model.compile(optimizer=…)`.

Example
    model.fit(x, y); model.optimizer = keras.optimizers.SGD(0.5); model.fit(x, y)
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current, capture = facts.current, facts.capture
    if current is None or current.trace.source != "compiled" or capture.model.custom_train_step:
        return
    mine = next((optimizer for optimizer in capture.optimizers if optimizer.current), None)
    if mine is None or not mine.variables or current.trace.caller not in ("fit", "train_on_batch"):
        return
    bound = {binding.variable for binding in current.trace.bindings}
    trains = any(current.updates(index) for index, _, _ in facts.pairs())
    if not trains or bound.intersection(mine.variables):
        return
    if not any(capture.variables[index].role in ("untracked", "optimizer") for index in bound):
        return
    yield Finding(
        rule=RULE.id,
        name=RULE.name,
        severity="error",
        certainty="proven",
        variables=(),
        layers=(),
        message=f"The step goes on with an older optimizer: it does not use model.optimizer ({mine.class_name} {mine.name!r}).",
        cause=(
            "model.optimizer was assigned after the step was traced, and the step keeps the one that it was traced with. A "
            "learning rate set on the new one does nothing."
        ),
        fix="model.compile(optimizer=model.optimizer, loss=..., metrics=...)",
        evidence=(EvidenceStep(note=f"{current.trace.id} binds no variable of {mine.name!r}", trace=current.trace.id),),
    )


RULE = Rule("INT203", "stale-optimizer", "error", "proven", __doc__ or "", check)
