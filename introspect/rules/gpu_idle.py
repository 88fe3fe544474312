"""A GPU is visible, and the whole step's updates ran on the host.

What it does
    With an executed graph (`measure`, or the callback): says so where every update ran on a CPU though TensorFlow sees an
    accelerator, and whether at least the gradients are computed there.

Why it matters
    "Why is it slow": the model was put on the host, and the device waits.

Cause
    `tf.device("/CPU:0")` around the model or around `fit`, a strategy over CPU devices.

Fix
    Leave `tf.device` out, or give the strategy the accelerators.

Example
    with tf.device("/CPU:0"):
        model = build_model()
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.devices import is_accelerator, is_host, shorten_device
from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._placing import Spread, list_spreads
from introspect.rules._wording import agree, count, join


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    idle = [device for device in facts.capture.environment.devices if is_accelerator(device)]
    spreads = list(list_spreads(facts)) if idle else []
    updates = [spread.update for spread in spreads if spread.update is not None]
    if not updates or not all(is_host(device) for device in updates):
        return
    indices = [spread.index for spread in spreads]
    number = len(indices)
    yield RULE.finding(
        variables=facts.paths_of(indices),
        layers=facts.layers_of(indices),
        message=(
            f"{join([shorten_device(device) for device in idle])} {agree(len(idle), 'is', 'are')} visible, and "
            f"{agree(number, 'the update', 'all updates')} of {count(number, 'variable')} {agree(number, 'runs', 'run')} "
            f"on {join(sorted(map(shorten_device, set(updates))))}."
        ),
        cause=_tell(spreads),
        fix='leave tf.device("/CPU:0") out where the model is built, or give the strategy the accelerators',
    )


def _tell(spreads: list[Spread]) -> str:
    away = [spread for spread in spreads if is_accelerator(spread.gradient)]
    if not away:
        return "The variables were placed on the host, and all that uses them follows: the accelerator waits."
    return (
        "The variables were placed on the host; the accelerator computes the gradients of "
        f"{count(len(away), 'variable')} and sends them back."
    )


RULE = Rule("INT603", "gpu-idle", "info", "proven", __doc__ or "", check)
