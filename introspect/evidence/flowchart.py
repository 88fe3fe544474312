"""The layer-level drawing of a step: which layer's values go into which, down to the loss."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from introspect.evidence.scan import TO_BACKWARD
from introspect.evidence.scopes import LayerScopes
from introspect.graph.dataflow import Ints
from introspect.graph.ops import INPUTS
from introspect.records import Flow, FlowNode

if TYPE_CHECKING:
    from introspect.evidence.collect import TraceEvidence
    from introspect.evidence.ways import WayFinder

Source = tuple[int, bool]
"""(node of the drawing, whether the way from it is differentiable so far)"""

INPUT, LOSS = 0, 1
FROM_DATA: frozenset[Source] = frozenset({(INPUT, True)})


class _Drawing:
    def __init__(self, evidence: TraceEvidence, finder: WayFinder, scopes: LayerScopes, cuts: frozenset[int]) -> None:
        self.evidence = evidence
        self.finder = finder
        self.scopes = scopes
        self.cuts = cuts
        self.nodes = [FlowNode(INPUT, "data", "input"), FlowNode(LOSS, "loss", "loss")]
        self.by_layer: dict[str, int] = {}
        self.smooth: dict[int, frozenset[Source]] = {}
        """What goes on from a layer, by its node."""
        self.inside = bytearray(evidence.flow.nodes)
        """[nodes] whether an op that is drawn stands in a layer's scope."""
        self.edges: dict[tuple[int, int], bool] = {}
        self.sources: list[frozenset[Source]] = [frozenset()] * evidence.flow.ports

    def add_layer(self, path: str) -> int:
        if path not in self.by_layer:
            self.by_layer[path] = len(self.nodes)
            self.smooth[len(self.nodes)] = frozenset({(len(self.nodes), True)})
            self.nodes.append(FlowNode(len(self.nodes), path, "layer", layer=path))
        return self.by_layer[path]

    def add_cut(self, node: int) -> int:
        flow = self.evidence.flow
        name = flow.name(node)
        layer = self.scopes.layer_of(name)
        self.nodes.append(FlowNode(len(self.nodes), flow.op_type(node), "cut", layer, name, flow.op_type(node)))
        return len(self.nodes) - 1

    def add_edges(self, sources: Iterable[Source], target: int) -> None:
        for source, smooth in sources:
            if source != target:
                self.edges[source, target] = self.edges.get((source, target), False) or smooth

    def draw(self) -> None:
        evidence, flow, sources = self.evidence, self.evidence.flow, self.sources
        data, passes = flow.codes(INPUTS), self.finder.passes
        inputs, read, made = evidence.edges.inputs.start, evidence.edges.inputs.flat, evidence.edges.outputs.start
        nodes = self._list_nodes()
        numbers, ops = (array("i", column.tobytes()) for column in (nodes, flow.op[nodes]))
        for node, op, layer in zip(numbers, ops, self.scopes.layers_of(flow, nodes), strict=True):
            self.inside[node] = layer is not None
            before: frozenset[Source] = frozenset()
            for port in read[inputs[node] : inputs[node + 1]]:
                if port >= 0 and sources[port] is not before:
                    before = before | sources[port] if before else sources[port]
            if op in data:
                after = FROM_DATA
            elif before or layer is not None or node in self.cuts:
                after = self._go_on(node, before, layer, passes[op])
            else:
                continue  # it is made of neither data nor any layer's values
            for port in range(made[node], made[node + 1]):
                sources[port] = after

    def _list_nodes(self) -> Ints:
        """Ops of the forward pass whose values go into the backward pass."""
        evidence = self.evidence
        goes = np.frombuffer(evidence.goes, dtype=np.uint8)
        makers = evidence.flow.port_node[(goes & TO_BACKWARD) != 0]
        forward = np.zeros(evidence.flow.nodes, dtype=bool)
        forward[makers[makers >= 0]] = True
        forward[list(evidence.resources.handles)] = False
        forward &= np.frombuffer(evidence.marked, dtype=np.uint8) == 0
        return np.flatnonzero(forward).astype(np.int32)

    def _go_on(self, node: int, before: frozenset[Source], layer: str | None, passes: bool) -> frozenset[Source]:
        """What goes on from an op into which `before` goes."""
        if node in self.cuts:
            here = self.add_cut(node)
            self.add_edges(before, here)
            return frozenset({(here, False)})
        if layer is not None:
            here = self.add_layer(layer)
            self.add_edges(before, here)
            return self.smooth[here]
        return before if passes else frozenset((source, False) for source, _ in before)

    def end(self) -> None:
        """What the backward pass touches outside of all layers, and leads to no further layer, is the loss."""
        producer = self.evidence.edges.producer
        for port in self.finder.list_touched():
            if self.sources[port] and not self.inside[producer[port]]:
                self.add_edges(self.sources[port], LOSS)
        inner = {source for source, target in self.edges if target != LOSS}
        shown = {(s, t) for (s, t) in self.edges if t == LOSS and s in inner and s != INPUT}
        last = {(s, t) for (s, t) in self.edges if t == LOSS and s not in inner}
        if last:
            for edge in shown:
                del self.edges[edge]
        self.edges.pop((INPUT, LOSS), None)


def draw_flow(evidence: TraceEvidence, finder: WayFinder, scopes: LayerScopes, cuts: frozenset[int]) -> Flow:
    """The drawing of one trace; `cuts` are nodes that stop a gradient and are drawn by themselves."""
    drawing = _Drawing(evidence, finder, scopes, cuts)
    drawing.draw()
    drawing.end()
    edges = tuple((source, target, smooth) for (source, target), smooth in sorted(drawing.edges.items()))
    return Flow(tuple(drawing.nodes), edges)
