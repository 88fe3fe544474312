"""A variable that the flags let train is left out of the compiled step.

What it does
    Names variables whose flags say that they train, that the forward pass reads on a differentiable way to the loss,
    and that the step does not train.

Why it matters
    Fine-tuning that was switched on does nothing: the loss goes on falling by the head alone.

Cause
    The step was compiled before `trainable = True` was set. Or a `train_step` of one's own takes gradients for a list
    that does not hold the variable; or it trains the variable and then assigns it the value that it had before, or a fixed one.

Fix
    Compile again after the flags are set: `introspect.recompile(model)` keeps the optimizer's state.

Example
    base.trainable = False; model.compile("adam", "mse"); model.fit(x, y)
    base.trainable = True
    model.fit(x, y)            # the base still does not train
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.remedies import OR
from introspect.rules._asking import write_step
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop
from introspect.rules._groups import name_layers
from introspect.rules._stale import (
    compare_flags,
    explain_kept,
    explain_stale,
    explain_step_flags,
    find_kept_tape,
    mend_kept,
    mend_stale,
    mend_step_flags,
    name_origin,
    optimizers_know,
    show_origin,
    show_step_flags,
    warn_of_renewal,
    warn_of_retrace,
)
from introspect.rules._steps import op_step, write_steps
from introspect.rules._wording import agree, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding each for variables frozen when the step was traced, put back, set to a fixed value, newer than it."""
    current = facts.current
    if current is None:
        return
    newer = list(facts.newer)
    for left_out in _split(facts, current):
        yield _report(facts, current, left_out, _explain(facts, current, left_out))
    for fixed in (False, True):
        put_back = [index for index in facts.put_back if bool(current.writes.get(index)) is fixed]
        if put_back:
            yield _report_put_back(facts, current, put_back, fixed)
    if newer:
        yield _report(facts, current, newer, _explain_newer(facts, current, newer), certain=False)


def _split(facts: Facts, current: TraceEvidence) -> list[list[int]]:
    """Those that were frozen when the step was traced, or a function that it calls, and those that the step itself freezes."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index in facts.left_out:
        key = bool(facts.step_flags([index], frozen=False)), find_kept_tape(facts, current, index)
        groups.setdefault(key, []).append(index)
    return [groups[key] for key in sorted(groups, key=lambda key: bool(key[0]))]


def _report(facts: Facts, current: TraceEvidence, left_out: list[int], cause: str, certain: bool = True) -> Finding:
    paths = facts.paths_of(left_out)
    unsure = facts.capture.model.custom_train_step or facts.own_optimizer(left_out) is not None
    own = unsure and facts.capture.anew is None
    kept = find_kept_tape(facts, current, left_out[0])
    return RULE.finding(
        certainty="proven" if certain and not own else "likely",
        variables=paths,
        layers=facts.layers_of(left_out),
        message=f"{_count(facts, left_out)}: {name_some(paths)}.",
        cause=cause,
        fix=mend_kept(facts, current, kept, left_out) if kept else _mend(facts, current, left_out),
        evidence=(compare_flags(facts, current), *_evidence(facts, current, left_out)),
    )


def _report_put_back(facts: Facts, current: TraceEvidence, indices: list[int], fixed: bool) -> Finding:
    """`fixed`: they are given the same value at each step, and else the one that they had."""
    it, has = agree(len(indices), "it", "them"), agree(len(indices), "it has", "they have")
    index = indices[0]
    writes = sorted((*current.undone[index], *current.writes.get(index, ())))
    if fixed:
        cause = (
            f"The step trains {it}, and then assigns {it} a value that is the same at each step (constants, or what a variable "
            "holds that no step writes): nothing of the update stays."
        )
        fix = "# leave that assign, or that constraint, out; or, where it is meant, freeze the layer, so that the flags say so"
    else:
        cause = (
            f"The step trains {it}, and then assigns {it} the value that it had read before, so that {has} at its end what {has} at "
            "its begin: nothing of the update stays."
        )
        fix = "# assign what was read before the optimizer applies its gradients, or leave that assign out"
    told = _report(facts, current, indices, cause)
    return replace(told, certainty="proven", fix=fix, evidence=tuple(write_steps(facts, current, index, writes)))


def _mend(facts: Facts, current: TraceEvidence, left_out: list[int]) -> str:
    itself = facts.step_flags(left_out, frozen=False)
    if itself:
        return mend_step_flags(facts, current, itself, False)
    if _chooses_by_trace(facts, current):
        return f"{write_step(current)}\n# or, to take turns, choose in the graph: tf.cond on a tf.Variable that the step counts up"
    own = facts.own_optimizer(left_out)
    doubt = f"\n{OR}where that does not help: write each variable that {own}.update_step is handed" if own else ""
    return mend_stale(facts, current, left_out) + doubt


def _count(facts: Facts, left_out: list[int]) -> str:
    number, wanted = len(left_out), sum(row.expected and row.tracked for row in facts.rows)
    where = name_layers(facts, left_out)
    if number == wanted:
        said = "None of the trainable variables is" if number > 1 else "The one trainable variable is not"
    else:
        said = f"{number} of {wanted} trainable variables {agree(number, 'is', 'are')} not"
    those = f", {agree(number, 'that', 'those')} of {where}" if where and number < wanted else ""
    return f"{said} trained by the step{those}"


def _explain(facts: Facts, current: TraceEvidence, left_out: list[int]) -> str:
    if kept := find_kept_tape(facts, current, left_out[0]):
        return explain_kept(current, kept, "flags were set")
    if flags := facts.step_flags(left_out, frozen=False):
        return explain_step_flags(flags)
    if _chooses_by_trace(facts, current):
        return _explain_choice(facts, current, left_out)
    if _goes_its_own_way(facts, current, left_out):
        them = agree(len(left_out), "it", "them")
        return (
            f"The optimizer was built with {them}, and the model's own train_step, as it was traced"
            f"{name_origin(current)}, takes no gradient for {them}: it chose by something that Python read then, an attribute "
            f"or a list; or {agree(len(left_out), 'it was', 'they were')} frozen then. Either is read again only "
            "after the next compile."
        )
    if (own := facts.own_optimizer(left_out)) is not None and not facts.tell_flag_history(left_out, frozen=False):
        return _blame_optimizer(current, own, left_out)
    said = [
        explain_stale(facts, current, left_out, frozen=False),
        warn_of_renewal(facts) or warn_of_retrace(facts, current, left_out, frozen=False),
    ]
    if _is_own_step(facts, current) and facts.capture.anew is None:
        said.append("(Or the model's own train_step takes no gradient for them.)")
    return " ".join(part for part in said if part)


def _chooses_by_trace(facts: Facts, current: TraceEvidence) -> bool:
    """Whether a step traced now, by the flags of now, leaves out what this trace trains as they say."""
    return bool(_find_traded(facts, current))


def _find_traded(facts: Facts, current: TraceEvidence) -> list[int]:
    anew = facts.capture.anew
    own = (index for index, variable, row in facts.pairs if variable.role == "model" and row.expected)
    return [] if anew is None else [index for index in own if current.updates(index) and index not in anew.trains]


def _explain_choice(facts: Facts, current: TraceEvidence, left_out: list[int]) -> str:
    traded = _find_traded(facts, current)
    return (
        f"The model's own code decides in Python, while the step is traced, which variables it trains: by a count, an attribute, "
        f"a flag. The trace that runs{name_origin(current)} leaves {agree(len(left_out), 'it', 'them')} out; one traced now would train "
        f"{agree(len(left_out), 'it', 'them')}, and leave out {name_some(facts.paths_of(traded))}. Each trace keeps its choice."
    )


def _blame_optimizer(current: TraceEvidence, own: str, left_out: list[int]) -> str:
    it = agree(len(left_out), "it", "them")
    return (
        f"{own}, your own optimizer, was built with {it}: either it does not write {it}, or {agree(len(left_out), 'it was', 'they were')} "
        f"frozen when the step was traced{name_origin(current)}. Flags are read again only after the next compile."
    )


def _is_own_step(facts: Facts, current: TraceEvidence) -> bool:
    return facts.capture.model.custom_train_step and not facts.flags_of_compile and not is_own_loop(current)


def _goes_its_own_way(facts: Facts, current: TraceEvidence, left_out: list[int]) -> bool:
    """Whether a train_step of the user's leaves out what the optimizer was built with, and no flag is known to have changed."""
    if not _is_own_step(facts, current) or facts.tell_flag_history(left_out, frozen=False):
        return False
    return any(optimizer.built for optimizer in facts.capture.optimizers) and optimizers_know(facts, left_out)


def _explain_newer(facts: Facts, current: TraceEvidence, newer: list[int]) -> str:
    lora = any("lora_" in facts.capture.variables[index].path for index in newer)
    how = "by enable_lora()" if lora else "when a layer was added, or built, later"
    return (
        f"{current.trace.caller} goes on with a step that was traced{name_origin(current)} before {agree(len(newer), 'it was', 'they were')} "
        f"made, {how}. {warn_of_retrace(facts, current, newer, frozen=False)}"
    ).rstrip()


def _evidence(facts: Facts, current: TraceEvidence, left_out: list[int]) -> Iterator[EvidenceStep]:
    flags = facts.step_flags(left_out, frozen=False)
    yield from show_step_flags(flags) if flags else show_origin(facts, current, left_out, frozen=False)
    for index in left_out[:1]:
        reads = current.reads.get(index, ())
        if reads:
            variable = facts.capture.variables[index]
            note = f"reads {variable.path}; no op of the step trains it"
            yield op_step(facts, current, reads[0], note, variable.layer)


RULE = Rule("INT103", "trainable-variable-not-updated", "error", "proven", __doc__ or "", check)
