"""Two traces of one step train different variables.

What it does
    Compares all concrete functions that the step can still use, and names the variables that some train and some do
    not, against the flags.

Why it matters
    Which variables train then depends on the batch: its size, its dtype, whether it has weights.

Cause
    A flag changed between two traces. Each trace keeps the flags that it was traced with.

Fix
    Compile again after the flags are set: that drops all old traces.

Example
    model.train_on_batch(x8, y8)
    model.get_layer("hid").trainable = False
    model.train_on_batch(x4, y4)        # traced anew, frozen
    model.train_on_batch(x8, y8)        # the old trace: trains the frozen layer
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding, Severity
from introspect.rules._base import Rule
from introspect.rules._groups import of_layers
from introspect.rules._stale import mend_stale
from introspect.rules._wording import count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current = facts.current
    others = [one for one in facts.evidence if one is not current]
    if current is None or not others:
        return
    differ = [
        index
        for index, variable, row in facts.pairs
        if variable.role == "model" and any(_contradicts(current, one, index, row.expected) for one in others)
    ]
    if differ:
        yield _report(facts, current, others, differ)


def _contradicts(current: TraceEvidence, other: TraceEvidence, index: int, expected: bool) -> bool:
    """One of the two does what the flags say, the other does not."""
    here, there = current.updates(index), other.updates(index)
    return None not in (here, there) and here != there and (there != expected or here != expected)


def _report(facts: Facts, current: TraceEvidence, others: list[TraceEvidence], differ: list[int]) -> Finding:
    wrong_now = any(current.updates(i) != facts.capture.variables[i].expected for i in differ)
    severity: Severity = "info" if facts.capture.data_given and not wrong_now else "warning"
    paths = facts.paths_of(differ)
    return RULE.finding(
        severity=severity,
        variables=paths,
        layers=facts.layers_of(differ),
        message=(
            f"{len(facts.evidence)} traces of the step do not train the same: they differ on "
            f"{count(len(differ), 'variable')}{of_layers(facts, differ)}: {name_some(paths)}."
        ),
        cause=(
            "Flags were changed between the traces, and each keeps those that it was traced with. Which one runs is decided "
            f"by the batch: its shape, its dtype, whether it has weights, fit or train_on_batch. {_judge(facts, current, wrong_now)}"
        ),
        fix=mend_stale(facts, current, differ),
        evidence=tuple(_say(one, differ, facts) for one in (current, *others)),
    )


def _judge(facts: Facts, current: TraceEvidence, wrong_now: bool) -> str:
    """What the trace that runs next is worth, or would be, if it could be made."""
    given, trace, failure = facts.capture.data_given, current.trace.id, facts.capture.failure
    if failure is not None and failure.kind == "retrace":
        latest = "is against the flags" if wrong_now else "does what the flags say"
        return (
            f"The one for this data cannot be made: tracing it raises (INT202). The latest that was ({trace}) {latest}."
        )
    if _never_runs(facts, current):
        rule = "INT201" if failure is not None and failure.kind == "unknown-variable" else "INT202"
        would = "go against the flags" if wrong_now else "do what the flags say"
        which = "this data" if given else "the next batch"
        return f"The one for {which} ({trace}) would {would}, and never runs: making it raises ({rule})."
    return (
        f"{'The one for this data' if given else 'The latest one'} ({trace}) "
        f"{'is against the flags' if wrong_now else 'does what the flags say'}."
    )


def _never_runs(facts: Facts, one: TraceEvidence) -> bool:
    """Whether a trace is only that of a new optimizer, and the model's own raises in its place."""
    failure = facts.capture.failure
    return failure is not None and not failure.at_end and one.trace.current and one.trace.source != "compiled"


def _say(one: TraceEvidence, differ: list[int], facts: Facts) -> EvidenceStep:
    trains = [index for index in differ if one.updates(index)]
    said = "none of them" if not trains else "all of them" if len(trains) == len(differ) else f"{len(trains)} of them"
    does = f"would train {said}, with a new optimizer" if _never_runs(facts, one) else f"trains {said}"
    return EvidenceStep(note=f"{one.trace.id}, for {one.trace.signature}, {does}", trace=one.trace.id)


RULE = Rule("INT106", "traces-disagree", "warning", "proven", __doc__ or "", check)
