"""One run of a concrete function on copies of all that it writes.

A copy shares its buffer with the original until one of them is written, so that only what the step writes costs memory,
once more each. The function runs under a name of its own: its kernels, and with them the state of seeded random ops,
are not those of the user's step.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from introspect.capture.variables import VariableTable, list_copies, unwrap_variable
from introspect.errors import StepError, VersionError

if TYPE_CHECKING:
    from introspect.capture.measurement.bulk import Copier

NOISE = re.compile(r"\{\{[^}]*\}\}|^\s*(?:\(\d+\)\s*)?(?:[A-Z_]+:\s)?|^Graph execution error:|^Detected at node.*")
"""What TensorFlow puts around the reason of an error."""

_NUMBERS = itertools.count()

HARMLESS = frozenset(
    {
        "Placeholder", "_Arg", "_Retval", "VarHandleOp", "GuaranteeConst", "Assert", "CheckNumerics", "CheckNumericsV2",
        "PartitionedCall", "StatefulPartitionedCall", "If", "Case", "While", "XlaLaunch", "XlaCallModule",
        "IteratorGetNext", "IteratorGetNextSync", "IteratorGetNextAsOptional", "MultiDeviceIteratorGetNextFromShard",
        "LookupTableFindV2", "LookupTableSizeV2", "Empty", "TemporaryVariable", "Timestamp", "RandomShuffle",
        "StackV2", "StackPushV2", "StackPopV2", "StackCloseV2", "Multinomial", "TruncatedNormal", "SummaryWriter",
        "ParameterizedTruncatedNormal", "SampleDistortedBoundingBox", "SampleDistortedBoundingBoxV2", "CrossReplicaSum",
        "DeviceIndex", "IsResourceHandleRefCounting", "StatelessRandomGetAlg", "AllToAll",
    }
)  # fmt: skip
"""Ops that TensorFlow calls stateful and that leave nothing outside of the step, or that the caller feeds."""

HARMLESS_BEGINNINGS = ("Random", "TensorArray", "Collective", "Nccl", "_Nccl", "CudnnRNN")


def find_obstacle(nodes: Iterable[Any], ignored: frozenset[str]) -> str | None:
    """The first op that does more than write variables, as `name (type)`: a run on copies would not undo it."""
    from introspect.graph.ops import PYTHON_OPS, effect_of

    known: dict[str, bool] = {}
    for node in nodes:
        op = node.op
        if op not in known:
            known[op] = op not in ignored and effect_of(op) is None and (op in PYTHON_OPS or not is_harmless(op))
        if known[op]:
            return f"{node.name!r} ({op})"
    return None


def is_harmless(op: str) -> bool:
    """Whether an op of this type has no state, or none that outlives the step. Seen on TensorFlow 2.19 to 2.21."""
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(op)
    if definition is None or not definition.is_stateful:
        return True  # a function of the library, or an op without state
    return op in HARMLESS or op.startswith(HARMLESS_BEGINNINGS)


@dataclass
class Shadows:
    """Copies of variables, by (variable, replica)."""

    handles: dict[tuple[int, int], Any] = field(default_factory=dict)
    originals: dict[tuple[int, int], Any] = field(default_factory=dict)
    others: dict[int, Any] = field(default_factory=dict)
    """Handles of variables that got another value, by the identity of the original's."""

    def make(self, table: VariableTable, places: Iterable[tuple[int, int]], copier: Copier | None = None) -> None:
        """Copy the variables that are initialized: by a copier made for just these, or one after another."""
        found = find_copies(table, places)
        variables = list(found.values())
        handles = copier.copy(variables) if copier is not None else None
        self.originals.update(found)
        self.handles.update(zip(found, handles or map(copy_variable, variables), strict=True))

    def substitute(self, table: VariableTable, inputs: Sequence[Any]) -> list[Any]:
        """The inputs of a function with handles of copies in the place of their originals'."""
        return [self._stand_in(table, tensor) for tensor in inputs]

    def _stand_in(self, table: VariableTable, tensor: Any) -> Any:
        if id(tensor) in self.others:
            return self.others[id(tensor)]
        found = table.find_handle(tensor) if tensor.dtype.name == "resource" else None
        return tensor if found is None else self.handles.get(found, tensor)

    def read(self, place: tuple[int, int]) -> tuple[Any, Any]:
        """(value before, value after) of one variable; the first shares the original's buffer."""
        original = self.originals[place]
        return read_handle_value(original.handle, original.dtype), read_handle_value(
            self.handles[place], original.dtype
        )

    def replace(self, variable: Any, value: Any) -> None:
        """Let a variable that is no row have another value in the run."""
        import tensorflow as tf

        copy = copy_variable(variable)
        tf.raw_ops.AssignVariableOp(resource=copy, value=value)
        self.others[id(variable.handle)] = copy


def read_handle_value(handle: Any, dtype: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=dtype)


def find_copies(table: VariableTable, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    """The tf.Variable at each (variable, replica) that there is."""
    found = {}
    for index, replica in places:
        copies = list_copies(unwrap_variable(table.objects[index]))
        if replica < len(copies):
            found[index, replica] = copies[replica]
    return found


def copy_variable(variable: Any) -> Any:
    """Handle of an anonymous variable with the same value on the same device; freed when nobody holds it."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    handle = variable.handle
    with tf.device(handle.device):
        copy = tf.raw_ops.VarHandleOp(
            dtype=variable.dtype, shape=variable.shape, shared_name=context.anonymous_name(), container=""
        )
        if tf.raw_ops.VarIsInitializedOp(resource=handle):  # else the step may ask
            tf.raw_ops.AssignVariableOp(resource=copy, value=read_handle_value(handle, variable.dtype))
    return copy


class Library:
    """Functions registered with TensorFlow's runtime for a while. Seen on TensorFlow 2.19 to 2.21."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def add(self, functions: Iterable[Any]) -> None:
        """Register FunctionDefs."""
        try:
            from tensorflow.python.eager import context

            for function in functions:
                context.context().add_function_def(function)
                self._names.append(function.signature.name)
        except (ImportError, AttributeError) as error:
            raise VersionError(f"cannot register a function ({error}); seen on TensorFlow 2.19 to 2.21") from None

    def close(self) -> None:
        """Remove them, and the kernels that were made for them."""
        from tensorflow.python.eager import context

        for name in reversed(self._names):
            context.context().remove_function(name)
        self._names.clear()

    def __enter__(self) -> Library:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unique_suffix() -> str:
    """Part of a function's name that no other has in this process."""
    return f"_introspect_{next(_NUMBERS)}"


def run_function(name: str, inputs: Sequence[Any], outputs: int) -> list[Any]:
    """Run a registered function as TensorFlow runs any other, with the options of this thread. Seen on 2.19 to 2.21.

    Raises:
        tf.errors.OpError: the run failed.
    """
    from tensorflow.python.eager import context

    return list(context.context().call_function(name.encode(), list(inputs), outputs) or ())


def call_by_name(name: str, inputs: Sequence[Any], outputs: int) -> list[Any]:
    """Run a registered step.

    Raises:
        StepError: the run failed.
    """
    import tensorflow as tf

    try:
        return run_function(name, inputs, outputs)
    except tf.errors.OpError as error:
        reason = explain(str(error.message))
        raise StepError(f"the step failed on a copy: {reason}") from error


def explain(message: str) -> str:
    """The first line of a runtime error that says something, without the runtime's own marks."""
    lines = (NOISE.sub("", line).strip() for line in message.splitlines())
    return next((line for line in lines if line and "root error(s)" not in line), "no reason given")
