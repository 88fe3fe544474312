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
from introspect.rules._code import is_own_loop, write_recompile
from introspect.rules._groups import of_layers
from introspect.rules._lists import explain_lists, mend_lists
from introspect.rules._stale import (
    compare_flags,
    explain_kept,
    explain_stale,
    explain_step_flags,
    find_kept,
    mend_kept,
    mend_stale,
    mend_step_flags,
    show_origin,
    show_step_flags,
    warn_of_renewal,
    warn_of_retrace,
)
from introspect.rules._steps import write_steps
from introspect.rules._targets import is_assigned_by_step, is_averaged_in_two
from introspect.rules._wording import agree, count, name_some, place

_HOW = {
    "gradient": "trains {them} all the same",
    "decay": "goes on changing {them}, by weight decay",
    "constraint": "goes on changing {them}, by a constraint",
    "average": "goes on changing {them}, with the averages that the optimizer keeps (use_ema)",
    "assign": "goes on changing {them}, by an assign of its own",
}


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each way in which frozen variables are written."""
    current = facts.current
    if current is None:
        return
    groups: dict[tuple[str, tuple[object, ...]], list[int]] = {}
    for index, variable, row in facts.pairs:
        if variable.role == "model" and not row.expected:
            kind = _find_kind(facts, current, index)
            if kind is not None:
                itself = bool(facts.step_flags([index], frozen=True))
                kept, anew = find_kept(facts, current, index), _done_anew(facts, current, [index])
                groups.setdefault((kind, (facts.asks_otherwise(index), itself, anew, kept)), []).append(index)
    for (kind, _), indices in groups.items():
        yield _report(facts, current, kind, indices)


def _find_kind(facts: Facts, current: TraceEvidence, index: int) -> str | None:
    kinds = {write.kind for write in current.writes.get(index, ())}
    if "gradient" in kinds:
        return None if facts.is_state_by_hand(index) else "gradient"
    if not facts.is_meant_frozen(index):
        return None
    if "decay" in kinds and facts.in_frozen_layer(index) and facts.name_assigner(current, index) is not None:
        return None  # INT102 names the layer
    if is_averaged_in_two(facts, current, index):
        return None  # INT301 tells of it
    for kind in ("decay", "constraint"):
        if kind in kinds:
            return "assign" if is_assigned_by_step(facts, current, index) else kind
    return "average" if "average" in kinds and facts.optimizer_averages(current, index) else None


def _report(facts: Facts, current: TraceEvidence, kind: str, indices: list[int]) -> Finding:
    paths, number = facts.paths_of(indices), len(indices)
    how = _HOW[kind].format(them=agree(number, "it", "them"))
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"{count(number, 'variable')}{of_layers(facts, indices)} {agree(number, 'is', 'are')} frozen, and the training "
            f"step {how}: {name_some(paths)}."
        ),
        cause=_explain(facts, current, kind, indices),
        fix=_mend(facts, current, kind, indices),
        evidence=tuple(_evidence(facts, current, indices)),
    )


def _explain(facts: Facts, current: TraceEvidence, kind: str, indices: list[int]) -> str:
    if kind == "average":
        return f"The optimizer was built with {agree(len(indices), 'it', 'them')} and goes on writing averages back (use_ema)."
    if kind == "assign":
        return (
            f"The step itself assigns to {agree(len(indices), 'it', 'them')}{_place_write(facts, current, indices[0], ' at ')} a "
            f"value that is made of what {agree(len(indices), 'it holds', 'they hold')} (decay, clipping, a norm), and does not "
            "ask the flag."
        )
    if kept := find_kept(facts, current, indices[0]):
        return explain_kept(current, kept, "flags were set")
    if facts.asks_otherwise(indices[0]):
        return explain_lists(facts, indices, held=True)
    if flags := facts.step_flags(indices, frozen=True):
        return explain_step_flags(flags)
    if not _is_stale(facts, current, indices):
        return _explain_own(facts, current, indices)
    said = (
        explain_stale(facts, current, indices, frozen=True),
        _tell_lora(facts, indices),
        warn_of_renewal(facts) or warn_of_retrace(facts, current, indices, frozen=True),
        _ask_of_root(facts),
    )
    return " ".join(part for part in said if part)


def _is_stale(facts: Facts, current: TraceEvidence, indices: list[int]) -> bool:
    if facts.flags_of_compile:
        return True
    return current.trace.source == "compiled" and not _done_anew(facts, current, indices)


def _done_anew(facts: Facts, current: TraceEvidence, indices: list[int]) -> bool | None:
    """Whether a step traced now does it too; one may go on writing by a layer's call what it does not train any more."""
    trained = any(current.updates(index) for index in indices)
    return facts.trained_anew(indices) if trained else facts.written_anew(indices)


def _explain_own(facts: Facts, current: TraceEvidence, indices: list[int]) -> str:
    steps = write_steps(facts, current, indices[0], current.gradient_writes(indices[0])[:1])
    where = next((f" ({place(step.location)})" for step in steps if step.location is not None), "")
    loop = is_own_loop(current)
    own = "The model's own train_step" if facts.capture.model.custom_train_step else "The step"
    own, owner = (current.trace.caller, "model") if loop else (own, "self")
    compiled = "; or the flags were set after compile, and tf_keras trains by those of then"
    asks = facts.capture.model.keras == "tf_keras" and not loop
    return (
        f"{own} gives {agree(len(indices), 'it', 'them')} to the optimizer{where} whatever the flags say: a step traced "
        f"now, with the flags as they are, does it too. It does not go by {owner}.trainable_variables, or keeps a list that "
        f"was taken earlier{compiled if asks else ''}."
    )


def _place_write(facts: Facts, current: TraceEvidence, index: int, lead: str) -> str:
    """` at train.py:30`, where the line of its first write is known."""
    steps = write_steps(facts, current, index, current.writes.get(index, ())[:1])
    return next((f"{lead}{place(step.location)}" for step in steps if step.location is not None), "")


def _tell_lora(facts: Facts, indices: list[int]) -> str:
    owners = {facts.capture.variables[index].layer for index in indices}
    added = (v for v in facts.capture.variables if v.layer in owners and v.path.rpartition("/")[2].startswith("lora_"))
    if next(added, None) is None:
        return ""
    return "enable_lora() froze the full weights afterwards, and the step does not hold the adapters that it added."


def _ask_of_root(facts: Facts) -> str:
    root = facts.tree.root
    if root is None or root.trainable:
        return ""
    return (
        f"(The whole model {root.path} is frozen. If that is meant for a model that contains it, as in a GAN, set it back "
        "to True while it trains by itself.)"
    )


def _mend(facts: Facts, current: TraceEvidence, kind: str, indices: list[int]) -> str:
    if kind == "average":
        return write_recompile(facts)
    if kind == "assign":
        return (
            f"#{_place_write(facts, current, indices[0], ' at ')} leave out what is frozen:\n"
            "if variable.trainable:\n    variable.assign(...)"
        )
    if kept := find_kept(facts, current, indices[0]):
        return mend_kept(facts, current, kept)
    if facts.asks_otherwise(indices[0]):
        return mend_lists(facts)
    if flags := facts.step_flags(indices, frozen=True):
        return mend_step_flags(facts, current, flags, True)
    if _is_stale(facts, current, indices):
        return mend_stale(facts, current, indices)
    if not facts.capture.model.custom_train_step:
        return write_recompile(facts)
    own = is_own_loop(current)
    where, owner = (current.trace.caller, "model") if own else ("train_step", "self")
    optimizer = "optimizer" if own else "self.optimizer"
    return (
        f"# in {where}, ask for the variables at each call:\n"
        f"variables = {owner}.trainable_variables\n"
        "gradients = tape.gradient(loss, variables)\n"
        f"{optimizer}.apply_gradients(zip(gradients, variables))"
    )


def _evidence(facts: Facts, current: TraceEvidence, indices: list[int]) -> Iterator[EvidenceStep]:
    if flags := facts.step_flags(indices, frozen=True):
        yield from show_step_flags(flags)
    elif _is_stale(facts, current, indices) and not facts.asks_otherwise(indices[0]):
        yield compare_flags(facts, current)
        yield from show_origin(facts, current, indices, frozen=True)
    else:
        yield from facts.flag_steps(indices, frozen=True)
    for index in indices[:3]:
        writes = [w for w in current.writes.get(index, ()) if w.kind not in ("initial", "state")]
        yield from write_steps(facts, current, index, writes[:2])


RULE = Rule("INT101", "frozen-variable-updated", "error", "proven", __doc__ or "", check)
