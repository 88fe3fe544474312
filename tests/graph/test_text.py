"""Text to GraphDef."""

from __future__ import annotations

import pytest
from tensorboard.compat.proto import graph_pb2, types_pb2

from introspect.errors import GraphError
from introspect.graph.text import parse_text


def test_all_that_a_text_can_say() -> None:
    """Nodes, controls, attributes of each kind, functions."""
    graph = graph_pb2.GraphDef.FromString(
        parse_text(
            """
            w = Placeholder() dtype=resource     # the variable
            x = Placeholder() dtype=float
            call = If(x, w, x, ^w) then_branch=@one else_branch=@two branches=[@one, @two] flag=true n=-3 s="a b"

            def one(w, x) -> y=m:product:0, z=x
                r = ReadVariableOp(w)
                m = MatMul(x, r:value:0, ^r)
            def two(w, x):
                nothing = NoOp()
            last = NoOp(^call)
            """
        )
    )
    assert [node.name for node in graph.node] == ["w", "x", "call", "last"]
    call = graph.node[2]
    assert list(call.input) == ["x", "w", "x", "^w"]
    assert graph.node[0].attr["dtype"].type == types_pb2.DT_RESOURCE
    assert call.attr["then_branch"].func.name == "one"
    assert [f.name for f in call.attr["branches"].list.func] == ["one", "two"]
    assert (call.attr["flag"].b, call.attr["n"].i, call.attr["s"].s) == (True, -3, b"a b")
    one, two = graph.library.function
    assert [a.name for a in one.signature.input_arg] == ["w", "x"]
    assert dict(one.ret) == {"y": "m:product:0", "z": "x"}
    assert [node.op for node in two.node_def] == ["NoOp"]


@pytest.mark.parametrize("line", ["w Placeholder()", "w = Placeholder", "def f", "w = A() t=maybe"])
def test_lines_that_say_nothing(line: str) -> None:
    """The message holds what could not be read."""
    with pytest.raises(GraphError, match=r"reads like|is no"):
        parse_text(line)
