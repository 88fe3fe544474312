"""An update is too small for the variable's dtype: adding it changes no element.

What it does
    With `measure`: names variables to which the step adds something that is not 0, and of which no element changes.

Why it matters
    The weights stand still though gradient, learning rate and step are all right.

Cause
    float16 and bfloat16 weights hold three or two decimal digits: an update below a thousandth (a hundredth) of a weight
    is lost. A learning rate of 1e-9 does the same to float32.

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
    """At most one finding."""
    found = select(facts, "not resolved")
    if not found:
        return
    indices = [one.index for one in found]
    paths, number = facts.paths_of(indices), len(indices)
    dtypes = sorted({facts.capture.variables[index].dtype for index in indices})
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"The update of {count(number, 'variable')}{of_layers(facts, indices)} changes no element{say_batch(facts)}: "
            f"{name_some(paths)}."
        ),
        cause=(
            f"What the step adds is smaller than {join(dtypes)} resolves at the size of these weights; "
            f"{agree(number, 'it is', 'they are')} updated, the step is not stale."
        ),
        fix=_RAISE if set(dtypes) <= {"float32", "float64"} else f"{_KEEP}, or {_RAISE}",
        evidence=tuple(_show(facts, one) for one in found[:3]),
    )


def _show(facts: Facts, one: Numbers) -> EvidenceStep:
    variable = facts.capture.variables[one.index]
    added = "" if one.asked is None else f"a change of norm {one.asked:.3g} is added to "
    weights = "" if one.numbers.weight_norm is None else f" of norm {one.numbers.weight_norm:.3g}"
    return EvidenceStep(note=f"{variable.path}: {added}{variable.dtype} weights{weights}", layer=variable.layer)


_KEEP = 'keep the weights in float32 (dtype policy "mixed_bfloat16" or "mixed_float16")'
_RAISE = "raise the learning rate, or start with smaller weights"

RULE = Rule("INT503", "update-not-resolved", "info", "proven", __doc__ or "", check)
