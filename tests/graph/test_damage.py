"""Graphs that do not hold together: an error that says so, or a verdict; never another exception."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto import graph_pb2

from introspect.diagnosis import diagnose
from introspect.errors import GraphError
from introspect.graph.flatten import flatten_graph
from introspect.graph.parse import ParsedGraph
from introspect.graph.text import parse_text
from tests.evidence.steps import STEPS, make_capture


def flatten(text: str, *outputs: str) -> Any:
    return flatten_graph(ParsedGraph(parse_text(text), outputs), lambda function, node: False)


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("a = Identity(b)", ()),
        ("a = NoOp(^b)", ()),
        ("a = Const()", ("b:0",)),
        ("a = Const()\nc = Identity(a:x)", ()),
        ("c = PartitionedCall() f=@f\ndef f() -> y=n:o:0\n  m = NoOp()", ()),
        ("c = PartitionedCall() f=@f\ndef f()\n  c = PartitionedCall() f=@f", ()),
        ("c = PartitionedCall() f=@f\ndef f(x) -> y=x\n  m = NoOp()\nd = Identity(c:3)", ()),
        ("a = Const()\nc = While(a) cond=@f body=@f\ndef f(x, y) -> z=y\n  m = NoOp()\nd = Identity(c:1)", ()),
        ("c = If() then_branch=@f else_branch=@f\ndef f() -> z=m:o:0\n  m = Const()\nd = Identity(c)", ()),
        ("a = Const()\nc = IdentityN(a)\nd = Identity(c:4)", ()),
        ("a = Identity(b)\nb = Identity(a)", ("a:0",)),
        ("c = Case() branches=[]\nd = Identity(c)", ()),
    ],
)
def test_damaged(text: str, outputs: tuple[str, ...]) -> None:
    """Each is refused by name, or read as far as it goes."""
    with contextlib.suppress(GraphError):
        flatten(text, *outputs)


@pytest.mark.parametrize(
    "text", ["a = Identity(b)", "a = NoOp(^b)", "c = PartitionedCall() f=@f\ndef f()\n  c = PartitionedCall() f=@f"]
)
def test_refused(text: str) -> None:
    """What cannot be read at all is refused in one line."""
    with pytest.raises(GraphError) as caught:
        flatten(text)
    assert len(str(caught.value).splitlines()) == 1


def test_bytes_that_are_no_graph() -> None:
    """Not a protobuf message at all."""
    with pytest.raises(GraphError, match="cannot be parsed"):
        ParsedGraph(b"\xff\xfe no graph")


def damage(graph: bytes, seed: int) -> bytes:
    """One thing broken: bytes cut, a node or a function gone, a reference to nowhere, an op of another name."""
    generator = random.Random(seed)
    message = graph_pb2.GraphDef.FromString(graph)
    bodies = [message.node, *(function.node_def for function in message.library.function)]
    nodes = [node for body in bodies for node in body]
    node = generator.choice(nodes)
    kind = generator.randrange(8)
    if kind == 0:
        return graph[: generator.randrange(len(graph))]
    if kind == 1:
        body = generator.choice([body for body in bodies if body])
        del body[generator.randrange(len(body))]
    elif kind == 2 and message.library.function:
        del message.library.function[generator.randrange(len(message.library.function))]
    elif kind == 3 and node.input:
        node.input[generator.randrange(len(node.input))] = generator.choice(
            ["nowhere", "^nowhere", "w:7", "x:a:b", ":", ""]
        )
    elif kind == 4:
        node.op = generator.choice(
            ["While", "If", "PartitionedCall", "IdentityN", "AssignVariableOp", "Const", "", "New"]
        )
    elif kind == 5:
        node.attr.clear()
    elif kind == 6 and node.input:
        del node.input[generator.randrange(len(node.input))]
    else:
        node.name = generator.choice(nodes).name
    return bytes(message.SerializeToString())


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(STEPS)), seed=st.integers(0, 2**32), times=st.integers(1, 3))
def test_any_damage(name: str, seed: int, times: int) -> None:
    """A damaged step gives GraphError or a report, whatever is broken."""
    step = STEPS[name]
    graph = make_capture(step).traces[0].graph
    try:
        for turn in range(times):
            graph = damage(graph, seed + turn)
    except Exception:
        return  # bytes that were cut cannot be damaged further
    with contextlib.suppress(GraphError):
        diagnose(make_capture(step, graph))
