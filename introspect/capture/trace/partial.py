"""The part of a step that is made so far, run on copies of what it writes: how a value in the middle of a trace is had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from introspect.capture.measurement.instrument import SILENCED
from introspect.capture.measurement.shadow import (
    Library,
    call_by_name,
    copy_variable,
    find_obstacle,
    read_handle_value,
    unique_suffix,
)
from introspect.capture.measurement.taps import name_in_function
from introspect.errors import StepError
from introspect.graph.ops import effect_of

MOST = 200
"""How often a step is run up to somewhere."""

MOST_COPIES = 3
"""Identities between a variable's read and what Python has of it."""


class PartialStep:
    """A graph that is being made, its arguments' values, and what its variables hold where they were last looked at."""

    def __init__(self, graph: Any, fed: dict[str, Any]) -> None:
        self.graph = graph
        self._fed = fed
        self._runs = 0
        self._held: dict[str, tuple[int, Any]] = {}
        """By a variable's handle: how many ops there were, and its value then."""

    def compute(self, tensor: Any) -> Any:
        """The tensor's value, as numpy.

        Raises:
            StepError: it cannot be computed without a trace left outside.
        """
        operations = {op: place for place, op in enumerate(self.graph.get_operations())}
        read = find_read(tensor)
        if read is None:
            return self._run(tensor, [])[0]
        handle = read.inputs[0]
        written = max((operations[op] for op in handle.consumers() if may_write(op)), default=-1)
        if written < 0:
            return read_outside(self._outside()[handle.name], read.outputs[0].dtype)
        if operations[read] < written:
            return self._run(tensor, [])[0]
        if self._held.get(handle.name, (-1, None))[0] <= written:
            self._look_at_all(len(operations))
        return self._held[handle.name][1]

    def _look_at_all(self, time: int) -> None:
        """One run tells of all variables that the step has written: Python asks for one after another."""
        reads = {op.inputs[0].name: op for op in self.graph.get_operations() if is_read(op)}
        written = [read for read in reads.values() if any(map(may_write, read.inputs[0].consumers()))]
        values = self._run(None, written)
        self._held |= {read.inputs[0].name: (time, value) for read, value in zip(written, values, strict=True)}

    def _outside(self) -> dict[str, Any]:
        return {inside.name: value for value, inside in self.graph.captures}

    def _run(self, tensor: Any, reads: Sequence[Any]) -> list[Any]:
        """Values of a tensor of the graph, and of variables read at its end."""
        self._runs += 1
        if self._runs > MOST:
            raise StepError(f"the step asks for more than {MOST} values of tensors in Python")
        function, feeds = cut_function(self.graph, tensor, reads, {**self._fed, **self._outside()})
        library = list(self.graph.as_graph_def().library.function)
        obstacle = find_obstacle([*function.node_def, *(node for part in library for node in part.node_def)], SILENCED)
        if obstacle is not None:
            raise StepError(f"the step uses {obstacle}, which a run on copies would not undo")
        import tensorflow as tf

        with tf.init_scope(), Library() as registered:
            registered.add([function])
            outputs = len(function.signature.output_arg)
            return [value.numpy() for value in call_by_name(function.signature.name, substitute(feeds), outputs)]


def find_read(tensor: Any) -> Any | None:
    """The op that read the tensor from a variable, where it is that very value."""
    operation = tensor.op
    for _ in range(MOST_COPIES):
        if operation.type == "Identity":
            operation = operation.inputs[0].op
    return operation if is_read(operation) else None


def read_outside(handle: Any, dtype: Any) -> Any:
    """What a variable holds now, as numpy."""
    import tensorflow as tf

    with tf.init_scope():
        return read_handle_value(handle, dtype).numpy()


def is_read(operation: Any) -> bool:
    """Whether the op reads a variable that was made outside of the step."""
    return bool(operation.type == "ReadVariableOp" and operation.inputs[0].op.type == "Placeholder")


def may_write(operation: Any) -> bool:
    """Whether an op may change a variable that it is given."""
    return effect_of(operation.type) not in ("read", "touch")


def cut_function(graph: Any, tensor: Any, reads: Iterable[Any], fed: dict[str, Any]) -> tuple[Any, list[Any]]:
    """A function that computes a tensor of an unfinished graph and reads variables at its end, and its arguments' values.

    Ops with state run in the order they were made in, those that the tensor does not need too: they may write what it
    reads.
    """
    from tensorflow.core.framework import function_pb2

    reads = list(reads)
    needed = find_needed(graph, [*reads, *([] if tensor is None else [tensor.op])])
    function = function_pb2.FunctionDef()
    function.signature.name = f"followed{unique_suffix()}"
    function.signature.is_stateful = True
    feeds: list[Any] = []
    arguments: dict[str, str] = {}
    before: str | None = None
    for operation in graph.get_operations():
        if operation not in needed:
            continue
        if operation.type == "Placeholder":
            output = operation.outputs[0]
            if output.name not in fed:
                raise StepError(f"the value of {output.name} is not known")
            arguments[output.name] = f"arg_{len(feeds)}"
            function.signature.input_arg.add(name=arguments[output.name], type=output.dtype.as_datatype_enum)
            feeds.append(fed[output.name])
            continue
        before = add_operation(function, operation, arguments, needed, before)
    if tensor is not None:
        add_output(function, tensor.dtype, arguments.get(tensor.name) or name_in_function(tensor))
    for read in reads:
        add_output(function, read.outputs[0].dtype, add_read(function, read, arguments, before))
    return function, feeds


def add_output(function: Any, dtype: Any, source: str) -> None:
    """Let the function return one value more."""
    name = f"value_{len(function.signature.output_arg)}"
    function.signature.output_arg.add(name=name, type=dtype.as_datatype_enum)
    function.ret[name] = source


def add_read(function: Any, read: Any, arguments: dict[str, str], before: str | None) -> str:
    """Read once more what `read` reads, after all that was done; gives the value's name."""
    node = function.node_def.add()
    node.CopyFrom(read.node_def)
    node.name = f"introspect_last_{len(function.signature.output_arg)}"
    del node.input[:]
    node.input.extend([arguments[read.inputs[0].name], *([] if before is None else [f"^{before}"])])
    return f"{node.name}:value:0"


def find_needed(graph: Any, ends: list[Any]) -> set[Any]:
    """These ops, all ops with state, and what they need."""
    queue = [*ends, *(one for one in graph.get_operations() if is_stateful(one))]
    needed: set[Any] = set()
    while queue:
        operation = queue.pop()
        if operation not in needed:
            needed.add(operation)
            queue += [tensor.op for tensor in operation.inputs]
            queue += operation.control_inputs
    return needed


def is_stateful(operation: Any) -> bool:
    """Whether the op must run in its turn; what speaks to the outside is left out."""
    kept = operation.type not in ("Placeholder", *SILENCED)
    return bool(kept and operation._is_stateful)


def add_operation(
    function: Any, operation: Any, arguments: dict[str, str], needed: set[Any], before: str | None
) -> str | None:
    """Add an op's node; gives the name of the last op with state."""
    node = function.node_def.add()
    node.CopyFrom(operation.node_def)
    inputs = [arguments.get(tensor.name) or name_in_function(tensor) for tensor in operation.inputs]
    controls = [one.name for one in operation.control_inputs if one in needed and one.type != "Placeholder"]
    stateful = is_stateful(operation)
    if stateful and before is not None:
        controls.append(before)
    del node.input[:]
    node.input.extend([*inputs, *(f"^{name}" for name in dict.fromkeys(controls))])
    return str(operation.name) if stateful else before


def substitute(feeds: Sequence[Any]) -> list[Any]:
    """The arguments, with copies in the place of variables."""
    import tensorflow as tf

    copies = []
    for value in feeds:
        data = getattr(value, "_handle_data", None)
        if value.dtype != tf.resource or data is None or not data.is_set or not data.shape_and_type:
            copies.append(value)
            continue
        kind = data.shape_and_type[0]
        shape = tf.TensorShape(kind.shape)
        copies.append(copy_variable(SimpleNamespace(handle=value, dtype=tf.as_dtype(kind.dtype), shape=shape)))
    return copies
