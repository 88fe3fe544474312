"""The messages of a GraphDef, each node left as bytes until it is read.

Parsed whole, the messages of a million nodes take a gigabyte. The schema below is TensorFlow's own (graph.proto,
function.proto, op_def.proto, node_def.proto), cut down to what is asked, with bytes where that has nodes: both look alike
in a file, so protobuf itself cuts a graph into its nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from introspect.errors import GraphError

_FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Graph": (("node", 1, "bytes[]"), ("library", 2, "Library")),
    "Library": (("function", 1, "Function[]"),),
    "Function": (("signature", 1, "Signature"), ("node_def", 3, "bytes[]"), ("ret", 4, "Entry[]")),
    "Signature": (("name", 1, "string"), ("input_arg", 2, "Argument[]"), ("output_arg", 3, "Argument[]")),
    "Argument": (("name", 1, "string"),),
    "Entry": (("key", 1, "string"), ("value", 2, "string")),
    "Head": (("name", 1, "string"), ("op", 2, "string"), ("input", 3, "string[]")),
}
"""(name, number, type) of the fields of each message; the number is TensorFlow's."""


@cache
def _schema() -> dict[str, Any]:
    """The message classes, in a pool of their own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="introspect/parts.proto", package="introspect.parts", syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for called, number, written in fields:
            kind = written.removesuffix("[]")
            made = message.field.add(name=called, number=number)
            made.label = field.LABEL_OPTIONAL if kind == written else field.LABEL_REPEATED
            made.type = {"bytes": field.TYPE_BYTES, "string": field.TYPE_STRING}.get(kind, field.TYPE_MESSAGE)
            if kind in _FIELDS:
                made.type_name = f".introspect.parts.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"introspect.parts.{name}") for name in _FIELDS}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


def _parse(kind: Any, encoded: bytes) -> Any:
    try:
        return kind.FromString(encoded)
    except Exception as error:
        raise GraphError(f"the captured graph cannot be parsed: {error}; capture it again") from error


@dataclass(frozen=True, slots=True)
class FunctionMessage:
    """A function, or a graph's own nodes.

    Attributes:
        name: in the library; "" for the graph itself.
        arguments: names.
        nodes: NodeDefs, encoded.
        returns: references to what it returns: `arg`, `node:1`, `node:out:0`.
        return_names: their names in the signature.
    """

    name: str
    arguments: tuple[str, ...]
    nodes: Sequence[bytes]
    returns: tuple[str, ...]
    return_names: tuple[str, ...] = ()


def split_graph(graph: bytes) -> tuple[list[bytes], list[FunctionMessage]]:
    """A GraphDef's own nodes, and the functions of its library.

    Raises:
        GraphError: it is no GraphDef.
    """
    whole = _parse(_schema()["Graph"], graph)
    return list(whole.node), [_read_function(one) for one in whole.library.function]


def _read_function(function: Any) -> FunctionMessage:
    signature = function.signature
    returned = {entry.key: entry.value for entry in function.ret}
    names = tuple([argument.name for argument in signature.output_arg])
    return FunctionMessage(
        name=signature.name,
        arguments=tuple([argument.name for argument in signature.input_arg]),
        nodes=list(function.node_def),
        returns=tuple([returned[name] for name in names]),
        return_names=names,
    )


def parse_node(encoded: bytes) -> Any:
    """A NodeDef with all its fields.

    Raises:
        GraphError: it is none.
    """
    from tensorboard.compat.proto import node_def_pb2

    return _parse(node_def_pb2.NodeDef, encoded)


def rewrite_node(encoded: bytes) -> bytes:
    """A NodeDef as protobuf writes it, without fields that TensorFlow's schema does not know.

    Raises:
        GraphError: it is none.
    """
    node = parse_node(encoded)
    node.DiscardUnknownFields()
    return bytes(node.SerializeToString())


def write_head(name: str = "", op: str = "", inputs: Sequence[str] = ()) -> bytes:
    """A NodeDef that has no more than these; without a name and an op, a list of texts."""
    return bytes(_schema()["Head"](name=name, op=op, input=inputs).SerializeToString())
