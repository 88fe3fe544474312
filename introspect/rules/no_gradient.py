"""A trainable variable that no gradient reaches.

What it does
    Names variables whose flags say that they train and that get no gradient even from a step traced now, and says
    whether the step reads them, whether their value reaches the loss, and which op cuts the gradient.

Why it matters
    Keras warns once, while it traces, and says "no loss?"; the variable stays as it was initialised.

Cause
    The forward pass does not read the variable; or what it computes does not reach the loss; or an op without gradient
    (stop_gradient, argmax, rounding, a cast to integers, a comparison, Python) cuts every way; or it holds integers
    itself; or the train step takes no gradient for it, as for the teacher of a distillation.

Fix
    Remove the cut, use the output in the loss, or freeze the variable so that the flags say what is so: first of all where
    the step does not ask for its gradient anyway.

Example
    h = keras.layers.Lambda(tf.stop_gradient)(encoder(x))    # the encoder gets no gradient
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.ways import Way
from introspect.evidence.writes import is_whole
from introspect.facts import Facts
from introspect.graph.ops import FEEDS
from introspect.records import EvidenceStep, Finding
from introspect.remedies import OR, offer_both
from introspect.rules._asking import blame_step, show_asking, write_step
from introspect.rules._base import Rule
from introspect.rules._code import find_whole, is_own_loop, write_anew, write_freeze
from introspect.rules._cuts import mend_cuts, pick_cuts, tell_cuts
from introspect.rules._groups import of_layers, shorten
from introspect.rules._lists import explain_lists, mend_lists
from introspect.rules._places import name_op, note_cut, show_cut
from introspect.rules._stale import (
    explain_kept,
    explain_step_flags,
    find_kept_tape,
    mend_kept,
    mend_step_flags,
    show_step_flags,
)
from introspect.rules._steps import op_step
from introspect.rules._unread import explain_copied, explain_fed, explain_unread, list_copied, list_python, only_copies
from introspect.rules._uses import MOST_USES, list_uses, tell_uses
from introspect.rules._wording import agree, count, join, name_some, place


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each cause: each cut, each unused output, each layer that is not run."""
    current = facts.current
    if current is None:
        return
    elsewhere = {*facts.left_out, *facts.newer, *facts.put_back}
    groups: dict[tuple[object, ...], list[int]] = {}
    for index in facts.without_gradient:
        if index not in elsewhere:
            groups.setdefault(_key(facts, index), []).append(index)
    for indices in groups.values():
        yield _report(facts, current, indices, _find_way(facts, indices[0]))


def _find_way(facts: Facts, index: int) -> Way:
    """A whole number has no gradient, wherever its value goes."""
    return Way("whole") if is_whole(facts.capture.variables[index]) else facts.way_to_loss(index)


def _key(facts: Facts, index: int) -> tuple[object, ...]:
    """Variables with the same key share a cause."""
    way, variable = _find_way(facts, index), facts.capture.variables[index]
    if way.kind == "unread":
        layer = variable.layer or ""
        return way.kind, layer if facts.is_called(layer) else facts.outermost_uncalled(layer)
    if way.kind == "unused":
        if facts.current is not None and list_copied(facts, facts.current, [index]):
            return "copied", "" if only_copies(facts.current) else facts.outermost_uncalled(variable.layer or "")
        return way.kind, _name_ends(facts, way, index)
    return (
        way.kind,
        way.cuts,
        variable.watched,
        facts.asks_otherwise(index),
        way.kind in ("open", "cut") and facts.how_asked(index),
        way.open and bool(facts.step_flags([index], frozen=False)),
        way.kind == "open" and facts.current is not None and find_kept_tape(facts, facts.current, index),
    )


def _report(facts: Facts, current: TraceEvidence, indices: list[int], way: Way) -> Finding:
    paths, number = facts.paths_of(indices), len(indices)
    cause, fix = _explain(facts, current, way, indices)
    return RULE.finding(
        certainty="likely" if _is_unsure(facts, current, way) else "proven",
        variables=paths,
        layers=facts.layers_of(indices),
        message=(
            f"No gradient reaches {count(number, 'trainable variable')}{of_layers(facts, indices)}, so "
            f"{agree(number, 'it does', 'they do')} not train: {name_some(paths)}."
        ),
        cause=cause,
        fix=fix,
        evidence=tuple(_evidence(facts, current, indices, way)),
    )


def _is_unsure(facts: Facts, current: TraceEvidence, way: Way) -> bool:
    """Whether the loss was not seen, or Python inside the step may read what no op does."""
    return way.kind == "unclear" or not way.touched or (way.kind == "unread" and bool(list_python(facts, current)))


def _explain(facts: Facts, current: TraceEvidence, way: Way, indices: list[int]) -> tuple[str, str]:
    it = agree(len(indices), "it", "them")
    if way.kind == "cut":
        return _explain_cut(facts, current, way, indices)
    if way.kind == "unused" and (copied := list_copied(facts, current, indices)):
        cause, fix = explain_copied(facts, current, indices, copied)
        return cause, fix + (_freeze(facts, indices, "freeze it") if not only_copies(current) else "")
    if way.kind == "unused":
        return _explain_unused(facts, current, way, indices)
    if way.kind == "unrecorded":
        return _explain_unrecorded(facts, current, way, indices)
    if way.kind == "unread":
        cause, fix = explain_unread(facts, current, indices)
        return cause, fix + _freeze(facts, indices, "freeze it")
    if way.kind == "whole":
        return _explain_whole(facts, indices)
    if way.kind == "open":
        return _explain_open(facts, current, indices)
    return (
        f"{agree(len(indices), 'Its value reaches', 'Their values reach')} the loss by differentiable ops, and yet no "
        f"gradient is computed for {it}; the graph does not show why.",
        "# does the forward pass stand inside the tape, without tape.stop_recording()?",
    )


def _explain_cut(facts: Facts, current: TraceEvidence, way: Way, indices: list[int]) -> tuple[str, str]:
    it = agree(len(indices), "it", "them")
    written = any(current.writes.get(index) for index in indices)
    cause = f"Every way from {it} to the loss is cut: {tell_cuts(facts, current, way.cuts, way.path, written)}."
    others = [name_op(facts, current, node) for node in pick_cuts(facts, current, way)[1]]
    if others:
        cause += f" Another way is cut by {join(others)}."
    if _is_left_aside(facts, way, indices[0]):
        return _explain_left_aside(facts, current, way, indices, cause)
    return (
        cause,
        mend_cuts(facts, current, way.cuts)
        + _freeze(facts, indices, "where the cut is meant, freeze what lies before it"),
    )


def _is_left_aside(facts: Facts, way: Way, index: int) -> bool:
    """Whether the step does not ask for its gradient either: no mended cut lets it train."""
    return way.kind == "cut" and facts.how_asked(index) == "unasked"


def _explain_left_aside(
    facts: Facts, current: TraceEvidence, way: Way, indices: list[int], cut: str
) -> tuple[str, str]:
    """To train them takes two changes of the step, to say that they do not train one line: that comes first."""
    number = len(indices)
    it, they_are = agree(number, "it", "them"), agree(number, "it is", "they are")
    train = f"{write_step(current, 'unasked')}\n# and let a gradient through:\n{mend_cuts(facts, current, way.cuts)}"
    freeze = _say_freeze(facts, indices, f"where the step is not to train {it}, freeze {it}")
    return (
        f"The step never asks a tape for {agree(number, 'its gradient', 'their gradients')}, and none could come. {cut}",
        offer_both(f"# {freeze}", f"where {they_are} to train, {train.removeprefix('# ')}") if freeze else train,
    )


def _explain_unused(facts: Facts, current: TraceEvidence, way: Way, indices: list[int]) -> tuple[str, str]:
    what, it = _name_ends(facts, way, indices[0]), agree(len(indices), "it", "them")
    if any(current.flow.op_type(node) in FEEDS for node in way.path):
        cause, fix = explain_fed(facts, facts.capture.variables[indices[0]].layer or "", it)
        return cause, fix + _freeze(facts, indices, "freeze it")
    if facts.is_differentiated(way):
        return (
            f"The loss is made of a derivative that the step takes of what {what} computes, and that derivative does not "
            f"depend on {it}: what is only added falls away.",
            "# nothing can train it with this loss; leave it out (use_bias=False, center=False)"
            + _freeze(facts, indices, "freeze it"),
        )
    uses = list_uses(facts, current, facts.list_carriers(way))
    computed, freeze = f"What {what} computes from {it}", _freeze(facts, indices, "freeze the layers that only it uses")
    if uses:
        return (
            f"{computed} does not reach the loss: it is {tell_uses(facts, current, uses)}.",
            f"# that trains nothing: use it on the way to the loss too, or give it a loss: compile(loss=...), add_loss{freeze}",
        )
    if shaped := facts.list_shape_readers(way):
        reader = name_op(facts, current, shaped[0])
        return (
            f"Of what {what} computes from {it} only the shape is used, by {reader}; the values do not reach the loss.",
            "# use the values and not their shape alone (zeros_like and a Dropout of rate 1 let none through), or give this "
            f"output a loss: compile(loss=...), add_loss{freeze}",
        )
    told = f"{computed} does not reach the loss: {_tell_unused(facts)}."
    lost = next((at for node in reversed(way.ends) if (at := _place_of(facts, current, node))), "")
    use = f"# use what is computed at {lost} on the way to the loss, or " if lost else "# "
    return told, f"{use}give this output a loss: compile(loss=...), add_loss{freeze}"


def _tell_unused(facts: Facts) -> str:
    """In a step that was followed, Python may have the value, which the graph does not show."""
    places = dict.fromkeys(place(one) for one in facts.capture.followed.asked) if facts.capture.followed else ()
    if not places:
        return "nothing uses the result"
    return (
        f"no op uses the result. Python takes values of tensors at {join([*places][:MOST_USES])}; what it makes of them is "
        "a constant, through which no gradient goes"
    )


def _explain_unrecorded(facts: Facts, current: TraceEvidence, way: Way, indices: list[int]) -> tuple[str, str]:
    it, caller = agree(len(indices), "it", "them"), current.trace.caller if is_own_loop(current) else "train_step"
    read, joined = (_place_of(facts, current, node) for node in (way.path[0], way.path[-1]))
    made, added = f" at {read}" if read else "", f" at {joined}" if joined else ""
    return (
        f"What is computed from {it}{made} goes into a sum{added} by differentiable ops, and no tape has followed it there: "
        "it is computed outside of the GradientTape, or that sum is not what the tape differentiates.",
        f"# in {caller}, inside the tape: compute{' what stands' if made else ' it'}{made}, and give that sum to "
        f"tape.gradient{_freeze(facts, indices, 'where the step is not to train them, freeze them')}",
    )


def _explain_whole(facts: Facts, indices: list[int]) -> tuple[str, str]:
    rows = [facts.capture.variables[index] for index in indices]
    holds, types = agree(len(rows), "It holds", "They hold"), join(sorted({row.dtype for row in rows}))
    return (
        f"{holds} {types}, and TensorFlow computes gradients of floating point and complex numbers alone.",
        "# make a weight that is to train of floats, any other as what it is:\n"
        'self.w = self.add_weight(shape=..., dtype="float32")\n'
        f'self.count = self.add_weight(shape=..., dtype="{rows[0].dtype}", trainable=False)',
    )


def _place_of(facts: Facts, current: TraceEvidence, node: int) -> str:
    return place(facts.locate_written(current, current.flow.function(node), current.flow.name(node)))


def _explain_open(facts: Facts, current: TraceEvidence, indices: list[int]) -> tuple[str, str]:
    if kept := find_kept_tape(facts, current, indices[0]):
        return _explain_kept(facts, current, indices, kept)
    if flags := facts.step_flags(indices, frozen=False):
        return explain_step_flags(flags), mend_step_flags(facts, current, flags, False)
    if all(facts.asks_otherwise(index) for index in indices):
        return explain_lists(facts, indices, held=False), mend_lists(facts)
    it, their = agree(len(indices), "it", "them"), agree(len(indices), "Its value reaches", "Their values reach")
    if not all(facts.capture.variables[i].watched for i in indices):
        return _explain_unwatched(facts, it)
    own = facts.own_optimizer(indices)
    if own is not None and not facts.capture.model.custom_train_step:
        return (
            f"{their} the loss by differentiable ops, and Keras' train_step hands {agree(len(indices), 'its gradient', 'their gradients')} "
            f"to {own}, your own optimizer, which was built with {it} and does not write {it}.",
            f"# in {own}, write each variable that it is handed"
            + _freeze(facts, indices, f"where {own} is meant to leave {it} out, freeze {it}"),
        )
    told, code = blame_step(facts, current, indices, own)
    return told, code + _freeze(facts, indices, "where the step is not to train them, freeze them")


def _explain_kept(facts: Facts, current: TraceEvidence, indices: list[int], kept: tuple[str, ...]) -> tuple[str, str]:
    """The graph of an old trace does not show whether flags are why, or what the user's code does at any age."""
    mend = mend_kept(facts, current, kept, indices)
    if facts.flag_history(indices, frozen=False) is not None:
        return explain_kept(current, kept, "flags were set"), mend
    doubt, code = blame_step(facts, current, indices, None)
    told = explain_kept(current, kept, "flags were set, if they were set since")
    return f"{told} If none was: {doubt[0].lower()}{doubt[1:]}", offer_both(mend, code)


def _explain_unwatched(facts: Facts, it: str) -> tuple[str, str]:
    told, layer = f"No tape watches {it}: the tf.Variable itself was made with trainable=False", "the flag of its layer"
    code = "self.w = self.add_weight(shape=..., trainable=True)"
    if facts.capture.model.keras != "keras":
        return (
            f"{told}, or set so, whatever {layer} says now.",
            f"# make the weight trainable, and freeze it by {layer}:\n{code}",
        )
    return (
        f"{told}, whatever {layer} says now. So add_weight(trainable=False) makes it; and Keras 3 does, where a layer is frozen "
        "before the call() of another layer builds it.",
        f"# freeze a layer once it is built, not before\n{OR}if it is a weight of your own, make it trainable, and freeze it by {layer}:\n{code}",
    )


def _freeze(facts: Facts, indices: list[int], why: str) -> str:
    """The further remedy of freezing what gets no gradient; nothing where it is part of a layer that trains."""
    told = _say_freeze(facts, indices, why)
    return f"\n{OR}{told}" if told else ""


def _say_freeze(facts: Facts, indices: list[int], why: str) -> str:
    """The same by itself."""
    code = write_freeze(facts, find_whole(facts, indices))
    return f"{why}:\n{code}\n{write_anew(facts)}".rstrip() if code else ""


def _show_end(facts: Facts, current: TraceEvidence, way: Way) -> Iterator[EvidenceStep]:
    """What is done with an unused value; else where it ends."""
    uses = list_uses(facts, current, facts.list_carriers(way))
    for use in uses[:MOST_USES]:
        yield op_step(facts, current, use.node, use.words, facts.layer_of_node(current, use.node))
    for node in () if uses else way.ends[-2:]:
        yield op_step(facts, current, node, "its result is not used", facts.layer_of_node(current, node))


def _name_ends(facts: Facts, way: Way, index: int) -> str:
    """The layers whose output goes no further."""
    found = dict.fromkeys(facts.layer_of_node(facts.current, node) for node in way.ends if facts.current is not None)
    names = [shorten(facts, path) for path in found if path is not None]
    own = facts.capture.variables[index].layer
    names = names or ([shorten(facts, own)] if own else [])
    return f"{agree(len(names), 'layer', 'layers')} {join(names)}" if names else "the step"


def _evidence(facts: Facts, current: TraceEvidence, indices: list[int], way: Way) -> Iterator[EvidenceStep]:
    cuts, others = pick_cuts(facts, current, way)
    for node in cuts:
        yield from show_cut(facts, current, node, note_cut(facts, current, node, way.path))
    for node in others:
        yield from show_cut(facts, current, node, "cuts another way")
    if way.kind == "unused" and not list_copied(facts, current, indices):
        yield from _show_end(facts, current, way)
    if way.kind == "unread":
        layer = facts.capture.variables[indices[0]].layer or ""
        for node in list_python(facts, current, layer)[:1]:
            yield op_step(facts, current, node, "runs Python, of which the graph knows nothing", layer)
    if way.open or _is_left_aside(facts, way, indices[0]):
        yield from show_step_flags(facts.step_flags(indices, frozen=False)) or show_asking(facts, indices)
    for index in indices[:2]:
        reads = current.reads.get(index, ())
        if reads:
            yield op_step(facts, current, reads[0], f"reads {facts.capture.variables[index].path}")


RULE = Rule("INT104", "no-gradient", "warning", "proven", __doc__ or "", check)
