"""A gradient arrives and is 0 in every element.

What it does
    With `measure`: names variables whose gradient was exactly 0 everywhere on one real batch.

Why it matters
    The step trains them and they do not learn from this batch: that looks like a stale step and is none.

Cause
    Dead ReLUs, a saturated activation, a path that is multiplied by 0 (a zero-initialised gate, LoRA's first step, a
    loss weight or sample weights of 0), a row of an embedding that the batch does not name; or parts of the loss that
    cancel each other out, as the last bias of a WGAN's critic does.

Fix
    Look where the path is 0 if other batches show the same; the first step of a zero-initialised path mends itself.

Example
    keras.layers.Dense(8, activation="relu", bias_initializer=keras.initializers.Constant(-100))
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import write_look
from introspect.rules._groups import of_layers
from introspect.rules._numbers import list_numbers, say_batch, select
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    found = select(facts, "zero gradient")
    if not found:
        return
    indices = [one.index for one in found]
    paths, number = facts.paths_of(indices), len(indices)
    moved = [one for one in found if one.numbers.changed]
    cause = (
        "Somewhere between the variable and the loss a factor is 0 on this batch: dead units, saturation, a weight of 0; or "
        "parts of the loss cancel each other out, as a bias does under a difference of means."
    )
    if moved:
        cause += f" The optimizer moves {len(moved)} of them all the same, by decay or by what its slots hold."
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"The gradient of {count(number, 'variable')}{of_layers(facts, indices)} is 0 in every element{say_batch(facts)}: {name_some(paths)}; "
            f"the step updates {agree(number, 'it', 'them')}."
        ),
        cause=cause,
        evidence=tuple(_list_zeros(facts)),
        fix=f"{write_look(facts, 'another_batch')}  # if it stays 0, look at the activations of the layer",
    )


def _list_zeros(facts: Facts) -> Iterator[EvidenceStep]:
    """Matrices of the step that are 0 throughout and get a gradient: what stands before them gets none of it."""
    named = facts.capture.variables
    for one in list_numbers(facts):
        matrix = len(named[one.index].shape) > 1
        if matrix and one.numbers.weight_norm == 0 and one.numbers.gradient_norm:
            yield EvidenceStep(f"{named[one.index].path} is 0 in every element", layer=named[one.index].layer)


RULE = Rule("INT502", "gradient-zero", "info", "proven", __doc__ or "", check)
