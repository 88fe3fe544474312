"""Small graphs as readable text: how tests and bug reports write a GraphDef.

    w = Placeholder() dtype=resource
    x = Placeholder() dtype=float
    out = StatefulPartitionedCall(w, x, ^x) f=@forward
    def forward(w, x) -> y=product:product:0
        read = ReadVariableOp(w)
        product = MatMul(x, read:value:0) transpose_a=true

One line is one node: its name, its op type, its inputs as GraphDefs write them, its attributes. A function begins with
`def` and goes on as long as lines are indented. `@name` is a function, `[@a, @b]` a list of them, a bare word a dtype,
`true` and numbers what they look like, all else in quotes a string. `#` begins a comment.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

from introspect.errors import GraphError

_NODE = re.compile(r"^(?P<name>[^\s=]+) = (?P<op>\w+)\((?P<inputs>[^)]*)\)(?P<attributes>.*)$")
_FUNCTION = re.compile(r"^def (?P<name>[^\s(]+)\((?P<arguments>[^)]*)\)(?: -> (?P<returns>.*?))?:?$")
_ATTRIBUTE = re.compile(r"(\w+)=(\[[^\]]*\]|\"[^\"]*\"|\S+)")


def parse_text(text: str) -> bytes:
    """The serialized GraphDef that a text describes.

    Raises:
        GraphError: a line cannot be read; the message holds it.
    """
    from tensorboard.compat.proto import graph_pb2

    graph = graph_pb2.GraphDef()
    function: Any = None
    for line in dedent(text).splitlines():
        bare = line.partition("#")[0].rstrip()
        if not bare.strip():
            continue
        if bare.lstrip().startswith("def "):
            function = graph.library.function.add()
            _read_signature(bare.strip(), function)
        elif bare.startswith((" ", "\t")) and function is not None:
            _read_node(bare.strip(), function.node_def.add())
        else:
            function = None
            _read_node(bare.strip(), graph.node.add())
    return bytes(graph.SerializeToString())


def _read_signature(line: str, function: Any) -> None:
    match = _FUNCTION.match(line)
    if match is None:
        raise GraphError(f"no function reads like {line!r}; write def name(a, b) -> out=node:output:0")
    function.signature.name = match["name"]
    for name in _split(match["arguments"]):
        function.signature.input_arg.add().name = name
    for pair in _split(match["returns"] or ""):
        name, _, reference = pair.partition("=")
        function.signature.output_arg.add().name = name
        function.ret[name] = reference


def _read_node(line: str, node: Any) -> None:
    match = _NODE.match(line)
    if match is None:
        raise GraphError(f"no node reads like {line!r}; write name = Op(input, ^control) attribute=value")
    node.name, node.op = match["name"], match["op"]
    node.input.extend(_split(match["inputs"]))
    for name, value in _ATTRIBUTE.findall(match["attributes"]):
        _set_attribute(node.attr[name], value)


def _set_attribute(attribute: Any, value: str) -> None:
    from tensorboard.compat.proto import types_pb2

    if value.startswith("["):
        for name in _split(value[1:-1]):
            attribute.list.func.add().name = name.removeprefix("@")
    elif value.startswith("@"):
        attribute.func.name = value[1:]
    elif value.startswith('"'):
        attribute.s = value[1:-1].encode()
    elif value in ("true", "false"):
        attribute.b = value == "true"
    elif re.fullmatch(r"-?\d+", value):
        attribute.i = int(value)
    elif f"DT_{value.upper()}" in set(types_pb2.DataType.keys()):
        attribute.type = types_pb2.DataType.Value(f"DT_{value.upper()}")
    else:
        raise GraphError(f"attribute value {value!r} is no @function, dtype, number, true, false or quoted text")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
