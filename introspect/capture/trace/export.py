"""The graph of a concrete function as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from introspect.capture.memo import memo_of

LIBRARY, FUNCTION = 2, 1
"""Fields `GraphDef.library` and `FunctionDefLibrary.function`."""
NAME, OP = 0x0A, 0x12
"""Tags of `NodeDef.name` and, right behind it, `NodeDef.op`."""


@dataclass(frozen=True, slots=True)
class ExportedStep:
    """`graph`, `step` and `arguments` as in `CapturedTrace`."""

    graph: bytes
    step: str = ""
    arguments: tuple[str, ...] = ()


def export_step(concrete: Any) -> ExportedStep:
    """The function's definition with those it can call, as the runtime runs them.

    TensorFlow keeps the definitions serialized at hand; to export the graph anew takes six times as long. The graph is
    exported where the definitions cannot be had, or do not name the nodes as the graph does.
    """
    try:
        return read_definitions(concrete)
    except (ImportError, AttributeError, LookupError):
        return ExportedStep(export_graph(concrete.graph))


def read_definitions(concrete: Any) -> ExportedStep:
    """Seen on TensorFlow 2.19 to 2.21.

    Raises:
        ImportError, AttributeError: TensorFlow does not keep the definitions where it was seen to.
        LookupError: a definition is gone, or has renamed a node.
    """
    graph, step = concrete.graph, as_text(concrete.name)
    functions = tuple(dict.fromkeys([step, *map(as_text, graph._functions)]))
    return memo_of(graph).recall(
        "export", functions, lambda: join_definitions(concrete, functions), lambda made: len(made.graph)
    )


def join_definitions(concrete: Any, functions: tuple[str, ...]) -> ExportedStep:
    """The same of these functions, the step's own the first; the runtime never gives a name to another definition."""
    graph, step = concrete.graph, functions[0]
    own = [tensor.op.name for tensor in graph.inputs]
    definitions = [read_definition(name) for name in functions]
    arguments = [argument.name for argument in concrete.function_def.signature.input_arg]
    if len(own) != len(arguments):
        raise LookupError("the definition has other arguments than the graph")
    require_same_names(graph, set(arguments).difference(own), definitions[0])
    library = b"".join([wrap(LIBRARY, wrap(FUNCTION, definition)) for definition in definitions])
    return ExportedStep(library, step, tuple(own))


def require_same_names(graph: Any, arguments: set[str], definition: bytes) -> None:
    """Raise LookupError where a node of the definition is not called as in the graph.

    A definition writes its arguments' names in small letters and without slashes, and gives a node that has such a
    name already another one, with a number behind it. Only where one looks so the graph is asked: for a name that it
    does not have it raises, which takes longer than to read a node.
    """
    for name in list_numbered(definition):
        if name in arguments and has_op(graph, name):
            raise LookupError(f"the definition has renamed node {name}")


def list_numbered(definition: bytes) -> Iterator[str]:
    """Names of nodes, without the number at their end, of those that have one and no slash.

    Other bytes may look like a node's name as well: the names are those of nodes, or nobody's.
    """
    content = np.frombuffer(definition, dtype=np.uint8)
    begin = np.flatnonzero(content[:-2] == NAME) + 1
    size = content[begin].astype(np.int64)
    wide = size >= 0x80  # a length of two bytes, seven bits in each
    size[wide] += (content[begin[wide] + 1].astype(np.int64) - 1) * 0x80
    begin += 1 + wide
    end = np.minimum(begin + size, len(content) - 1)
    last = content[end - 1]
    chosen = (content[end] == OP) & (last >= ord("0")) & (last <= ord("9"))
    begin, end = begin[chosen], end[chosen]
    slashes = np.flatnonzero(content == ord("/"))
    flat = np.searchsorted(slashes, begin) == np.searchsorted(slashes, end)
    for start, stop in zip(begin[flat].tolist(), end[flat].tolist(), strict=True):
        name, _, number = definition[start:stop].rpartition(b"_")
        if name and number.isdigit():
            yield name.decode(errors="replace")


def has_op(graph: Any, name: str) -> bool:
    """Whether the graph has an op of this name."""
    try:
        graph.get_operation_by_name(name)
    except KeyError:
        return False
    return True


def read_definition(name: str) -> bytes:
    """Serialized FunctionDef of a function that the runtime knows. Seen on TensorFlow 2.19 to 2.21.

    Raises:
        ImportError, AttributeError: TensorFlow hands it out otherwise.
        LookupError: it knows no such function.
    """
    from tensorflow.python import pywrap_tfe
    from tensorflow.python.eager import context
    from tensorflow.python.framework.errors import NotFoundError

    handle = context.context()._handle
    try:
        return read_buffer(lambda buffer: pywrap_tfe.TFE_ContextGetFunctionDef(handle, name, buffer))
    except NotFoundError as error:
        raise LookupError(str(error)) from error


def export_graph(graph: Any) -> bytes:
    """Serialized GraphDef of a FuncGraph with its whole function library.

    TensorFlow's own `as_graph_def` serializes in C++ and parses the bytes into Python; here the bytes are enough.
    Seen on TensorFlow 2.19 to 2.21; elsewhere the public way is taken.
    """
    try:
        from tensorflow.python.client import pywrap_tf_session as session

        with graph._c_graph.get() as handle:
            return read_buffer(lambda buffer: session.TF_GraphToGraphDef(handle, buffer))
    except (ImportError, AttributeError):
        return bytes(graph.as_graph_def().SerializeToString())


def read_buffer(fill: Callable[[Any], None]) -> bytes:
    """What a function of TensorFlow's C API writes into a buffer. Seen on TensorFlow 2.19 to 2.21."""
    from tensorflow.python.client import pywrap_tf_session as session

    buffer = session.TF_NewBuffer()
    try:
        fill(buffer)
        return bytes(session.TF_GetBuffer(buffer))
    finally:
        session.TF_DeleteBuffer(buffer)


def wrap(field: int, message: bytes) -> bytes:
    """A serialized message as a field of another. Serialized messages that stand one behind another are merged.

    Source: protobuf.dev/programming-guides/encoding.
    """
    length, size = bytearray(), len(message)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((field << 3 | 2, *length, size)) + message


def as_text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
