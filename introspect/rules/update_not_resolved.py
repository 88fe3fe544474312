"""An update is too small for the variable's dtype: adding it changes no element.

What it does
    With `measure`: names variables of which no element changes, though neither gradient nor learning rate is 0: what the
    step adds is lost, or is 0 itself.

Why it matters
    The weights stand still though gradient, learning rate and step are all right.

Cause
    float16 and bfloat16 weights hold three or two decimal digits: an update below a thousandth (a hundredth) of a weight
    is lost. A learning rate of 1e-9 does the same to float32. Or an optimizer of one's own multiplies by 0.

Fix
    Keep the weights in float32 (`mixed_bfloat16` instead of `bfloat16`), or raise the learning rate.
    Where they are float32 already: raise it, or start with smaller weights.

Example
    keras.config.set_dtype_policy("bfloat16")      # weights too; "mixed_bfloat16" keeps them in float32
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._groups import of_layers
from introspect.rules._numbers import Numbers, say_batch, select
from introspect.rules._wording import agree, count, join, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding of what is lost, and one of what is 0."""
    found = select(facts, "not resolved")
    for none in (False, True):
        chosen = [one for one in found if (one.asked == 0) == none]
        if chosen:
            yield _report(facts, chosen, none)


def _report(facts: Facts, found: list[Numbers], none: bool) -> Finding:
    """`none`: whether what the step adds is 0."""
    indices = [one.index for one in found]
    paths, number = facts.paths_of(indices), len(indices)
    dtypes = sorted({facts.capture.variables[index].dtype for index in indices})
    told = f"What the step adds is smaller than {join(dtypes)} resolves at the size of these weights"
    fix = _RAISE if set(dtypes) <= {"float32", "float64"} else f"{_KEEP}, or {_RAISE}"
    if none:
        told, fix = f"What the step adds is 0 in every element, though the gradient is not: {_TIMES_ZERO}", _LOOK
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"The update of {count(number, 'variable')}{of_layers(facts, indices)} changes no element{say_batch(facts)}: "
            f"{name_some(paths)}."
        ),
        cause=f"{told}; {agree(number, 'it is', 'they are')} updated, the step is not stale.",
        fix=fix,
        evidence=tuple(_show(facts, one) for one in found[:3]),
    )


def _show(facts: Facts, one: Numbers) -> EvidenceStep:
    variable = facts.capture.variables[one.index]
    added = "" if one.asked is None else f"a change of norm {one.asked:.3g} is added to "
    weights = "" if one.numbers.weight_norm is None else f" of norm {one.numbers.weight_norm:.3g}"
    return EvidenceStep(note=f"{variable.path}: {added}{variable.dtype} weights{weights}", layer=variable.layer)


_KEEP = 'keep the weights in float32 (dtype policy "mixed_bfloat16" or "mixed_float16")'
_TIMES_ZERO = (
    "the optimizer, or a train_step of your own, multiplies by 0 (a mask, a multiplier of this layer's learning rate), or by "
    "so little that nothing is left"
)
_LOOK = "look for that factor; or, where the layer is not to train, freeze it and compile again"
_RAISE = "raise the learning rate, or start with smaller weights"

RULE = Rule("INT503", "update-not-resolved", "info", "proven", __doc__ or "", check)
