"""References of a GraphDef become ports, whatever form they are written in."""

from __future__ import annotations

import pytest

from introspect.errors import GraphError
from introspect.graph.parse import FunctionBody, ParsedGraph
from introspect.graph.text import parse_text


def read(text: str, *outputs: str) -> FunctionBody:
    return ParsedGraph(parse_text(text), outputs).main


def inputs(body: FunctionBody, name: str) -> list[tuple[str, int]]:
    """(node, output) of all that the nodes of this name read."""
    nodes = [node for node in range(body.nodes) if body.name_of(node) == name]
    ports = [port for node in nodes for port in body.input_port[body.input_start[node] : body.input_start[node + 1]]]
    return [(body.name_of(int(body.port_node[port])), int(body.port_index[port])) for port in ports]


def test_both_forms_of_a_first_output_are_one_port() -> None:
    body = read("a = Const()\nb = Identity(a)\nc = Identity(a:0)\nd = Identity(a:1)", "a:0", "a:0", "d:0")
    assert inputs(body, "b") == inputs(body, "c") == [("a", 0)]
    assert inputs(body, "d") == [("a", 1)]
    assert body.returns[0] == body.returns[1] == body.input_port[0] != body.returns[2]
    assert len(body.port_name) == 3


def test_each_output_of_an_identity_stands_alone() -> None:
    body = read("a = Const()\nb = Const()\nc = IdentityN(a, b, ^a)\nd = AddV2(c:1, c)")
    assert body.nodes == 5
    parts = [int(body.port_node[port]) for port in body.input_port[body.input_start[4] :]]
    assert parts == [3, 2]
    assert [inputs(body, "c")[part - 2] for part in parts] == [("b", 0), ("a", 0)]


def test_outputs_of_two_lists_are_told_apart() -> None:
    text = "c = PartitionedCall() f=@f\ndef f(x) -> y=m:b:0, z=x\n  m = Op(x)\n  n = Add(m:a:0, m:b:0, m:a:1, ^m, ^x)"
    body = ParsedGraph(parse_text(text)).body("f")
    assert inputs(body, "n") == [("m", 0), ("m", 0), ("m", 1)]
    names = [(body.port_name[port], int(body.port_index[port])) for port in range(len(body.port_name))]
    assert names == [("x", 0), ("a", 0), ("b", 0), ("a", 1)]
    assert body.returns == [2, 0]
    assert list(body.return_names) == ["y", "z"]


def test_nodes_stand_behind_what_they_wait_for() -> None:
    body = read("out = Identity(b, ^n)\na = Const()\nb = Neg(a)\nn = NoOp(^b)", "out:0")
    assert [body.name_of(node) for node in range(body.nodes)] == ["a", "b", "n", "out"]
    assert inputs(body, "out") == [("b", 0)]
    assert int(body.port_node[body.returns[0]]) == 3


def test_a_loop_of_the_old_control_flow_stays_in_order() -> None:
    body = read("x = Identity(e)\ne = Enter()\nm = Merge(e, n)\ns = Switch(m)\nn = NextIteration(s:1)\nq = Exit(s)")
    assert [body.name_of(node) for node in range(body.nodes)] == ["e", "x", "m", "s", "n", "q"]


@pytest.mark.parametrize("text", ["a = Identity(b:1)", "a = NoOp(^b)", "a = Const()\nb = Identity(a:out:x)"])
def test_a_reference_to_nowhere(text: str) -> None:
    with pytest.raises(GraphError, match="graph"):
        read(text)
