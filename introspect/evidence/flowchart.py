"""The layer-level drawing of a step: which layer's values go into which, down to the loss."""

from __future__ import annotations

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


class _Drawing:
    def __init__(self, evidence: TraceEvidence, finder: WayFinder, scopes: LayerScopes, cuts: frozenset[int]) -> None:
        self.evidence = evidence
        self.finder = finder
        self.scopes = scopes
        self.cuts = cuts
        self.nodes = [FlowNode(INPUT, "data", "input"), FlowNode(LOSS, "loss", "loss")]
        self.by_layer: dict[str, int] = {}
        self.edges: dict[tuple[int, int], bool] = {}
        self.sources: list[frozenset[Source]] = [frozenset()] * evidence.flow.ports

    def add_layer(self, path: str) -> int:
        if path not in self.by_layer:
            self.by_layer[path] = len(self.nodes)
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
        flow, outputs = self.evidence.flow, self.evidence.edges.outputs
        data = flow.codes(INPUTS)
        nodes = self._list_nodes()
        layers = self.scopes.layers_of(flow, nodes)
        for node, op, layer in zip(nodes.tolist(), flow.op[nodes].tolist(), layers, strict=True):
            made = outputs[node]
            if op in data:
                for port in made:
                    self.sources[port] = frozenset({(INPUT, True)})
                continue
            self._pass(node, op, layer, made)

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

    def _pass(self, node: int, op: int, layer: str | None, made: Iterable[int]) -> None:
        edges, passes = self.evidence.edges, self.finder.passes
        before: frozenset[Source] = frozenset()
        for port in edges.inputs[node]:
            if port >= 0 and self.sources[port] is not before:
                before = before | self.sources[port] if before else self.sources[port]
        if not before and layer is None and node not in self.cuts:
            return  # it is made of neither data nor any layer's values
        if node in self.cuts:
            here = self.add_cut(node)
            self.add_edges(before, here)
            after: frozenset[Source] = frozenset({(here, False)})
        else:
            if layer is not None:
                here = self.add_layer(layer)
                self.add_edges(before, here)
                after = frozenset({(here, True)})
            elif passes[op]:
                after = before
            else:
                after = frozenset((source, False) for source, _ in before)
        for port in made:
            self.sources[port] = after

    def end(self) -> None:
        """What the backward pass touches outside of all layers, and leads to no further layer, is the loss."""
        evidence, finder = self.evidence, self.finder
        touched = np.asarray([port for port in finder.list_touched() if self.sources[port]], dtype=np.int32)
        makers = evidence.flow.port_node[touched]
        made = makers >= 0
        layers = self.scopes.layers_of(evidence.flow, makers[made])
        for port, layer in zip(touched[made].tolist(), layers, strict=True):
            if layer is None:
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
