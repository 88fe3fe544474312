"""Ops that end a gradient: what each does, and what to write instead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.rules._groups import shorten
from introspect.rules._wording import place

STRAIGHT_THROUGH = "y = h + tf.stop_gradient(hard(h) - h)  # the hard value forward, the soft gradient back"

MOST_FOLLOWED = 200
"""Ops that are asked for their layer, on the search for the one that follows a cut."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Why an op type lets no gradient through, and what to do."""

    why: str
    mend: str


_INDEX = Cut(
    "yields indices, and these have no gradient", "# weigh by softmax instead of choosing, or:\n" + STRAIGHT_THROUGH
)
_FLAT = Cut("makes steps, and these have no slope", "# keep the gradient of what was rounded:\n" + STRAIGHT_THROUGH)
_TRUTH = Cut(
    "yields True or False, and these have no gradient", "# use a smooth gate (tf.sigmoid), or:\n" + STRAIGHT_THROUGH
)
_PYTHON = Cut(
    "runs Python, through which TensorFlow cannot differentiate",
    "# write it with TensorFlow's ops, or with tf.py_function around such ops, or with tf.custom_gradient",
)
_ASSIGN = Cut(
    "stores the value in a variable, and what is read back carries no gradient of it",
    "# use the value that was assigned, not the variable, on the way to the loss",
)
_OTHER = Cut("has no gradient in TensorFlow", "# use an op that has one, or give it one with tf.custom_gradient")

CUTS: dict[str, Cut] = {
    "StopGradient": Cut("lets no gradient through by design", "# remove tf.stop_gradient here, if it is not meant"),
    "PreventGradient": Cut("forbids a gradient", "# remove it"),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopKV2", "TopK", "LowerBound", "UpperBound", "Where", "Bucketize"), _INDEX),
    **dict.fromkeys(("Multinomial", "StatelessMultinomial", "Unique", "UniqueV2", "MaxPoolWithArgmax"), _INDEX),
    **dict.fromkeys(("Round", "Rint", "Floor", "Ceil", "FloorDiv", "Trunc"), _FLAT),
    **dict.fromkeys(("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "IsNan", "IsFinite"), _TRUTH),
    **dict.fromkeys(("LogicalAnd", "LogicalOr", "LogicalNot", "All", "Any", "InTopKV2", "ApproximateEqual"), _TRUTH),
    **dict.fromkeys(("PyFunc", "PyFuncStateless"), _PYTHON),
    "EagerPyFunc": Cut(
        "gives integers or booleans to this way, and these have no gradient",
        "# let tf.py_function give back floats that were computed by TensorFlow's ops, or:\n" + STRAIGHT_THROUGH,
    ),
    **dict.fromkeys(("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"), _ASSIGN),
    "Cast": Cut(
        "casts to a type that has no gradient", "# keep floats on the way to the loss, or:\n" + STRAIGHT_THROUGH
    ),
    "IdentityN": Cut("has a gradient of your own (tf.custom_gradient) that hands none back", "# return it from grad()"),
    "Identity": Cut("has a gradient of your own (tf.custom_gradient) that hands none back", "# return it from grad()"),
}


def cut_of(op_type: str) -> Cut:
    """What is known of an op type that ends a gradient."""
    if op_type.startswith("ResourceScatter"):
        return _ASSIGN
    return CUTS.get(op_type, _OTHER)


def find_neighbours(facts: Facts, current: TraceEvidence, node: int, path: Sequence[int]) -> str:
    """ "between layers enc and head": what stands before and after an op on the way, where the op is in no layer."""
    if node not in path:
        return ""
    back = path[: path.index(node)][::-1]
    before, after = (
        next((layer for one in nodes if (layer := _inner_layer(facts, current, one))), None)
        for nodes in (back, _follow(current, node))
    )
    if before and after:
        return f"between layers {before} and {after}"
    return f"after layer {before}" if before else f"before layer {after}" if after else ""


def _follow(current: TraceEvidence, node: int) -> Iterator[int]:
    """Forward ops that use what an op gives, the nearest first."""
    edges, seen, queue = current.edges, {node}, deque([node])
    while queue and len(seen) < MOST_FOLLOWED:
        for port in edges.outputs[queue.popleft()]:
            for reader in edges.readers[port]:
                if reader not in seen and not current.marked[reader]:
                    seen.add(reader)
                    queue.append(reader)
                    yield reader


def _inner_layer(facts: Facts, current: TraceEvidence, node: int) -> str | None:
    """The layer below the model that holds the op."""
    path = facts.layer_of_node(current, node)
    outermost = facts.tree.root.path if facts.tree.root is not None else None
    return shorten(facts, path) if path is not None and path != outermost else None


def name_op(facts: Facts, current: TraceEvidence, node: int, path: Sequence[int] = ()) -> str:
    """ "ArgMax (train.py:41, in layer route)", or "ArgMax (m/ArgMax, between layers enc and head)"."""
    flow = current.flow
    layer = _inner_layer(facts, current, node)
    line = place(facts.locate(current, flow.function(node), flow.name(node)))
    inside = f"in layer {layer}" if layer else "" if line else find_neighbours(facts, current, node, path)
    told = ", ".join(part for part in (line or ("" if layer else flow.name(node)), inside) if part)
    return f"{flow.op_type(node)} ({told})"


def note_cut(facts: Facts, current: TraceEvidence, node: int, path: Sequence[int]) -> str:
    """What the evidence says of a cut; where nothing tells the line, why that is."""
    said = "cuts the gradient"
    if facts.locate(current, current.flow.function(node), current.flow.name(node)) is not None:
        return said
    if _inner_layer(facts, current, node) is not None:
        return said
    near = find_neighbours(facts, current, node, path)
    return f"{said}, {near}; of an operation that stands between layers Keras keeps no line" if near else said


def tell_cuts(facts: Facts, current: TraceEvidence, cuts: tuple[int, ...], path: Sequence[int] = ()) -> str:
    """ "by ArgMax (…), which yields indices", the ops in their order."""
    return "; then ".join(
        f"by {name_op(facts, current, node, path)}, which {cut_of(current.flow.op_type(node)).why}" for node in cuts
    )


def mend_cuts(current: TraceEvidence, cuts: tuple[int, ...]) -> str:
    """What to write instead, each advice once."""
    return "\n".join(dict.fromkeys(cut_of(current.flow.op_type(node)).mend for node in cuts))
