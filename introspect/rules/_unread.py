"""A variable that no op of the step reads: where it is left out."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.gradients import targets_of
from introspect.facts import Facts
from introspect.graph.ops import PYTHON_OPS
from introspect.graph.walk import select_nodes
from introspect.rules._code import is_own_loop
from introspect.rules._groups import shorten
from introspect.rules._places import name_op
from introspect.rules._wording import agree, name_some


def explain_unread(facts: Facts, current: TraceEvidence, indices: Sequence[int]) -> tuple[str, str]:
    """Why the step does not read them, and what reads them, without the remedy of freezing."""
    layer = facts.capture.variables[indices[0]].layer or ""
    it = agree(len(indices), "it", "them")
    if facts.is_called(layer):
        return _explain_called(facts, current, layer, it)
    outer = facts.outermost_uncalled(layer)
    if facts.capture.fed.issuperset(indices):
        return explain_fed(facts, outer, it)
    fix = "# call it on the way from the inputs to the loss, or remove it"
    beside = _list_read_beside(facts, current, layer)
    if beside:
        left = name_some(facts.paths_of(indices))
        told = (
            f"Layer {shorten(facts, layer)} is not called: the step takes {name_some(beside)} from it, and not {left}."
        )
        return told, "# use it there too, or make the layer without it (use_bias=False)"
    if not outer:
        return f"The training step does not read {it}.", fix
    told = f"The training step runs nothing of layer {shorten(facts, outer)}: it is not called"
    if outer != layer or facts.tree.by_path[outer].parent not in (None, getattr(facts.tree.root, "path", None)):
        told += ", or a call() takes another branch (a Python if, or a random number, is decided once, when the step is traced)"
    return f"{told}.{_doubt_python(facts, current)}", fix


def explain_fed(facts: Facts, outer: str, it: str) -> tuple[str, str]:
    """Of what only the function of a data set uses; `outer`: the path of the layer that it runs."""
    ran = f"runs layer {shorten(facts, outer)}" if outer else f"uses {it}"
    return (
        f"The data set {ran} (Dataset.map), and the training step does not: what is computed there comes as data, through "
        "which no gradient goes.",
        "# where it is to train, call it in the model, on the way from the inputs to the loss",
    )


def _doubt_python(facts: Facts, current: TraceEvidence) -> str:
    """What Python inside the step may do past the graph; nothing where the step runs none."""
    node = next(iter(list_python(facts, current)), None)
    return (
        "" if node is None else f" (Or Python that runs inside the step may use it: {name_op(facts, current, node)}.)"
    )


def list_copied(facts: Facts, current: TraceEvidence, indices: Sequence[int]) -> list[str]:
    """Variables that are written with a value made of these, where the step does not call the layer of any of these."""
    if any(facts.is_called(facts.capture.variables[index].layer or "") for index in indices):
        return []
    targets = targets_of(current, indices).difference(indices)
    variables = facts.capture.variables
    return [variables[index].path for index in sorted(targets) if variables[index].role in ("model", "untracked")]


def only_copies(current: TraceEvidence) -> bool:
    """Whether a function of the user's own takes no gradient, as one does that keeps a target network."""
    return is_own_loop(current) and not any(current.marked)


def explain_copied(
    facts: Facts, current: TraceEvidence, indices: Sequence[int], copied: Sequence[str]
) -> tuple[str, str]:
    """Why variables do not train that are read for the sake of others: an average that goes the wrong way, or the step of one."""
    it, outer = (
        agree(len(indices), "it", "them"),
        facts.outermost_uncalled(facts.capture.variables[indices[0]].layer or ""),
    )
    ran = f"runs nothing of layer {shorten(facts, outer)} and " if outer else ""
    if only_copies(current):
        return (
            f"{current.trace.caller} takes no gradient at all: it reads {it} only to write other variables: {name_some(copied)}.",
            "Nothing, where another function trains them: that one can be inspected too.",
        )
    return (
        f"The training step {ran}reads {it} only to write other variables: {name_some(copied)}.",
        "# call it on the way from the inputs to the loss; or, where it should follow the others (an average, a target "
        "network), assign to it and not from it",
    )


def _list_read_beside(facts: Facts, current: TraceEvidence, layer: str) -> list[str]:
    """Variables of a layer that the forward pass reads though the layer is not called."""
    return [
        one.path
        for index, one in enumerate(facts.capture.variables)
        if one.role == "model" and layer in one.owners and index in current.forward
    ]


def _explain_called(facts: Facts, current: TraceEvidence, layer: str, it: str) -> tuple[str, str]:
    ran = f"The step runs layer {shorten(facts, layer)}, and does not read {it}"
    node = next(iter(list_python(facts, current, layer)), None)
    if node is None:
        return (
            f"{ran}: its call() uses something else, for example an attribute that was replaced, or a constant that was "
            "made of the value once (.numpy()).",
            "# use the weight itself in call()",
        )
    return (
        f"{ran} by an op of the graph. Python that runs inside the step may read {it}, at "
        f"{name_op(facts, current, node)}; what such Python takes by itself, not as an argument, gets no gradient.",
        "# hand the weight over as an argument, to ops of TensorFlow:\n"
        "tf.py_function(function, [inputs, self.w], Tout=tf.float32)",
    )


def list_python(facts: Facts, current: TraceEvidence, layer: str | None = None) -> list[int]:
    """Ops of a forward pass that run Python: a layer's, or all."""
    nodes: list[int] = select_nodes(current.flow, PYTHON_OPS).tolist()
    forward = (one for one in nodes if not current.marked[one])
    return [one for one in forward if layer is None or facts.layer_of_node(current, one) == layer]
