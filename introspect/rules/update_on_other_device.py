"""A variable, its gradient and its update are not on one device.

What it does
    With an executed graph (`measure`, or the callback): names variables whose value, gradient and update ran on several
    devices, and how many bytes cross between them at each step.

Why it matters
    Each crossing waits for the one before it. A layer that was built on the CPU trains correctly and slowly.

Cause
    The layer was built under `tf.device("/CPU:0")` (or by hand, outside of the strategy): its variables live there, and
    TensorFlow puts ops without a device on the GPU.

Fix
    Build the layer where it is to run.

Example
    with tf.device("/CPU:0"):
        layer.build((None, 1024))
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.devices import shorten_device
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._placing import Spread, count_bytes, list_spreads
from introspect.rules._wording import agree, count, join, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    found = [spread for spread in list_spreads(facts) if len(spread.devices) > 1]
    if not found:
        return
    indices = [spread.index for spread in found]
    paths, number = facts.paths_of(indices), len(indices)
    crossing = count_bytes(facts, indices)
    devices = join([shorten_device(d) for d in dict.fromkeys(d for spread in found for d in spread.devices)])
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"{count(number, 'variable')} {agree(number, 'is', 'are')} not trained on one device but on {devices}: "
            f"{name_some(paths)}; {count(crossing, 'byte')} {agree(crossing, 'crosses', 'cross')} at each step."
        ),
        cause=_tell(found[0]),
        fix="build the layer on the device that computes: leave tf.device out, or name the same one for build and call",
        evidence=tuple(_show(spread) for spread in found[:3]),
    )


def _tell(spread: Spread) -> str:
    lives = "" if spread.home is None else f"{spread.row.path} lives on {shorten_device(spread.home)}"
    runs = "" if spread.gradient is None else f", its gradient is computed on {shorten_device(spread.gradient)}"
    update = "" if spread.update is None else f", and its update runs on {shorten_device(spread.update)}"
    return f"{lives}{runs}{update}."


def _show(spread: Spread) -> EvidenceStep:
    write = next((w for w in spread.row.writes if w.kind == "gradient"), None)
    return EvidenceStep(
        note=f"the update of {spread.row.path}",
        op=None if write is None else write.op,
        op_type=None if write is None else write.op_type,
        device=spread.update,
        layer=spread.row.layer,
        trace=None if write is None else write.trace,
    )


RULE = Rule("INT601", "update-on-other-device", "info", "proven", __doc__ or "", check)
