"""A variable that the step could train and that Keras does not track.

What it does
    Names variables that the forward pass reads, that were made to be trained, and that `model.variables` does not hold.

Why it matters
    The optimizer never sees them, `save` does not store them, and no flag of the model reaches them.

Cause
    The layer or variable stands where Keras does not look: in a nested list filled later, in a class attribute, in a
    helper object, in a Lambda, made in `call`, a raw `tf.Variable`, a layer of the other Keras; or it was taken out of
    the model after the step was compiled.

Fix
    Assign the layer to an attribute of the model in `__init__`; make weights with `add_weight`.

Example
    self.blocks = [[]]; self.blocks[-1].append(keras.layers.Dense(4))    # not tracked
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import Finding, Severity
from introspect.rules._base import Rule
from introspect.rules._steps import op_step, write_steps
from introspect.rules._wording import RECOMPILE, agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for those that do not train, one for those that an old step goes on training."""
    current = facts.current
    if current is None or facts.capture.model.keras == "none":
        return
    still: list[int] = []
    trained: list[int] = []
    for index, variable, row in facts.pairs():
        if variable.role != "untracked" or not row.trainable:
            continue
        if current.updates(index):
            trained.append(index)
        elif index in current.forward and not facts.moves_otherwise(current, index):
            still.append(index)
    if still:
        yield _report_still(facts, current, still)
    if trained and not _trains_by_design(facts, current):
        yield _report_trained(facts, current, trained)


def _trains_by_design(facts: Facts, current: TraceEvidence) -> bool:
    """A step of the user's own may train what it likes."""
    return facts.capture.model.custom_train_step or current.trace.caller not in ("fit", "train_on_batch")


def _report_still(facts: Facts, current: TraceEvidence, still: list[int]) -> Finding:
    paths = facts.paths_of(still)
    severity: Severity = "info" if current.trace.caller not in ("fit", "train_on_batch") else "warning"
    return Finding(
        rule=RULE.id,
        name=RULE.name,
        severity=severity,
        certainty="proven",
        variables=paths,
        layers=(),
        message=(
            f"The step uses {count(len(still), 'variable')} that {agree(len(still), 'is', 'are')} made to be trained and "
            f"that the model does not track, so {agree(len(still), 'it does', 'they do')} not train: {name_some(paths)}."
        ),
        cause="Keras finds layers and weights in attributes, lists, tuples, dicts and sets of layers; these stand elsewhere.",
        fix="keep the layer in an attribute of the model (self.block = …) and make weights with self.add_weight(…)",
        evidence=tuple(
            op_step(facts, current, current.reads[i][0], f"reads {facts.capture.variables[i].path}")
            for i in still[:3]
            if current.reads.get(i)
        ),
    )


def _report_trained(facts: Facts, current: TraceEvidence, trained: list[int]) -> Finding:
    paths = facts.paths_of(trained)
    return Finding(
        rule=RULE.id,
        name=RULE.name,
        severity="warning",
        certainty="proven",
        variables=paths,
        layers=(),
        message=(
            f"The step trains {count(len(trained), 'variable')} that the model does not hold (any more): "
            f"{name_some(paths)}."
        ),
        cause="The step was traced while the model still held the layer; it goes on using what it was traced with.",
        fix=RECOMPILE,
        evidence=tuple(s for i in trained[:3] for s in write_steps(facts, current, i, current.gradient_writes(i)[:1])),
    )


RULE = Rule("INT105", "untracked-variable", "warning", "proven", __doc__ or "", check)
