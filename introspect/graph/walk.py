"""Ways through a Dataflow."""

from __future__ import annotations

from array import array
from functools import cached_property
from itertools import pairwise

import numpy as np

from introspect.graph.dataflow import Dataflow, Ints
from introspect.graph.sorting import begin_runs, sort_numbers


class Rows:
    """A list of short lists of int32 in two flat arrays; a row is a slice, and costs no memory until it is asked for."""

    def __init__(self, start: Ints, flat: Ints) -> None:
        self.start = array("i", start.astype(np.int32).tobytes())
        self.flat = array("i", flat.astype(np.int32).tobytes())

    def __getitem__(self, row: int) -> array[int]:
        return self.flat[self.start[row] : self.start[row + 1]]

    def __len__(self) -> int:
        return len(self.start) - 1

    def spans(self) -> list[tuple[int, int]]:
        """(begin, end) in `flat` of each row, for loops that cannot afford a slice."""
        return list(pairwise(self.start))


class Edges:
    """The edges of a Dataflow in both directions, in forms that Python walks faster than numpy's arrays."""

    def __init__(self, flow: Dataflow) -> None:
        self.flow = flow

    @cached_property
    def ops(self) -> array[int]:
        """Op type of each node: index into `op_types`."""
        return array("i", self.flow.op.tobytes())

    @cached_property
    def inputs(self) -> Rows:
        """Ports that each node reads."""
        return Rows(self.flow.input_start, self.flow.input_port)

    @cached_property
    def outputs(self) -> Rows:
        """Ports that each node yields and somebody reads. Ports are numbered in the order of their nodes."""
        start = begin_runs(self.flow.port_node, self.flow.nodes)
        return Rows(start, np.arange(self.flow.ports, dtype=np.int32))

    @cached_property
    def producer(self) -> array[int]:
        """Node that yields each port, -1 for an argument."""
        return array("i", self.flow.port_node.tobytes())

    @cached_property
    def readers(self) -> Rows:
        """Nodes that read each port, in program order."""
        lengths = np.diff(self.flow.input_start)
        node = np.repeat(np.arange(self.flow.nodes, dtype=np.int32), lengths)
        order = sort_numbers(self.flow.input_port + 1)  # port -1 is nothing
        return Rows(begin_runs(self.flow.input_port, self.flow.ports), node[order])


def select_nodes(flow: Dataflow, op_types: frozenset[str] | set[str]) -> Ints:
    """Nodes whose op type is one of `op_types`, in order."""
    chosen = np.zeros(len(flow.op_types), dtype=bool)
    chosen[list(flow.codes(op_types))] = True
    return np.flatnonzero(chosen[flow.op]).astype(np.int32)
