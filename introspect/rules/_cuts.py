"""Ops that end a gradient: what each does, and what to write instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.ways import Way
from introspect.facts import Facts
from introspect.graph.ops import FEEDS
from introspect.rules._places import is_numpy, name_op
from introspect.rules._wording import join, place

STRAIGHT_THROUGH = "y = h + tf.stop_gradient(hard(h) - h)  # the hard value forward, the soft gradient back"


@dataclass(frozen=True, slots=True)
class Cut:
    """Why an op type lets no gradient through, and what to do."""

    why: str
    mend: str


_INDEX = Cut(
    "yields indices, and these have no gradient", "# weigh by softmax instead of choosing, or:\n" + STRAIGHT_THROUGH
)
_DRAWN = Cut(
    "draws samples, and these have no gradient",
    "# let the loss hold the log probability of what was drawn, or draw by the Gumbel-softmax trick",
)
_FLAT = Cut("makes steps, and these have no slope", "# keep the gradient of what was rounded:\n" + STRAIGHT_THROUGH)
_TRUTH = Cut(
    "yields True or False, and these have no gradient", "# use a smooth gate (tf.sigmoid), or:\n" + STRAIGHT_THROUGH
)
_PYTHON = Cut(
    "runs Python, through which TensorFlow cannot differentiate",
    "# write it with TensorFlow's ops, or with tf.py_function around such ops, or with tf.custom_gradient",
)
_NUMPY = Cut(
    "holds values alone, through which no gradient goes back",
    "# keep the tensor, without .numpy(), on the way to the loss",
)
_ASSIGN = Cut(
    "stores the value in a variable, and what is read back carries no gradient of it",
    "# use the value that was assigned, not the variable, on the way to the loss",
)
_DATASET = Cut(
    "runs a loop over a data set, into which no gradient goes",
    "# put the tape inside of the loop, or loop over batches in Python or by tf.range",
)
_FED = Cut(
    "feeds the step with what a data set's map computes, through which no gradient goes",
    "# compute it in the step itself, on the way from the inputs to the loss",
)
_OTHER = Cut("has no gradient in TensorFlow", "# use an op that has one, or give it one with tf.custom_gradient")

OR_ZEROS = ", or only zeros"
_OWN = Cut(f"has a gradient of your own (tf.custom_gradient) that hands none back{OR_ZEROS}", "# return it from grad()")

CUTS: dict[str, Cut] = {
    "StopGradient": Cut("lets no gradient through by design", "# remove tf.stop_gradient, if it is not meant"),
    "PreventGradient": Cut("forbids a gradient", "# remove it"),
    **dict.fromkeys(("ArgMax", "ArgMin", "TopKV2", "TopK", "LowerBound", "UpperBound", "Where", "Bucketize"), _INDEX),
    **dict.fromkeys(("Multinomial", "StatelessMultinomial"), _DRAWN),
    **dict.fromkeys(("Unique", "UniqueV2", "MaxPoolWithArgmax"), _INDEX),
    **dict.fromkeys(("Round", "Rint", "Floor", "Ceil", "FloorDiv", "Trunc"), _FLAT),
    **dict.fromkeys(("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "IsNan", "IsFinite"), _TRUTH),
    **dict.fromkeys(("LogicalAnd", "LogicalOr", "LogicalNot", "All", "Any", "InTopKV2", "ApproximateEqual"), _TRUTH),
    **dict.fromkeys(("PyFunc", "PyFuncStateless"), _PYTHON),
    "EagerPyFunc": Cut(
        "gives integers or booleans to this way, and these have no gradient",
        "# let tf.py_function give back floats that were computed by TensorFlow's ops, or:\n" + STRAIGHT_THROUGH,
    ),
    **dict.fromkeys(("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"), _ASSIGN),
    **dict.fromkeys(("ReduceDataset", "ScanDataset"), _DATASET),
    **dict.fromkeys(FEEDS, _FED),
    "Cast": Cut(
        "casts to a type that has no gradient", "# keep floats on the way to the loss, or:\n" + STRAIGHT_THROUGH
    ),
    **dict.fromkeys(("IdentityN", "Identity"), _OWN),
}


def cut_at(current: TraceEvidence, node: int) -> Cut:
    """What is known of an op that ends a gradient."""
    return _NUMPY if is_numpy(current, node) else cut_of(current.flow.op_type(node))


def cut_of(op_type: str) -> Cut:
    """What is known of an op type that ends a gradient."""
    if op_type.startswith("ResourceScatter"):
        return _ASSIGN
    return CUTS.get(op_type, _OTHER)


def tell_cuts(
    facts: Facts, current: TraceEvidence, cuts: tuple[int, ...], path: Sequence[int] = (), written: bool = True
) -> str:
    """ "by ArgMax (…), which yields indices", the ops in their order; those of one line (an unrolled loop) once.

    What no op writes was not given zeros either: `written`.
    """
    why = {node: cut_at(current, node).why for node in cuts}
    ends = "" if written else OR_ZEROS
    told = (f"by {name_op(facts, current, node, path)}, which {why[node].removesuffix(ends)}" for node in cuts)
    return "; then ".join(dict.fromkeys(told))


def pick_cuts(facts: Facts, current: TraceEvidence, way: Way) -> tuple[list[int], list[int]]:
    """(the cuts of a way, those of others): one for each name that they are told by, the line of a call that runs often."""
    cuts = {name_op(facts, current, node, way.path): node for node in reversed(way.cuts)}
    others = {name_op(facts, current, node): node for node in reversed(facts.other_cuts(way))}
    first = [node for node in way.cuts if node in cuts.values()]
    return first, [node for name, node in reversed(others.items()) if name not in cuts]


def mend_cuts(facts: Facts, current: TraceEvidence, cuts: tuple[int, ...]) -> str:
    """What to write instead, each advice once, with the lines that it is for."""
    lines: dict[str, list[str]] = {}
    for node in cuts:
        flow = current.flow
        line = place(facts.locate_written(current, flow.function(node), flow.name(node)))
        lines.setdefault(cut_at(current, node).mend, []).extend([line] if line else [])
    return "\n".join(_begin(mend, list(dict.fromkeys(found))) for mend, found in lines.items())


def _begin(mend: str, lines: Sequence[str]) -> str:
    return f"# at {join(lines)}: {mend.removeprefix('# ')}" if lines else mend
