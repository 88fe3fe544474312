"""The messages of a GraphDef, each node left as bytes until it is read.

Parsed whole, the messages of a million nodes take a gigabyte. The schema below is TensorFlow's own (graph.proto,
function.proto, node_def.proto) with bytes where that has messages: both look alike in a file, so protobuf itself cuts
a graph into its nodes. A node's few fields are read for many nodes together, as columns: protobuf reads messages that
stand one after another as one, and what repeats in it adds up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from introspect.errors import GraphError

AT_ONCE = 4096
"""How many nodes are read together: few at a time take longer, and all at once much memory."""
END = ""
"""An input without a name, which no node has: it stands behind the inputs of each."""
_WRITTEN_END = b"\x1a\x00"
"""The same as protobuf writes it: field 3, length 0."""

_FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "Graph": (("node", 1, "bytes"), ("library", 2, "Library")),
    "Library": (("function", 1, "bytes"),),
    "Function": (("node_def", 3, "bytes"),),
    "Columns": (("name", 1, "string"), ("op", 2, "string"), ("input", 3, "string")),
}
"""(name, number, type) of the fields of each message, all repeated; the number is TensorFlow's."""


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
        for called, number, kind in fields:
            made = message.field.add(name=called, number=number)
            made.label = field.LABEL_REPEATED
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


class Columns(NamedTuple):
    """Some nodes.

    Attributes:
        names, ops: [nodes].
        inputs: of all nodes, one after another, `END` behind those of each.
    """

    names: list[str]
    ops: list[str]
    inputs: list[str]


class NodeMessages:
    """The NodeDefs of one function, in the order of the file."""

    def __init__(self, encoded: Sequence[bytes], before: Sequence[bytes] = ()) -> None:
        self._before = before
        self._encoded = encoded

    def __len__(self) -> int:
        return len(self._before) + len(self._encoded)

    def __getitem__(self, place: int) -> Any:
        """One NodeDef, with all its fields."""
        from tensorboard.compat.proto import node_def_pb2

        made = len(self._before)
        return _parse(node_def_pb2.NodeDef, self._before[place] if place < made else self._encoded[place - made])

    def behind(self, before: Sequence[bytes]) -> NodeMessages:
        """The same nodes behind these."""
        return NodeMessages(self._encoded, before)

    def columns(self) -> Iterator[Columns]:
        """Names, ops and inputs of all nodes, some nodes at a time.

        Raises:
            GraphError: what stands there is no NodeDef.
        """
        kind = _schema()["Columns"]
        for encoded in (self._before, self._encoded):
            for start in range(0, len(encoded), AT_ONCE):
                block = encoded[start : start + AT_ONCE]
                read = _parse(kind, _WRITTEN_END.join((*block, b"")))
                if not len(read.name) == len(read.op) == len(block):
                    raise GraphError("a node of the captured graph has no name or no op; capture it again")
                yield Columns(read.name[:], read.op[:], read.input[:])


@dataclass(frozen=True)
class FunctionMessage:
    """A FunctionDef.

    Attributes:
        definition: the message without its nodes.
        nodes: those.
    """

    definition: Any
    nodes: NodeMessages

    @property
    def name(self) -> str:
        """Its name in the library."""
        return str(self.definition.signature.name)

    @property
    def arguments(self) -> list[str]:
        """Names of its arguments."""
        return [argument.name for argument in self.definition.signature.input_arg]

    @property
    def return_names(self) -> list[str]:
        """Names of what it returns, in the signature."""
        return [output.name for output in self.definition.signature.output_arg]

    @property
    def returns(self) -> list[str]:
        """References to what it returns."""
        return [self.definition.ret[name] for name in self.return_names]


def split_graph(graph: bytes) -> tuple[NodeMessages, list[FunctionMessage]]:
    """A GraphDef's own nodes, and the functions of its library.

    Raises:
        GraphError: it is no GraphDef.
    """
    whole = _parse(_schema()["Graph"], graph)
    functions = [_split_function(encoded) for library in whole.library for encoded in library.function]
    return NodeMessages(whole.node), functions


def _split_function(encoded: bytes) -> FunctionMessage:
    from tensorboard.compat.proto import function_pb2

    parts = _parse(_schema()["Function"], encoded)
    nodes = NodeMessages(list(parts.node_def))
    parts.ClearField("node_def")
    return FunctionMessage(_parse(function_pb2.FunctionDef, parts.SerializeToString()), nodes)
