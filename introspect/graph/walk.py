"""Ways through a Dataflow."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise

import numpy as np

from introspect.graph.dataflow import Dataflow, Ints


class Edges:
    """The edges of a Dataflow as plain lists, which Python walks several times faster than arrays."""

    def __init__(self, flow: Dataflow) -> None:
        self.flow = flow

    @cached_property
    def inputs(self) -> list[list[int]]:
        """Ports that each node reads."""
        start = self.flow.input_start.tolist()
        ports = self.flow.input_port.tolist()
        return [ports[a:b] for a, b in pairwise(start)]

    @cached_property
    def outputs(self) -> list[list[int]]:
        """Ports that each node yields and somebody reads."""
        made: list[list[int]] = [[] for _ in range(self.flow.nodes)]
        for port, node in enumerate(self.flow.port_node.tolist()):
            if node >= 0:
                made[node].append(port)
        return made

    @cached_property
    def producer(self) -> list[int]:
        """Node that yields each port, -1 for an argument."""
        nodes: list[int] = self.flow.port_node.tolist()
        return nodes

    @cached_property
    def readers(self) -> list[list[int]]:
        """Nodes that read each port."""
        found: list[list[int]] = [[] for _ in range(self.flow.ports)]
        for node, ports in enumerate(self.inputs):
            for port in ports:
                if port >= 0:
                    found[port].append(node)
        return found


def select_nodes(flow: Dataflow, op_types: frozenset[str] | set[str]) -> Ints:
    """Nodes whose op type is one of `op_types`, in order."""
    codes = [code for code, name in enumerate(flow.op_types) if name in op_types]
    return np.flatnonzero(np.isin(flow.op, codes)).astype(np.int32)
