"""A variable that the flags let train is left out of the compiled step.

What it does
    Names variables whose flags say that they train, that the forward pass reads on a differentiable way to the loss,
    and that the step computes no gradient for.

Why it matters
    Fine-tuning that was switched on does nothing: the loss goes on falling by the head alone.

Cause
    The step was compiled before `trainable = True` was set. Or a `train_step` of one's own takes gradients for a list
    that does not hold the variable.

Fix
    Compile again after the flags are set: `introspect.recompile(model)` keeps the optimizer's state.

Example
    base.trainable = False; model.compile("adam", "mse"); model.fit(x, y)
    base.trainable = True
    model.fit(x, y)            # the base still does not train
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._steps import op_step
from introspect.rules._wording import RECOMPILE, agree, count, name_some, of_layers


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding: variables that only a trace from before keeps still."""
    current = facts.current
    if current is None or current.trace.source != "compiled":
        return
    left_out = [i for i in facts.without_gradient if facts.way_to_loss(i).open]
    if left_out:
        yield _report(facts, current, left_out)


def _report(facts: Facts, current: TraceEvidence, left_out: list[int]) -> Finding:
    paths, layers = facts.paths_of(left_out), facts.layers_of(left_out)
    number, wanted = len(left_out), sum(row.expected and row.tracked for row in facts.rows)
    own = facts.capture.model.custom_train_step
    told = facts.tell_flag_history(left_out, frozen=False)
    cause = told or (
        f"The step that {current.trace.caller} uses was traced while the flags froze them; a flag that is set later acts "
        "only after the next compile."
    )
    if own and not told:
        cause += " (Or the model's own train_step takes no gradient for them.)"
    return Finding(
        rule=RULE.id,
        name=RULE.name,
        severity="error",
        certainty="likely" if own else "proven",
        variables=paths,
        layers=layers,
        message=(
            f"{number} of {count(wanted, 'variable')} that the flags let train {agree(number, 'does', 'do')} not "
            f"train{of_layers(layers)}: {name_some(paths)}. {_warn(facts, left_out)}"
        ).rstrip(),
        cause=cause,
        fix=RECOMPILE,
        evidence=(*facts.flag_steps(left_out, frozen=False), *_evidence(facts, current, left_out)),
    )


def _warn(facts: Facts, left_out: list[int]) -> str:
    known = {index for optimizer in facts.capture.optimizers if optimizer.built for index in optimizer.tracks}
    if facts.capture.optimizers and known and not known.issuperset(left_out):
        return "A batch of another signature would retrace the step and fail with “Unknown variable”."
    return ""


def _evidence(facts: Facts, current: TraceEvidence, left_out: list[int]) -> Iterator[EvidenceStep]:
    for index in left_out[:3]:
        reads = current.reads.get(index, ())
        if reads:
            variable = facts.capture.variables[index]
            yield op_step(
                facts, current, reads[0], f"reads {variable.path}; no op of the step writes it", variable.layer
            )


RULE = Rule("INT103", "trainable-variable-not-updated", "error", "proven", __doc__ or "", check)
