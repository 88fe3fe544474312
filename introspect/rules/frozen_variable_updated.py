"""A variable that the flags freeze is written by the training step.

What it does
    Names variables whose flags say that they do not train, while the compiled step writes them with their gradient,
    with weight decay, with an average or with a constraint.

Why it matters
    A frozen backbone that goes on training loses its pretrained features, without an error and without a warning.

Cause
    Most often the step was compiled before the layer was frozen: flags are read when the step is traced, and a later
    change acts only after the next compile or retrace. Otherwise a `train_step` of one's own updates a list of
    variables that it took earlier, or an optimizer goes on averaging or decaying.

Fix
    Compile again after the flags are set: `introspect.recompile(model)`, or `model.compile(...)` with a new optimizer.

Example
    model.compile("adam", "mse"); model.fit(x, y)
    model.get_layer("backbone").trainable = False
    model.fit(x, y)            # the backbone goes on training
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._steps import write_steps
from introspect.rules._wording import RECOMPILE, agree, count, name_some, of_layers

_HOW = {
    "gradient": "with its gradient",
    "decay": "by weight decay",
    "constraint": "by a constraint",
    "average": "with an average that the optimizer keeps",
}


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each way in which frozen variables are written."""
    current = facts.current
    if current is None:
        return
    groups: dict[str, list[int]] = {}
    for index, variable, row in facts.pairs():
        if variable.role == "model" and not row.expected:
            kind = _find_kind(facts, current, index)
            if kind is not None:
                groups.setdefault(kind, []).append(index)
    for kind, indices in groups.items():
        yield _report(facts, current, kind, indices)


def _find_kind(facts: Facts, current: TraceEvidence, index: int) -> str | None:
    kinds = {write.kind for write in current.writes.get(index, ())}
    if "gradient" in kinds:
        return "gradient"
    if not facts.is_meant_frozen(index):
        return None
    for kind in ("decay", "constraint"):
        if kind in kinds:
            return kind
    return "average" if "average" in kinds and facts.optimizer_averages(current, index) else None


def _report(facts: Facts, current: TraceEvidence, kind: str, indices: list[int]) -> Finding:
    paths, layers = facts.paths_of(indices), facts.layers_of(indices)
    number = len(indices)
    return Finding(
        rule=RULE.id,
        name=RULE.name,
        severity="error",
        certainty="proven",
        variables=paths,
        layers=layers,
        message=(
            f"{count(number, 'frozen variable')}{of_layers(layers)} {agree(number, 'is', 'are')} still written by the "
            f"training step, {_HOW[kind]}: {name_some(paths)}."
        ),
        cause=_explain(facts, current, kind, indices),
        fix=_mend(facts, current, kind),
        evidence=(*facts.flag_steps(indices, frozen=True), *_evidence(facts, current, indices)),
    )


def _explain(facts: Facts, current: TraceEvidence, kind: str, indices: list[int]) -> str:
    if kind == "average":
        return "The optimizer was built with these variables and goes on writing their averages back (use_ema)."
    if current.trace.source != "compiled":
        own = "its own train_step" if facts.capture.model.custom_train_step else "the step"
        return f"A step traced now, with the flags as they are, still does it: {own} does not go by the flags."
    if facts.capture.model.run_eagerly:
        return "The step runs eagerly and takes its variables from elsewhere than model.trainable_variables."
    told = facts.tell_flag_history(indices, frozen=True)
    step = f"The step that {current.trace.caller} uses was traced while the flags said that they train"
    return told or f"{step}; a flag that is set later acts only after the next compile."


def _mend(facts: Facts, current: TraceEvidence, kind: str) -> str:
    if kind == "average":
        return "model.compile(...) with a new optimizer instance, after freezing"
    if current.trace.source != "compiled":
        return "in train_step, use self.trainable_variables at each call, not a list taken earlier"
    return RECOMPILE


def _evidence(facts: Facts, current: TraceEvidence, indices: list[int]) -> Iterator[EvidenceStep]:
    for index in indices[:3]:
        writes = [w for w in current.writes.get(index, ()) if w.kind not in ("initial", "state")]
        yield from write_steps(facts, current, index, writes[:2])


RULE = Rule("INT101", "frozen-variable-updated", "error", "proven", __doc__ or "", check)
