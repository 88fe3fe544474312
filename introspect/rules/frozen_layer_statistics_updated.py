"""The statistics of a frozen layer move with each training step.

What it does
    Names variables that a frozen layer itself writes in its forward pass: BatchNorm's moving mean and variance, the
    vectors of SpectralNormalization, whatever a layer of one's own assigns. Counters and random state do not count.

Why it matters
    A frozen BatchNorm whose statistics drift gives other outputs at inference than the network that was frozen.

Cause
    The step was compiled before the layer was frozen; or the layer is called with training=True; or a tf.function of
    one's own holds the forward pass and its old trace; or the layer assigns without asking its flag.

Fix
    Compile again after freezing; call the layer with training=False; ask `self.trainable` before assigning.

Example
    h = keras.layers.BatchNormalization(trainable=False)(x, training=True)   # in a layer that ignores its flag
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._steps import write_steps
from introspect.rules._wording import RECOMPILE, agree, count, name_some, of_layers


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current = facts.current
    if current is None:
        return
    moved = [
        index
        for index, variable, row in facts.pairs()
        if variable.role == "model" and not row.expected and facts.in_frozen_layer(index) and _moves(current, index)
    ]
    if moved:
        yield _report(facts, current, moved)


def _moves(current: TraceEvidence, index: int) -> bool:
    kinds = {write.kind for write in current.writes.get(index, ())}
    return bool(kinds & {"statistics", "other"}) and not kinds & {"gradient", "decay", "constraint"}


def _report(facts: Facts, current: TraceEvidence, moved: list[int]) -> Finding:
    paths, layers = facts.paths_of(moved), facts.layers_of(moved)
    number = len(moved)
    stale = current.trace.source == "compiled" and not facts.capture.model.run_eagerly
    return Finding(
        rule=RULE.id,
        name=RULE.name,
        severity="error",
        certainty="proven",
        variables=paths,
        layers=layers,
        message=(
            f"{count(number, 'variable')} that frozen layers keep {agree(number, 'moves', 'move')} with each step"
            f"{of_layers(layers)}: {name_some(paths)}."
        ),
        cause=(
            facts.tell_flag_history(moved, frozen=True)
            or (
                "The step was traced while the layer was not frozen, or the layer writes them whatever its flag says."
                if stale
                else "A step traced now still writes them: the layer is called with training=True, or assigns without "
                "asking its flag."
            )
        ),
        fix=f"{RECOMPILE}\n# if it goes on: call the layer with training=False"
        if stale
        else "call the layer with training=False",
        evidence=(
            *facts.flag_steps(moved, frozen=True),
            *(s for index in moved[:3] for s in write_steps(facts, current, index, current.writes[index][:1])),
        ),
    )


RULE = Rule("INT102", "frozen-layer-statistics-updated", "error", "proven", __doc__ or "", check)
