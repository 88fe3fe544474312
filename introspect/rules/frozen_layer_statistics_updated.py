"""The state of a frozen layer moves with each training step.

What it does
    Names variables that a frozen layer itself writes in its forward pass: BatchNorm's moving mean and variance, the
    vectors of SpectralNormalization, whatever a layer of one's own assigns. Counters and random state do not count.
    It is a warning where the layer was made with trainable=False and holds nothing that could train (Keras 3).

Why it matters
    A frozen BatchNorm whose statistics drift gives other outputs at inference than the network that was frozen.

Cause
    The step was traced before the layer was frozen; or a tf.function of one's own around the layer keeps a trace from
    then; or the layer assigns without asking its flag, as SpectralNormalization and many layers of one's own do.

Fix
    Compile again after freezing; in a layer of one's own, ask `self.trainable` before assigning.

Example
    model.compile("adam", "mse"); model.fit(x, y)
    model.get_layer("bn").trainable = False
    model.fit(x, y)            # the moving mean and variance of bn go on moving
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.writes import counts
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop
from introspect.rules._groups import are_several, bare_layers
from introspect.rules._stale import explain_kept, explain_stale, find_kept, mend_kept, mend_stale, show_origin
from introspect.rules._steps import write_steps
from introspect.rules._targets import is_averaged_by_its_layer, is_averaged_by_step
from introspect.rules._wording import capitalise, count, name_some, place

ASK_THEIR_FLAG = ("BatchNormalization", "SyncBatchNormalization")
"""Layers of Keras that write no statistics when they are traced frozen, however they are called."""
STEP = ""
"""Stands for a step of the user's own that assigns by itself, in no layer."""


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each kind of layer that writes."""
    current = facts.current
    if current is None:
        return
    groups: dict[tuple[str, bool | None, tuple[str, ...], bool], list[int]] = {}
    for index, variable, row in facts.pairs:
        if (
            variable.role == "model"
            and not row.expected
            and facts.in_frozen_layer(index)
            and moves(facts, current, index)
            and not is_averaged_by_step(facts, current, index)
        ):
            alone = facts.is_state_alone(index)
            key = (
                name_writer(facts, current, index),
                facts.written_anew([index]),
                find_kept(facts, current, index),
                alone,
            )
            groups.setdefault(key, []).append(index)
    for (kind, *_, alone), moved in groups.items():
        yield (_report_alone if alone else _report)(facts, current, moved, kind)
    fed = _list_fed(facts, {index for moved in groups.values() for index in moved})
    if fed:
        yield _report_fed(facts, fed)


def _list_fed(facts: Facts, told: Collection[int]) -> list[int]:
    """What a function of a data set changes in a frozen layer."""
    own = (i for i, one, row in facts.pairs if one.role == "model" and not row.expected and i not in told)
    return [i for i in own if facts.in_frozen_layer(i) and any(moves(facts, feed, i) for feed in facts.feeds)]


def _report_fed(facts: Facts, moved: list[int]) -> Finding:
    paths, which = facts.paths_of(moved), bare_layers(facts, moved)
    several = are_several(which)
    it, feed = "them" if several else "it", next(one for one in facts.feeds if moves(facts, one, moved[0]))
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(moved),
        message=(
            f"{capitalise(which)} {'are' if several else 'is'} frozen, and the data set goes on changing "
            f"{count(len(moved), 'variable')} that {'they keep' if several else 'it keeps'}: {name_some(paths)}."
        ),
        cause=(
            f"The data set runs {it} in training mode (Dataset.map), by the flag that was set when map was called: "
            "its function is traced then, and no compile makes it anew."
        ),
        fix=f"# call map again after freezing, or run {it} there as at inference:\nlayer(x, training=False)",
        evidence=tuple(replace(step, trace=None) for step in _show_writes(facts, feed, moved)),
    )


def name_writer(facts: Facts, current: TraceEvidence, index: int) -> str:
    """Class of the layer that writes the variable, which need not be the one that owns it; STEP where none does."""
    path = facts.layer_of_node(current, current.writes[index][0].node)
    if path is None and (facts.capture.model.custom_train_step or is_own_loop(current)):
        return STEP
    path = path or facts.capture.variables[index].layer
    layer = facts.tree.by_path.get(path or "")
    return layer.class_name if layer is not None else "the layer"


def moves(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """Whether it changes with what the layer sees, or as the layer's call has it; seeds and whole numbers count, and never do."""
    kinds = {write.kind for write in current.writes.get(index, ())}
    told = {"statistics", "other"} if counts(facts.capture.variables[index]) else {"statistics", "other", "state"}
    if kinds & {"gradient", "constraint"}:
        return False
    if "decay" in kinds:
        return facts.name_assigner(current, index) is not None
    return bool(kinds & told) or is_averaged_by_its_layer(facts, current, index)


def _report(facts: Facts, current: TraceEvidence, moved: list[int], kind: str) -> Finding:
    paths, number = facts.paths_of(moved), len(moved)
    which = bare_layers(facts, moved)
    several = are_several(which)
    cause, fix = _explain(facts, current, moved, kind)
    kinds = {write.kind for index in moved for write in current.writes[index] if write.kind != "initial"}
    # What is made of the value itself may be what it is already.
    does = "writing" if kinds <= {"decay", "average"} else "changing"
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(moved),
        message=(
            f"{capitalise(which)} {'are' if several else 'is'} frozen, and the training step goes on {does} "
            f"{count(number, 'variable')} that {'they keep' if several else 'it keeps'}: "
            f"{name_some(paths)}."
        ),
        cause=cause,
        fix=fix,
        evidence=(
            *(() if facts.written_anew(moved) else show_origin(facts, current, moved, frozen=True)),
            *_show_writes(facts, current, moved),
        ),
    )


def _report_alone(facts: Facts, current: TraceEvidence, moved: list[int], kind: str) -> Finding:
    """Of a layer that was made so, whose state alone its flag could be about."""
    paths, which = facts.paths_of(moved), bare_layers(facts, moved)
    several = are_several(which)
    return RULE.finding(
        severity="warning",
        variables=paths,
        layers=facts.layers_of(moved),
        message=(
            f"{capitalise(which)} {'were' if several else 'was'} made with trainable=False, and the training step changes "
            f"{count(len(moved), 'variable')} that {'they keep' if several else 'it keeps'}: {name_some(paths)}."
        ),
        cause=(
            f"Nothing in {'them' if several else 'it'} could train, so the flag stops no gradient; "
            f"{_accuse(facts, current, moved, kind)}."
        ),
        fix=f"# nothing, if they are statistics that it is to keep; else\n{_ask(facts, current, moved, kind)}",
        evidence=tuple(_show_writes(facts, current, moved)),
    )


def _show_writes(facts: Facts, evidence: TraceEvidence, moved: list[int]) -> Iterator[EvidenceStep]:
    for index in moved[:3]:
        yield from write_steps(facts, evidence, index, evidence.writes.get(index, [])[:1])


def _explain(facts: Facts, current: TraceEvidence, moved: list[int], kind: str) -> tuple[str, str]:
    stale = explain_stale(facts, current, moved, frozen=True)
    asks, compiled = kind in ASK_THEIR_FLAG, current.trace.source == "compiled"
    kept = find_kept(facts, current, moved[0])
    if asks and kept:
        return explain_kept(current, kept, "flags were set"), mend_kept(facts, current, kept)
    anew = facts.written_anew(moved)
    old = compiled and (anew is False or (anew is None and (asks or _contradicts_elsewhere(facts, current))))
    if old or (facts.flags_of_compile and (asks or not anew) and facts.may_differ_from_compile(moved)):
        return stale, mend_stale(facts, current, moved)
    if asks:
        return (
            f"A step traced now does it too, though {kind} asks its flag when it is traced: a tf.function of your own "
            "around the layer keeps a trace from before it was frozen.",
            "make that tf.function anew after freezing, or call the layer outside of it",
        )
    accused = _accuse(facts, current, moved, kind)
    if compiled and anew is None:
        return (
            f"{stale} Or {accused}.",
            f"{mend_stale(facts, current, moved)}\n# or, if it does so still:\n{_ask(facts, current, moved, kind)}",
        )
    fix = _CALL if kind == "SpectralNormalization" else _ask(facts, current, moved, kind)
    return f"A step traced now does it too: {accused}.", fix


_CALL = "# in a call() of your own, where the layer is not to change:\nself.layer(x, training=False)"


def _ask(facts: Facts, current: TraceEvidence, moved: list[int], kind: str) -> str:
    if kind == STEP:
        return (
            f"#{_place_write(facts, current, moved, ' at ')} leave out what is frozen, unless it is meant, as for a target "
            "network:\nif variable.trainable:\n    variable.assign(...)"
        )
    name = facts.capture.variables[moved[0]].path.rpartition("/")[2].removesuffix(":0")
    return f"# in call(), before assigning:\nif training and self.trainable:\n    self.{name}.assign(...)"


def _contradicts_elsewhere(facts: Facts, current: TraceEvidence) -> bool:
    """Whether the trace trains or leaves out other variables against their flags, as only an old one does."""
    if current.trace.source != "compiled" or facts.capture.model.custom_train_step:
        return False
    trained = (row.expected for index, one, row in facts.pairs if one.role == "model" and current.updates(index))
    return bool(facts.left_out) or not all(trained)


def _accuse(facts: Facts, current: TraceEvidence, moved: list[int], kind: str) -> str:
    if kind == "SpectralNormalization":
        return "SpectralNormalization rewrites its layer's kernel at each call in training, and does not ask its flag"
    where = _place_write(facts, current, moved, " at ")
    if kind == STEP:
        own = current.trace.caller if is_own_loop(current) else "the model's own train_step"
        return f"{own} assigns{where} whatever the flag says"
    return f"{kind} assigns{where} whatever its flag says"


def _place_write(facts: Facts, current: TraceEvidence, moved: list[int], lead: str) -> str:
    steps = write_steps(facts, current, moved[0], current.writes[moved[0]][:1])
    return next((f"{lead}{place(step.location)}" for step in steps if step.location is not None), "")


RULE = Rule("INT102", "frozen-layer-statistics-updated", "error", "proven", __doc__ or "", check)
