"""A gradient holds infinities or NaNs.

What it does
    With `measure`: names variables whose gradient is not finite on one real batch.

Why it matters
    Without loss scaling the weights turn to NaN. With it the whole step is skipped, as it should be, and the scale is
    lowered: if that goes on, nothing trains.

Cause
    An overflow in float16, a logarithm or division by 0, a square root at 0, bad data.

Fix
    Under loss scaling nothing, if it happens now and then. Else find the op: `tf.debugging.enable_check_numerics()`.

Example
    loss = tf.reduce_mean(tf.math.log(prediction))      # prediction reaches 0
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._groups import of_layers
from introspect.rules._numbers import Numbers, say_batch, select
from introspect.rules._wording import count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    found = select(facts, "not finite")
    if not found:
        return
    indices = [one.index for one in found]
    paths = facts.paths_of(indices)
    skipped = all(_skips(facts, one) for one in found)
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"The gradient of {count(len(paths), 'variable')}{of_layers(facts, indices)} is not finite{say_batch(facts)}: "
            f"{name_some(paths)}."
        ),
        cause=_tell_skip(facts)
        if skipped
        else "The forward or the backward pass overflows or divides by 0 on this batch.",
        fix="Nothing, if it happens now and then."
        if skipped
        else "tf.debugging.enable_check_numerics()  # names the op",
    )


def _skips(facts: Facts, one: Numbers) -> bool:
    measure = facts.capture.measure
    scaled = measure is not None and measure.loss_scale is not None
    return scaled and one.conditional and not one.numbers.changed


def _tell_skip(facts: Facts) -> str:
    measure = facts.capture.measure
    scale = "" if measure is None or measure.loss_scale is None else f" of {measure.loss_scale:g}"
    return f"The loss scale{scale} is too large for this batch: the optimizer skips the step and lowers it."


RULE = Rule("INT504", "gradient-not-finite", "info", "proven", __doc__ or "", check)
