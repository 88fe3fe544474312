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

import re
from collections.abc import Iterator, Sequence

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.scan import TO_BACKWARD
from introspect.evidence.writes import is_whole
from introspect.facts import Facts
from introspect.records import Finding, Severity
from introspect.remedies import OR, offer_both
from introspect.rules._base import Rule
from introspect.rules._code import MOST_LINES, is_own_loop, write_items, write_recompile
from introspect.rules._groups import shorten
from introspect.rules._helpers import find_parts, tell_parts, write_parts
from introspect.rules._lists import explain_lists, name_read
from introspect.rules._stale import name_origin
from introspect.rules._steps import op_step, write_steps
from introspect.rules._wording import agree, count, name_some, place

MOST_READS = 50
"""Variables whose place in the user's code is looked up."""


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for those that do not train, one for those that an old step goes on training, one for those in a list."""
    current = facts.current
    if current is None or facts.capture.model.keras == "none":
        return
    trained: list[int] = []
    listed: list[int] = []
    for index in _list_meant(facts):
        if current.updates(index):
            (listed if facts.capture.variables[index].asked else trained).append(index)
    still = [index for index in list_untracked(facts, current) if facts.may_reach_loss(index)]
    if still:
        yield _report_still(facts, current, still)
    if trained and not _trains_by_design(facts, current):
        yield _report_trained(facts, current, trained)
    if listed and not _trains_by_design(facts, current):
        yield _report_listed(facts, listed)


def list_untracked(facts: Facts, current: TraceEvidence) -> list[int]:
    """Variables that were made to train, that the forward pass reads and the model does not track, and that stand still."""
    return [
        index
        for index in _list_meant(facts)
        if index in current.forward and not current.updates(index) and not facts.moves_otherwise(current, index)
    ]


def _list_meant(facts: Facts) -> list[int]:
    """Variables that were made to train and that the model does not track; a whole number, which never trains, is none."""
    loose = ((i, one, row) for i, one, row in facts.pairs if one.role == "untracked" and not is_whole(one))
    return [i for i, _, row in loose if row.trainable and row.expected]


def _trains_by_design(facts: Facts, current: TraceEvidence) -> bool:
    """A step of the user's own may train what it likes."""
    return facts.capture.model.custom_train_step or is_own_loop(current)


def _report_still(facts: Facts, current: TraceEvidence, still: list[int]) -> Finding:
    paths, number = facts.paths_of(still), len(still)
    severity: Severity = "info" if is_own_loop(current) else "warning"
    cause, fix = _explain(facts, current, still)
    if facts.lists_untracked(still):
        cause = f"{cause} {explain_lists(facts, still, held=False)}"
    return RULE.finding(
        severity=severity,
        variables=paths,
        layers=(),
        message=(
            f"The step uses {count(number, 'variable')} that {agree(number, 'was', 'were')} made to be trained and that "
            f"the model does not track, so {agree(number, 'it does', 'they do')} not train: {name_some(paths)}."
        ),
        cause=cause,
        fix=fix,
        evidence=tuple(
            op_step(facts, current, current.reads[i][0], f"reads {facts.capture.variables[i].path}")
            for i in still[:3]
            if current.reads.get(i)
        ),
    )


def _explain(facts: Facts, current: TraceEvidence, still: list[int]) -> tuple[str, str]:
    """A bare tf.Variable, a layer of the other Keras, or a layer that stands where Keras does not look."""
    layers = facts.layers_of(still)
    node = next((current.reads[index][0] for index in still if current.reads.get(index)), None)
    used = _write_places(facts, current, still)
    tf_keras = facts.capture.model.keras == "tf_keras"
    if node is not None and _stands_in_loss(facts, current, node):
        return _explain_net(facts, layers, used) if layers else _explain_loss(facts, still, used)
    if (
        not layers
        and node is not None
        and facts.is_replayed(current, current.flow.function(node), current.flow.name(node))
    ):
        within = facts.tree.by_path.get(facts.layer_of_node(current, node) or "")
        if within is not None and within.class_name not in ("Lambda", "Functional", "Sequential"):
            return _explain_dropped(facts, still, within.path)
        return _explain_operand(facts, still)
    if not layers:
        return _explain_bare(facts, still, used)
    named = f"{agree(len(layers), 'layer', 'layers')} {name_some([shorten(facts, layer) for layer in layers])}"
    if facts.capture.model.keras == "keras" and all(path.endswith(":0") for path in facts.paths_of(still)):
        return (
            f"The variables belong to {named}{used}, made by tf_keras; a model of Keras 3 does not see layers of tf_keras.",
            "# make the layer with keras.layers (Keras 3), not tf_keras.layers",
        )
    if all(layer in facts.tree.by_path for layer in layers):
        return (
            f"The variables belong to {named}{used}, which the model holds and which does not give them among its weights: its "
            "class overrides trainable_weights, or weights.",
            "# freeze by the flag, and leave trainable_weights as Keras has it:\nlayer.trainable = False",
        )
    seen, unseen = (
        ("lists, tuples and dicts", "a set")
        if tf_keras
        else ("lists, tuples, dicts and sets", "an item put into a list later")
    )
    wrapped = _name_lambda(facts, current, node)
    held = write_held([layer.rpartition("/")[2] for layer in layers], "calls")
    stay = _STAY if _trains_by_design(facts, current) else ""
    if wrapped is not None:
        return (
            f"The variables belong to {named}, which the function of Lambda layer {wrapped} calls{used}: Keras does not look "
            "into functions.",
            offer_both(
                "# call the layer, or the model that it is of, directly, as a layer of the model and not in a Lambda",
                held,
            ),
        )
    if (parts := find_parts(facts, still)) is not None:
        return (
            f"The variables belong to {named}{used}, which {tell_parts(facts, parts)}.",
            f"{write_parts(facts, parts)}{stay}",
        )
    if is_own_loop(current):
        return (
            f"The variables belong to {named}{used}, which model {facts.capture.model.name} does not hold: they are of another "
            "net that the step calls and does not train, as a teacher or a target network; or they stand where Keras does not look.",
            f"{held}{stay}",
        )
    return (
        f"The variables belong to {named}{used}, which Keras does not see: it looks in the attributes of layers, and in "
        f"{seen} assigned to them. Not seen: {unseen}, a class attribute, a helper object, a layer made in call().",
        f"{held}{stay}",
    )


def _write_places(facts: Facts, current: TraceEvidence, still: list[int]) -> str:
    """Where the user's own code uses the variables, as far as the first of them tell."""
    flow, nodes = current.flow, [current.reads[index][0] for index in still if current.reads.get(index)]
    places = (place(facts.locate(current, flow.function(node), flow.name(node))) for node in nodes[:MOST_READS])
    named = [one for one in dict.fromkeys(places) if one]
    return f" (used at {name_some(named)})" if named else ""


_STAY = f"\n{OR}where it is to stay as it is, say so of the layer, or net:\nnet.trainable = False"
"""For steps of the user's own, which may use a net for its features alone."""


def _name_lambda(facts: Facts, current: TraceEvidence, node: int | None) -> str | None:
    """The Lambda layer that an op stands in."""
    path = None if node is None else facts.layer_of_node(current, node)
    layer = facts.tree.by_path.get(path or "")
    return shorten(facts, layer.path) if layer is not None and layer.class_name == "Lambda" else None


def _stands_in_loss(facts: Facts, current: TraceEvidence, node: int) -> bool:
    """Whether an op is of the loss given to compile, in a step of Keras' own, and no metric's."""
    if facts.capture.model.custom_train_step or is_own_loop(current) or not current.reaches(node, TO_BACKWARD):
        return False
    return facts.is_in_loss(current, current.flow.function(node), current.flow.name(node))


def _explain_loss(facts: Facts, still: list[int], used: str) -> tuple[str, str]:
    """Variables that the loss uses: centers of classes, learned weights of several losses."""
    name = facts.paths_of(still)[0].rpartition("/")[2].removesuffix(":0")
    word = re.sub(r"\W|^(?=\d)", "_", name)
    return (
        f"{name_some(facts.paths_of(still))}{used} {agree(len(still), 'is', 'are')} held by the loss, which has no weights that "
        "Keras trains: it trains those of the model's layers alone.",
        "# let a layer of the model hold it, and add the loss where it is called:\n"
        f"self.{word} = self.add_weight(shape=..., initializer=...)  # in build()\n"
        f"self.add_loss(loss(targets, outputs, self.{word}))  # in call(), with the targets as a further input\n"
        f"{OR}where it is set by hand, as the weight of a loss is, say that it does not train:\n"
        f"{word} = tf.Variable(..., trainable=False)",
    )


def _explain_net(facts: Facts, layers: Sequence[str], used: str) -> tuple[str, str]:
    """Layers that the loss calls, to compare features say: more often than not they are meant to stay as they are."""
    named = f"{agree(len(layers), 'layer', 'layers')} {name_some([shorten(facts, layer) for layer in layers])}"
    told = (
        f"The variables belong to {named}{used}, held by the loss, which has no weights that Keras trains: it trains those of the "
        "model's layers alone."
    )
    stay = "# where it is to stay as it is, say so of the layer, or net, that the loss holds:\nnet.trainable = False\n"
    refused = facts.capture.takes_no_layers
    if not refused:
        root = facts.tree.root
        functional = root is not None and root.class_name == "Functional"
        where = (
            "let the model hold it, before compile:\nmodel.net"
            if functional
            else "let the model hold it, in its __init__():\nself.net"
        )
        return told, f"{stay}{OR}where it is to train: {where} = net"
    return (
        f"{told} {refused[0].upper()}{refused[1:]} takes no layer from an attribute either.",
        f"{stay}{OR}where it is to train: let a layer of the model hold it, and add the loss where that is called:\n"
        "self.net = net  # in __init__()\n"
        "self.add_loss(loss(targets, outputs))  # in call(), with the targets as a further input",
    )


def _explain_operand(facts: Facts, still: list[int]) -> tuple[str, str]:
    """Variables that an operation on symbolic tensors takes: `keras.ops.multiply(inputs, variable)`."""
    paths = facts.paths_of(still)
    word = re.sub(r"\W|^(?=\d)", "_", paths[0].rpartition("/")[2].removesuffix(":0"))
    return (
        f"{name_some(paths)} {agree(len(still), 'is an operand', 'are operands')} of operations between the layers of a "
        "functional model, or of a Lambda in it: Keras keeps the operation, and does not see variables in it.",
        "# do it in the call() of a layer of your own, which holds the weight:\n"
        f"self.{word} = self.add_weight(shape=..., initializer=...)  # in build()",
    )


def _explain_dropped(facts: Facts, still: list[int], layer: str) -> tuple[str, str]:
    """Variables that a layer of Keras uses and that its own lists do not hold, or not any more."""
    paths = facts.paths_of(still)
    return (
        f"{name_some(paths)} {agree(len(still), 'is', 'are')} used by layer {shorten(facts, layer)}, which does not give "
        f"{agree(len(still), 'it', 'them')} among its weights: its lists of weights were changed by hand, and Keras trains, saves "
        "and loads what stands in them.",
        "# leave the lists of weights alone, and freeze by the flag:\nlayer.trainable = False",
    )


def _explain_bare(facts: Facts, still: list[int], used: str) -> tuple[str, str]:
    """Variables of no layer: a layer of tf_keras holds any of them, one of Keras 3 those of Keras 3 alone."""
    paths, parts = facts.paths_of(still), find_parts(facts, still)
    if parts is not None:
        return (
            f"{name_some(paths)}{used} {agree(len(still), 'is no weight', 'are no weights')} of a layer: "
            f"{agree(len(still), 'a bare variable', 'bare variables')} that {tell_parts(facts, parts)}.",
            write_parts(facts, parts),
        )
    raw = facts.capture.model.keras == "keras" and any(path.endswith(":0") for path in paths)
    holders = (
        "an attribute, a tf.Module, a function or a Lambda" if raw else "a function, a Lambda or an object of your own"
    )
    return (
        f"{name_some(paths)}{used} {agree(len(still), 'is no weight', 'are no weights')} of a layer: "
        f"{agree(len(still), 'a bare variable', 'bare variables')} that {holders} holds, which Keras does not see.",
        "# in a layer's build():\nself.w = self.add_weight(shape=..., initializer=...)"
        if raw
        else write_held([path.rpartition("/")[2].removesuffix(":0") for path in paths], "uses"),
    )


def write_held(names: Sequence[str], does: str) -> str:
    """Code of an `__init__` that holds layers or variables by their names: line by line, or in a list where they are many."""
    words = list(dict.fromkeys(re.sub(r"\W|^(?=\d)", "_", name) for name in names))
    it = agree(len(words), "it", "them")
    several = len(words) > MOST_LINES
    lines = [write_items("self.held = [", words, "]")] if several else [f"self.{word} = {word}" for word in words]
    where = (
        f"# in __init__, as {'a list in an attribute' if several else agree(len(words), 'an attribute', 'attributes')}"
    )
    return "\n".join([f"{where} of the layer or model that {does} {it}:", *lines])


def _report_trained(facts: Facts, current: TraceEvidence, trained: list[int]) -> Finding:
    paths, number = facts.paths_of(trained), len(trained)
    return RULE.finding(
        variables=paths,
        layers=(),
        message=(
            f"The step trains {count(number, 'variable')} that the model does not hold (any more): {name_some(paths)}."
        ),
        cause=(
            f"{current.trace.caller} goes on with a step that was traced{name_origin(current)} while the model still held "
            f"{agree(number, 'it', 'them')}; a layer that is taken out later (pop, a replaced attribute) goes on training."
        ),
        fix=write_recompile(facts),
        evidence=tuple(s for i in trained[:3] for s in write_steps(facts, current, i, current.gradient_writes(i)[:1])),
    )


def _report_listed(facts: Facts, listed: list[int]) -> Finding:
    paths, number = facts.paths_of(listed), len(listed)
    it = agree(number, "it", "them")
    return RULE.finding(
        severity="info",
        variables=paths,
        layers=(),
        message=f"The step trains {count(number, 'variable')} that the model does not track: {name_some(paths)}.",
        cause=(
            f"The class overrides {name_read(facts)}, which holds {it}, and Keras' own train_step asks that. No flag of a layer "
            f"reaches {it}, and save does not store {it}."
        ),
        fix=write_held([path.rpartition("/")[2].removesuffix(":0") for path in paths], "uses"),
    )


RULE = Rule("INT105", "untracked-variable", "warning", "proven", __doc__ or "", check)
