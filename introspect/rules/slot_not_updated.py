"""A variable trains and a slot that its optimizer keeps for it stands still.

What it does
    Names slots (momentum, velocity, …) of trained variables of which the current trace writes none.

Why it matters
    The variable is moved by something else than this optimizer, or by an older one with slots of its own.

Cause
    A train step that assigns by hand, or two optimizers that hold the same variable.

Fix
    Let one optimizer apply each variable's gradient.

Example
    w.assign_sub(0.1 * grad)       # while model.optimizer is a built Adam
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._groups import of_layers
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current = facts.current
    if current is None:
        return
    still, owner = [], "the optimizer"
    for optimizer in facts.capture.optimizers:
        moved = {slot.variable for slot in optimizer.slots if current.writes.get(slot.slot)}
        if not moved:
            continue  # none of its slots moves: it is not the one in use
        # Adafactor keeps slots that it uses for matrices alone: one that moves tells that it trains the variable.
        found = [s for s in optimizer.slots if current.updates(s.variable) and s.variable not in moved]
        owner = f"optimizer {optimizer.name!r}" if found else owner
        still += found
    if not still:
        return
    variables = list(dict.fromkeys(slot.variable for slot in still))
    paths = facts.paths_of(variables)
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(variables),
        message=(
            f"{count(len(variables), 'variable')}{of_layers(facts, variables)} {agree(len(variables), 'trains', 'train')}, and "
            f"{count(len(still), 'slot')} that {owner} keeps for {agree(len(variables), 'it', 'them')} "
            f"{agree(len(still), 'stands', 'stand')} still: {name_some(paths)}."
        ),
        cause=f"The step trains {agree(len(variables), 'it', 'them')} by something else: an assign by hand, or another optimizer.",
        fix="# let one optimizer apply each variable's gradient:\nself.optimizer.apply_gradients(zip(gradients, variables))",
        evidence=tuple(EvidenceStep(note=f"{facts.capture.variables[s.slot].path} ({s.name})") for s in still[:3]),
    )


RULE = Rule("INT204", "slot-not-updated", "info", "proven", __doc__ or "", check)
