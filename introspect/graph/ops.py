"""What each op type does to variables and to gradients: a table with a conservative default.

A new op goes here and nowhere else. Facts are those of TensorFlow's op definitions and gradient registry (2.21).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MERGE = "_Merge"
"""Joins the values of branches, or a loop variable's start with what the body hands back."""

Effect = Literal["read", "assign", "update", "scatter", "apply", "sparse-apply", "touch"]


@dataclass(frozen=True, slots=True)
class Call:
    """An op that runs functions of the library: which attributes name them, and how its inputs reach them."""

    kind: Literal["call", "branch", "while", "dataset", "feed"]
    attributes: tuple[str, ...]
    skip_inputs: int = 0
    """Leading inputs that are not arguments: a branch's predicate."""


FEEDS = frozenset(
    {
        "MapDataset",
        "ParallelMapDataset",
        "ParallelMapDatasetV2",
        "MapAndBatchDataset",
        "FlatMapDataset",
        "InterleaveDataset",
        "ParallelInterleaveDatasetV2",
        "ParallelInterleaveDatasetV3",
        "ParallelInterleaveDatasetV4",
    }
)
"""Ops that make a data set of another by a function of its elements."""

CALLS: dict[str, Call] = {
    "PartitionedCall": Call("call", ("f",)),
    "StatefulPartitionedCall": Call("call", ("f",)),
    "XlaLaunch": Call("call", ("function",)),
    "RemoteCall": Call("call", ("f",), skip_inputs=1),
    "If": Call("branch", ("then_branch", "else_branch"), skip_inputs=1),
    "StatelessIf": Call("branch", ("then_branch", "else_branch"), skip_inputs=1),
    "Case": Call("branch", ("branches",), skip_inputs=1),
    "StatelessCase": Call("branch", ("branches",), skip_inputs=1),
    "While": Call("while", ("cond", "body")),
    "StatelessWhile": Call("while", ("cond", "body")),
    "ReduceDataset": Call("dataset", ("f",)),
    "ScanDataset": Call("dataset", ("f",)),
    **dict.fromkeys(FEEDS, Call("feed", ("f",))),
    **dict.fromkeys(("FilterDataset", "TakeWhileDataset"), Call("feed", ("predicate",))),
}

_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "ReadVariableXlaSplitND")
_UPDATES = ("AssignAddVariableOp", "AssignSubVariableOp", "ResourceCountUpTo")
_RANDOM_STATE = (
    "StatefulUniform",
    "StatefulUniformFullInt",
    "StatefulUniformInt",
    "StatefulStandardNormal",
    "StatefulStandardNormalV2",
    "StatefulTruncatedNormal",
    "StatefulRandomBinomial",
    "RngReadAndSkip",
    "RngSkip",
    "NonDeterministicInts",
)
_TOUCHES = (
    "VarIsInitializedOp",
    "VariableShape",
    "DestroyResourceOp",
    "DisableCopyOnRead",
    "LookupTableSizeV2",
    "IsVariableInitialized",
)

_EFFECTS: dict[str, Effect] = {
    **dict.fromkeys(_READS, "read"),
    **dict.fromkeys(_UPDATES, "update"),
    **dict.fromkeys(_RANDOM_STATE, "update"),
    **dict.fromkeys(_TOUCHES, "touch"),
    "AssignVariableOp": "assign",
    "AssignVariableXlaConcatND": "assign",
    "ResourceStridedSliceAssign": "update",
}


def effect_of(op_type: str) -> Effect | None:
    """How an op uses the variables among its inputs; None where it uses none that the table knows."""
    known = _EFFECTS.get(op_type)
    if known is not None:
        return known
    if op_type.startswith("ResourceScatter"):
        return "scatter"
    if op_type.startswith(("ResourceSparseApply",)):
        return "sparse-apply"
    if op_type.startswith("ResourceApply"):
        return "apply"
    return None


PASS_RESOURCE = frozenset(
    {"Identity", "IdentityN", MERGE, "Switch", "RefSwitch", "Merge", "Enter", "Exit", "NextIteration"}
)
"""Ops that hand a resource on unchanged."""

PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
"""Ops that run Python: what they do inside is not in the graph."""

THROUGH_NUMPY = "_introspect_numpy"
"""Attribute of an op that stands for numpy: an eager step took a value out of the graph and gave back what it made of it."""

INPUTS = frozenset(
    {"IteratorGetNext", "IteratorGetNextSync", "IteratorGetNextAsOptional", "Placeholder", "Arg", "_Arg"}
)
"""Ops that bring the step's data in."""

REDUCTIONS = frozenset({"Sum", "Mean", "Max", "Min", "Prod", "All", "Any", "L2Loss", "EuclideanNorm"})
"""Ops that can turn a whole tensor into one number."""

SUMS = frozenset({"Add", "AddV2", "AddN", "Sub"})
"""Ops that add whole tensors."""

SIZES = frozenset({"Shape", "ShapeN", "VariableShape", "Size", "Rank"})
"""Ops that yield sizes: no value and no gradient goes through them."""

ELEMENTWISE = frozenset(
    {
        "Identity", "IdentityN", MERGE, "Cast", "Mul", "Sub", "AddV2", "Add", "AddN", "Neg", "RealDiv", "Div", "DivNoNan",
        "MulNoNan", "Pow", "Sqrt", "Rsqrt", "Square", "Reciprocal", "Maximum", "Minimum", "Exp", "Log", "SelectV2", "Select",
        "Where", "Sign", "Abs", "ReadVariableOp", "Reshape", "StopGradient", "NoOp", "ClipByValue", "Fill", "BroadcastTo",
        "ZerosLike", "OnesLike", "Xdivy", "Xlogy", "FloorMod", "FloorDiv", "Less", "LessEqual", "Greater", "GreaterEqual",
        "Equal", "NotEqual", "LogicalAnd", "LogicalOr", "LogicalNot", "Tanh", "Cos", "Floor", "PreventGradient", "Sigmoid",
        "ExpandDims", "Squeeze", "Pack", "StridedSlice", "ReduceDataset", "ScanDataset",
    }
)  # fmt: skip
"""Ops of hyperparameter arithmetic: what weight decay, averages and schedules are made of."""
