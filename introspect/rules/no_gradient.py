"""A trainable variable that no gradient reaches.

What it does
    Names variables whose flags say that they train and that get no gradient even from a step traced now, and says
    whether the step reads them, whether their value reaches the loss, and which op cuts the gradient.

Why it matters
    Keras warns once, while it traces, and says "no loss?"; the variable stays as it was initialised.

Cause
    The forward pass does not read the variable; or what it computes does not reach the loss; or an op without gradient
    (stop_gradient, argmax, rounding, a cast to integers, a comparison, Python) cuts every way; or the train step takes
    no gradient for it.

Fix
    Remove the cut, use the output in the loss, or freeze the variable so that the flags say what is so.

Example
    h = keras.layers.Lambda(tf.stop_gradient)(encoder(x))    # the encoder gets no gradient
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.ways import Way
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._steps import op_step
from introspect.rules._wording import agree, count, name_some, of_layers


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each cause: each cut, each unused output."""
    current = facts.current
    if current is None:
        return
    groups: dict[tuple[object, ...], list[int]] = {}
    for index in facts.without_gradient:
        way = facts.way_to_loss(index)
        if way.open and current.trace.source == "compiled":
            continue
        groups.setdefault((way.kind, way.cuts), []).append(index)
    for indices in groups.values():
        yield _report(facts, current, indices, facts.way_to_loss(indices[0]))


def _report(facts: Facts, current: TraceEvidence, indices: list[int], way: Way) -> Finding:
    paths, layers = facts.paths_of(indices), facts.layers_of(indices)
    number = len(indices)
    cause, fix = _explain(facts, current, way, indices)
    return Finding(
        rule=RULE.id,
        name=RULE.name,
        severity="warning",
        certainty="proven" if way.kind != "unclear" else "likely",
        variables=paths,
        layers=layers,
        message=(
            f"No gradient reaches {count(number, 'trainable variable')}{of_layers(layers)}, so "
            f"{agree(number, 'it does', 'they do')} not train: {name_some(paths)}."
        ),
        cause=cause,
        fix=fix,
        evidence=tuple(_evidence(facts, current, indices, way)),
    )


def _explain(facts: Facts, current: TraceEvidence, way: Way, indices: list[int]) -> tuple[str, str]:
    if way.kind == "cut":
        return _explain_cut(facts, current, way)
    if way.kind == "open":
        if not all(facts.capture.variables[i].watched for i in indices):
            return (
                "They were created with trainable=False, so no tape watches them, whatever their flag says now.",
                "create the weights with trainable=True, and freeze them by their flag",
            )
        return (
            "Their value reaches the loss by differentiable ops; the train step takes no gradient for them.",
            "in train_step, take gradients for self.trainable_variables, with the forward pass inside the tape",
        )
    return _TEXTS[way.kind]


_TEXTS = {
    "unread": (
        "The training step does not read them: the layer is not called on the way from the inputs to the loss.",
        "call the layer, remove it, or set its trainable = False",
    ),
    "unused": (
        "The step reads them, but what is computed from them does not reach the loss.",
        "give this output a loss (or add_loss), or set trainable = False for the layers that only it uses",
    ),
    "unclear": (
        "No gradient is computed for them; the graph does not show why.",
        "check that the forward pass stands inside the tape and that the loss depends on these layers",
    ),
}


def _explain_cut(facts: Facts, current: TraceEvidence, way: Way) -> tuple[str, str]:
    flow = current.flow
    named = []
    for node in way.cuts:
        place = facts.locate(current, flow.function(node), flow.name(node))
        named.append(f"{flow.op_type(node)} ({flow.name(node)}{f', {place}' if place else ''})")
    ops = " and ".join(named)
    return (
        f"Every way from them to the loss is cut: {ops} {agree(len(named), 'lets', 'let')} no gradient through.",
        f"replace or remove {' and '.join(dict.fromkeys(flow.op_type(n) for n in way.cuts))}, or freeze what lies before it",
    )


def _evidence(facts: Facts, current: TraceEvidence, indices: list[int], way: Way) -> Iterator[EvidenceStep]:
    for node in way.cuts:
        yield op_step(facts, current, node, "cuts the gradient", facts.layer_of_node(current, node))
    for index in indices[:2]:
        reads = current.reads.get(index, ())
        if reads:
            yield op_step(facts, current, reads[0], f"reads {facts.capture.variables[index].path}")


RULE = Rule("INT104", "no-gradient", "warning", "proven", __doc__ or "", check)
