"""A variable and its optimizer's slots live on different devices.

What it does
    With an executed graph (`measure`, or the callback): names variables whose slots (momentum, velocity, …) were written
    on another device than the variable lives on.

Why it matters
    Each update crosses between the devices, and the slots' memory is not where one looks for it.

Cause
    Keras makes the slots in the train step, where TensorFlow's default is the GPU, whatever device the variable was
    placed on by hand.

Fix
    Build the layer where it is to run, or build the optimizer under the same `tf.device`.

Example
    with tf.device("/CPU:0"):
        layer.build((None, 1024))      # Adam's slots go to GPU:0
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.devices import shorten_device
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding, SlotReport, VariableReport
from introspect.rules._base import Rule
from introspect.rules._placing import list_spreads
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    found = [(s.index, s.row, slot) for s in list_spreads(facts) for slot in s.row.slots if _is_away(s.row, slot)]
    if not found:
        return
    indices = list(dict.fromkeys(index for index, _, _ in found))
    paths, number = facts.paths_of(indices), len(found)
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"{count(number, 'slot')} of {count(len(indices), 'variable')} {agree(number, 'is', 'are')} not where "
            f"{agree(len(indices), 'it lives', 'these live')}: {name_some(paths)}."
        ),
        cause=_tell(found[0][1], found[0][2]),
        fix="build the layer on the device that computes, or model.optimizer.build(variables) under the same tf.device",
        evidence=tuple(
            EvidenceStep(note=f"the {slot.name} of {row.path} is written", device=slot.placed)
            for _, row, slot in found[:3]
        ),
    )


def _is_away(row: VariableReport, slot: SlotReport) -> bool:
    home = row.replicas[0] if row.replicas else row.device
    return slot.placed is not None and home is not None and slot.placed != home


def _tell(row: VariableReport, slot: SlotReport) -> str:
    return (
        f"{row.path} lives on {shorten_device(row.device or '')}, and its {slot.name} is written on "
        f"{shorten_device(slot.placed or '')}."
    )


RULE = Rule("INT602", "slot-on-other-device", "info", "proven", __doc__ or "", check)
