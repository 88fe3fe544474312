"""The fast pass over all nodes tells of each what is told of it alone."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from introspect.capture.record import Binding
from introspect.evidence.resources import resolve_resources
from introspect.evidence.scan import ForwardScan, find_ends, join_ends, scan_back
from introspect.graph.dataflow import Dataflow
from introspect.graph.flatten import flatten_graph
from introspect.graph.parse import ParsedGraph
from introspect.graph.text import parse_text
from introspect.graph.walk import Edges

VARIABLES = ("v0", "v1", "v2")
OPS = ("AddV2", "Mul", "MatMul", "ConcatV2", "Sum", "Shape", "Const", "IteratorGetNext", "PyFunc")
USES = ("ReadVariableOp", "AssignSubVariableOp")


@st.composite
def draw_graphs(draw: Any) -> tuple[Dataflow, bytearray]:
    """A step of random ops on three variables, and which of them a tape made."""
    lines, made = [f"{name} = Placeholder()" for name in VARIABLES], list[str]()
    for place in range(draw(st.integers(2, 24))):
        known = st.sampled_from(made[-4:]) if made else st.nothing()
        op = draw(st.sampled_from((*OPS, *USES)))
        inputs = (
            draw(st.lists(known, min_size=1, max_size=2)) if made and op not in ("Const", "IteratorGetNext") else []
        )
        if op in USES:
            inputs = [draw(st.sampled_from(VARIABLES)), *inputs[: op.startswith("Assign")]]
        lines.append(f"n{place} = {op}({', '.join(inputs)})")
        made.append(f"n{place}")
    graph = ParsedGraph(parse_text("\n".join(lines)), outputs=[f"{made[-1]}:0"])
    flow = flatten_graph(graph, lambda function, node: False)
    marked = [draw(st.booleans()) and flow.op_type(node) not in USES for node in range(flow.nodes)]
    return flow, bytearray(marked)


def make_scan(flow: Dataflow, marked: bytearray) -> ForwardScan:
    """A scan that has not run; the first variable is the forward pass's, the second an optimizer's."""
    edges = Edges(flow)
    bindings = tuple(Binding(name, index) for index, name in enumerate(VARIABLES))
    resources = resolve_resources(flow, edges, bindings)
    reached = join_ends(flow, scan_back(flow, edges, marked, find_ends(flow, [])))
    return ForwardScan(flow, edges, resources, marked, {0}, {1}, reached, lambda node: None)


@settings(max_examples=300)
@given(draw_graphs())
def test_pass(drawn: tuple[Dataflow, bytearray]) -> None:
    """Values, memory and writes are those of a walk from node to node."""
    flow, marked = drawn
    fast, slow = make_scan(flow, marked), make_scan(flow, marked)
    fast._pass()
    for node in range(flow.nodes):
        tag, source = slow._evaluate(node)
        for port in slow.edges.outputs[node]:
            slow.tags[port], slow.origin[port] = tag, source
    assert (fast.tags, fast.origin) == (slow.tags, slow.origin)
    assert (fast.memory, fast.writes) == (slow.memory, slow.writes)
