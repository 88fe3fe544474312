"""A variable that no gradient reaches changes all the same.

What it does
    Names trainable variables that weight decay, a constraint, an average or an assign of the model's own changes,
    while no gradient reaches them; and frozen target networks that the train step averages, and state, made with
    trainable=False, that the step or a layer trains by an assign of its own.

Why it matters
    It explains a weight that moves though nothing trains it. Where the flags freeze the variable, INT101 or INT102
    says so as an error instead.

Cause
    `use_ema` writes averages back; a train step assigns; a constraint or a decay is applied to each variable.

Fix
    None is needed where it is meant.

Example
    target.assign(0.99 * target + 0.01 * online)      # in train_step: a momentum encoder
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._groups import of_layers
from introspect.rules._steps import write_steps
from introspect.rules._targets import is_averaged_by_its_layer, is_averaged_by_step, is_averaged_in_two
from introspect.rules._wording import agree, count, name_some

_WORDS = {
    "decay": "weight decay",
    "own": "an assign of what is made of its own value",
    "constraint": "a constraint",
    "average": "an average of other variables or of earlier values",
    "statistics": "an assign of the forward pass",
    "step": "an assign of the train step",
    "accumulate": "gradients of other variables",
    "other": "an assign whose value the graph does not explain",
    "state": "the step itself",
    "count": "the step itself",
    "fit end": "the average that fit writes back at its end",
    "gradient": "a gradient that the model's own code takes and assigns",
}

_CAUSES = {
    "decay": "Weight decay is applied to each variable that the optimizer is given, whatever its gradient.",
    "own": "The call of a layer, or the train step, assigns it what it makes of the value that it holds: masked, clipped, scaled to "
    "a norm. What is so already stays as it is.",
    "average": "The train step itself assigns an average: a target network, a momentum encoder.",
    "statistics": "A layer assigns a value of its own when it is called in training.",
    "step": "The train step itself assigns a value that is made of the data.",
    "fit end": "With use_ema the optimizer keeps an average of each variable that it was built with, and fit writes it back.",
    "gradient": "A tape watches it by tape.watch alone, and no optimizer is given it: fast weights, or training by hand.",
    "count": "It holds whole numbers, of which there is no gradient: a count, or another state of the step. tf.Variable and "
    "add_weight make a variable to train where they are not told otherwise.",
    "state": "The step writes a value that does not depend on the variable's gradient, and may be what it holds already: zeros "
    "in place of a missing gradient leave a variable as it is.",
}

_FIXES = {"count": "Nothing, or, to keep it from the optimizer: tf.Variable(..., trainable=False)"}

MAY_STAY = frozenset({"state", "count", "other", "own"})
"""Kinds of writes of which the graph does not tell that the value is another than before."""


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each way of changing."""
    current = facts.current
    if current is None:
        return
    groups: dict[str, list[int]] = {}
    for index, variable, row in facts.pairs:
        if (
            variable.role == "model"
            and row.expected
            and current.updates(index) is False
            and index not in facts.put_back
        ):
            kind = _find_kind(facts, current, index)
            if kind:
                groups.setdefault(kind, []).append(index)
    for kind, indices in groups.items():
        yield _report(facts, current, kind, indices, "trainable variable")
    targets = [i for i, _, row in facts.pairs if not row.expected and _is_target(facts, current, i)]
    if targets:
        yield _report(facts, current, "average", targets, "frozen variable")
    state = [
        i for i, one, row in facts.pairs if one.role == "model" and not row.expected and _is_state(facts, current, i)
    ]
    if state:
        yield _report(facts, current, "gradient", state, "variable")


def _find_kind(facts: Facts, current: TraceEvidence, index: int) -> str | None:
    writes = [write for write in current.writes.get(index, ()) if write.kind != "initial"]
    if facts.is_count(current, index):
        return "count"
    if writes:
        outside = writes[0].kind == "statistics" and facts.layer_of_node(current, writes[0].node) is None
        undecayed = writes[0].kind == "decay" and index not in facts.tracked
        return "step" if outside else "own" if undecayed else writes[0].kind
    return "fit end" if any(end.target == index for end in facts.capture.fit_end) else None


def _is_target(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """A frozen variable that the step itself averages from others."""
    variable = facts.capture.variables[index]
    kinds = {write.kind for write in current.writes.get(index, ())}
    return (
        variable.role == "model"
        and ("average" in kinds or is_averaged_by_step(facts, current, index))
        and facts.is_meant_frozen(index)
        and not (facts.in_frozen_layer(index) and is_averaged_by_its_layer(facts, current, index))
        and (not kinds & {"gradient", "decay", "constraint"} or is_averaged_in_two(facts, current, index))
        and not facts.optimizer_averages(current, index)
    )


def _is_state(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """State that is trained by hand."""
    return bool(current.updates(index)) and facts.is_state_by_hand(index)


def _report(facts: Facts, current: TraceEvidence, kind: str, indices: list[int], what: str) -> Finding:
    paths, layers = facts.paths_of(indices), facts.layers_of(indices)
    number = len(indices)
    done = agree(number, "is written", "are written") if kind in MAY_STAY else agree(number, "changes", "change")
    how = "past all optimizers" if kind == "gradient" else "without a gradient"
    return RULE.finding(
        variables=paths,
        layers=layers,
        message=(
            f"{count(number, what)}{of_layers(facts, indices)} {done} {how}, by {_WORDS.get(kind, kind)}: {name_some(paths)}."
        ),
        cause=_CAUSES.get(kind, "The step writes a value that does not depend on the variable's gradient."),
        fix=_FIXES.get(kind, "Nothing, where this is meant."),
        evidence=tuple(s for i in indices[:2] for s in write_steps(facts, current, i, current.writes.get(i, ())[:1])),
    )


RULE = Rule("INT301", "changes-without-gradient", "info", "proven", __doc__ or "", check)
