"""A step as one straight program: every call, branch and loop body inlined, in an order in which it may run."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from introspect.graph.parse import FunctionBody

Ints = NDArray[np.int32]
T = TypeVar("T")
ALL = slice(None)
FrameKind = Literal["main", "call", "branch", "while-cond", "while-body"]


class Frame(NamedTuple):
    """One inlined function.

    Attributes:
        parent: the frame that called; -1 for the step itself.
        body: index into `Dataflow.bodies`.
        call: node of the parent's body that called; -1 for the step itself.
        predicate: port that decides the nearest branch, of a loop's condition the loop; -1 where there is none.
        by_tape: whether a gradient tape made the call, or one around it.
        jit: whether XLA compiles this frame or one around it.
    """

    parent: int
    body: int
    call: int
    kind: FrameKind
    predicate: int
    by_tape: bool
    jit: bool


@dataclass(frozen=True)
class Dataflow:
    """The program in compact arrays; node and port numbers are int32.

    Attributes:
        bodies: the functions that were inlined, "" (the graph itself) first.
        frames: the inlined calls.
        op_types: names of op types; `op` holds indices into it.
        op, frame, local: [nodes] op type, frame, and node number in the frame's body; several nodes can share one
            (the merges of a loop, the parts of an IdentityN).
        input_start, input_port: [nodes + 1], [inputs]; node i reads input_port[input_start[i]:input_start[i + 1]].
        port_node: [ports] the node that yields it; -1 for an argument of the step.
        port_index: [ports] which output of its node it is.
        outputs: ports that the step returns.
        back_edges: (merge node, port) for each loop variable: what the body hands back.
        opaque_calls: nodes that call a function that is not in the library.
    """

    bodies: tuple[FunctionBody, ...]
    frames: tuple[Frame, ...]
    op_types: tuple[str, ...]
    op: Ints
    frame: Ints
    local: Ints
    input_start: Ints
    input_port: Ints
    port_node: Ints
    port_index: Ints
    outputs: tuple[int, ...]
    back_edges: tuple[tuple[int, int], ...]
    opaque_calls: tuple[int, ...]

    @property
    def nodes(self) -> int:
        """How many nodes the program has."""
        return int(self.op.shape[0])

    @property
    def ports(self) -> int:
        """How many ports the program has."""
        return int(self.port_node.shape[0])

    def codes(self, op_types: Container[str]) -> frozenset[int]:
        """What `op` holds for these op types, as far as the program has them."""
        return frozenset(code for code, name in enumerate(self.op_types) if name in op_types)

    def op_type(self, node: int) -> str:
        """Op type of a node."""
        return self.op_types[int(self.op[node])]

    def inputs(self, node: int) -> list[int]:
        """Ports that a node reads."""
        ports: list[int] = self.input_port[self.input_start[node] : self.input_start[node + 1]].tolist()
        return ports

    def body_of(self, node: int) -> FunctionBody:
        """The function in which a node stands."""
        return self.bodies[self.frames[int(self.frame[node])].body]

    def function(self, node: int) -> str:
        """Name of the function in which a node stands; "" for the step's own graph."""
        return self.body_of(node).name

    def name(self, node: int) -> str:
        """Name of a node in its function."""
        return self.body_of(node).name_of(int(self.local[node]))

    def names(self, nodes: Ints) -> list[str]:
        """Names of many nodes in their functions, without a look-up for each."""
        names = np.empty(len(nodes), dtype=object)
        for body, here, rows in self._by_body(nodes):
            names[here] = body.names.pick(rows)
        found: list[str] = names.tolist()
        return found

    def scopes(self, nodes: Ints, tell: Callable[[str], T]) -> list[T]:
        """What `tell` says of the scope of each: of its name up to the last slash. Each different scope is asked once."""
        told = np.empty(len(nodes), dtype=object)
        for body, here, rows in self._by_body(nodes):
            numbers, scopes = body.names.scopes(rows)
            answers = np.empty(len(scopes), dtype=object)
            answers[:] = [tell(scope) for scope in scopes]
            told[here] = answers[numbers]
        found: list[T] = told.tolist()
        return found

    def _by_body(self, nodes: Ints) -> Iterator[tuple[FunctionBody, NDArray[np.int64], Ints]]:
        """(function, which of the nodes stand there, their places in its file)"""
        which = self._body_of_frame[self.frame[nodes]]
        source = self.spread([body.source for body in self.bodies], nodes)
        for body in np.unique(which).tolist():
            here = np.flatnonzero(which == body)
            yield self.bodies[body], here, source[here]

    def spread(self, tables: Sequence[NDArray[Any]], nodes: Ints | slice = ALL) -> NDArray[Any]:
        """What each node has in its function's table; `tables` has an array [nodes of the body] for each of `bodies`."""
        start = np.cumsum([0, *map(len, tables)])
        return np.concatenate(tables)[start[self._body_of_frame[self.frame[nodes]]] + self.local[nodes]]

    @property
    def _body_of_frame(self) -> Ints:
        return np.asarray([frame.body for frame in self.frames], dtype=np.int32)

    def output_of(self, port: int) -> tuple[str, int]:
        """Which output of its op a port is: (name of the output argument, number in it); a plain GraphDef has no names."""
        node = int(self.port_node[port])
        body = self.body_of(node)
        first = int(np.searchsorted(self.port_node, node))
        local = int(np.flatnonzero(body.port_node == self.local[node])[port - first])
        return body.port_name[local], int(body.port_index[local])

    def has_attribute(self, node: int, name: str) -> bool:
        """Whether the op has an attribute of that name."""
        return name in self.body_of(node).def_of(int(self.local[node])).attr

    def frame_of(self, node: int) -> Frame:
        """The frame in which a node stands."""
        return self.frames[int(self.frame[node])]
