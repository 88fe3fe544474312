"""A graph cut into its messages is the graph that protobuf reads whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto import graph_pb2

from introspect.errors import GraphError
from introspect.graph.messages import parse_node, rewrite_node, split_graph
from introspect.graph.parse import ParsedGraph
from introspect.graph.text import parse_text
from introspect.graph.wire import AT_ONCE, FEW, read_heads
from tests.evidence.steps import STEPS

TEXTS = {name: step.text for name, step in STEPS.items()} | {
    "long": "\n".join(f"n{i} = Const()" for i in range(AT_ONCE + 1)),
    "wide": "\n".join(
        [*(f"n{i} = Const()" for i in range(3 * FEW)), f"n = NoOp({', '.join(f'^n{i}' for i in range(3 * FEW))})"]
    ),
    "texts": f"{'a' * 200} = Const()\n{'b/' * 100}b = Neg({'a' * 200}:0)\nc = Neg({'b/' * 100}b)",
    "empty": "",
    "functions": "c = While(a) cond=@f body=@g\ndef f(x) -> y=n:o:0, z=x\n  n = Const() value=3\ndef g()\n  m = NoOp(^n)",
}


def list_heads(nodes: Sequence[bytes]) -> list[tuple[str, str, list[str]]]:
    """(name, op, inputs) of all nodes."""
    heads = read_heads(nodes, rewrite_node)
    inputs = iter(heads.inputs)
    return [
        (name, op, list(islice(inputs, count)))
        for name, op, count in zip(heads.names, heads.ops, heads.counts.tolist(), strict=True)
    ]


def list_whole(nodes: list[graph_pb2.GraphDef]) -> list[tuple[str, str, list[str]]]:
    """The same of messages that were parsed whole."""
    return [(node.name, node.op, list(node.input)) for node in nodes]


@pytest.mark.parametrize("name", TEXTS)
def test_cut(name: str) -> None:
    """Each node, its fields, and each function's signature and returns."""
    graph = parse_text(TEXTS[name])
    whole = graph_pb2.GraphDef.FromString(graph)
    nodes, functions = split_graph(graph)
    assert list_heads(nodes) == list_whole(whole.node)
    assert [parse_node(node) for node in nodes] == list(whole.node)
    assert [function.name for function in functions] == [one.signature.name for one in whole.library.function]
    for function, one in zip(functions, whole.library.function, strict=True):
        assert [parse_node(node) for node in function.nodes] == list(one.node_def)
        assert dict(zip(function.return_names, function.returns, strict=True)) == dict(one.ret)
        assert list(function.arguments) == [argument.name for argument in one.signature.input_arg]


def cut_graph(graph: bytes) -> list[list[tuple[str, str, list[str]]]] | None:
    """Nodes of the graph and of its functions; None where it is refused."""
    try:
        nodes, functions = split_graph(graph)
        return [list_heads(nodes), *(list_heads(function.nodes) for function in functions)]
    except GraphError:
        return None


def read_graph(graph: bytes) -> list[list[tuple[str, str, list[str]]]] | None:
    """The same, parsed whole."""
    try:
        whole = graph_pb2.GraphDef.FromString(graph)
    except (DecodeError, UnicodeDecodeError):
        return None
    return [list_whole(whole.node), *(list_whole(one.node_def) for one in whole.library.function)]


@given(name=st.sampled_from(sorted(TEXTS)), cut=st.floats(0, 1), noise=st.binary(min_size=1, max_size=4))
def test_damage(name: str, cut: float, noise: bytes) -> None:
    """Bytes that are no graph are refused; what protobuf reads whole is read alike, and nothing good is refused."""
    graph = parse_text(TEXTS[name])
    place = int(cut * len(graph))
    damaged = graph[:place] + noise + graph[place:]
    whole, found = read_graph(damaged), cut_graph(damaged)
    assert whole is None or found == whole


def test_node_written_otherwise() -> None:
    """Fields in another order, one that nobody knows, a name that stands there twice: as protobuf reads it."""
    plain = parse_text("c = PartitionedCall(a) f=@f\na = Const()\ndef f(x) -> y=x\n  m = NoOp()")
    whole = graph_pb2.GraphDef.FromString(plain)
    fields = whole.node[0].SerializeToString()
    odd = b"\x12\x01X" + b"\x0a\x01z" + fields + b"\x48\x05"
    graph = b"\x0a" + bytes([len(odd)]) + odd + plain[2 + len(fields) :]
    body = ParsedGraph(graph).main
    assert [body.name_of(node) for node in range(body.nodes)] == ["a", "c"]
    assert body.op_types[body.op[1]] == "PartitionedCall"
    assert body.def_of(1).attr["f"].func.name == "f"


def make_negation(**changed: str) -> bytes:
    """A node that reads another, with these fields changed."""
    fields = {"name": "a", "op": "Neg", "input": "b"} | changed
    graph = graph_pb2.GraphDef()
    graph.node.add(name="b", op="Const")
    graph.node.add(name=fields["name"], op=fields["op"], input=[fields["input"]])
    return graph.SerializeToString()


@pytest.mark.parametrize("lacking", ["name", "op", "input"])
def test_nameless(lacking: str) -> None:
    """What has no name is refused, and its twin is read."""
    assert ParsedGraph(make_negation()).main.nodes == 2
    with pytest.raises(GraphError):
        ParsedGraph(make_negation(**{lacking: ""}))


def test_refusal_says_why() -> None:
    """One line that names the graph."""
    with pytest.raises(GraphError, match="the captured graph cannot be parsed"):
        split_graph(b"\xff\xfe no graph")
