"""One function of a GraphDef as a list of nodes in an order in which they may run.

Inputs are resolved to ports (one for each output that somebody uses), so that everything after works on integers.
An IdentityN becomes one node for each of its outputs: output i depends on input i alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.errors import GraphError
from introspect.graph.check import refuse_damage

Ints = NDArray[np.int32]


class FunctionBody:
    """A function, or the graph itself, with local ports: arguments first, then outputs of nodes.

    Attributes:
        name: name in the library; "" for the graph itself.
        arguments: names of the arguments; the graph itself has none (its placeholders are nodes).
        defs: the NodeDef messages, as they stand in the file.
        source: int32 [nodes], index into `defs`: several nodes may stand for one IdentityN.
        ops: op type of each node.
        input_start, input_port: int32, the ports that node i reads are input_port[input_start[i]:input_start[i+1]].
        port_node: int32 [ports], the node that yields a port; -1 for an argument.
        port_index: int32 [ports], which output of its op list a port is (the number after the last colon).
        port_name: name of the op's output argument ("" in a plain GraphDef).
        returns: ports that the function returns.
    """

    def __init__(self, name: str, arguments: Sequence[str], defs: Sequence[Any]) -> None:
        self.name = name
        self.arguments = list(arguments)
        self.defs = defs
        self.returns: list[int] = []
        self.return_names: list[str] = []
        self.ops: list[str] = []
        self._ports: dict[str, int] = {argument: i for i, argument in enumerate(self.arguments)}
        self._number_nodes()
        self._read_nodes()

    @property
    def nodes(self) -> int:
        """How many nodes."""
        return len(self.ops)

    def name_of(self, node: int) -> str:
        """Name of a node in the GraphDef."""
        return str(self.defs[self.source[node]].name)

    def def_of(self, node: int) -> Any:
        """The NodeDef of a node."""
        return self.defs[self.source[node]]

    def port(self, reference: str) -> int:
        """Local port of a reference as GraphDefs write it: `arg`, `node`, `node:1`, `node:output:0`.

        Raises:
            GraphError: no node or argument has this name.
        """
        found = self._ports.get(reference)
        return found if found is not None else self._add_port(reference)

    def seal(self) -> None:
        """Turn the growing lists into arrays; after this no new port can be asked for."""
        self.port_node: Ints = np.asarray(self._port_node, dtype=np.int32)
        self.port_index: Ints = np.asarray(self._port_index, dtype=np.int32)
        self._place = None
        for growing in (self._ports, self._first, self._port_node, self._port_index, self._source):
            growing.clear()

    def _number_nodes(self) -> None:
        first: dict[str, int] = {}
        source: list[int] = []
        for i, node in enumerate(self.defs):
            first[node.name] = len(source)
            if node.op == "IdentityN":
                width = sum(1 for reference in node.input if reference[0] != "^")
                source.extend([i] * max(width, 1))
            else:
                source.append(i)
        self._first: dict[str, int] = first
        self._source: list[int] = source
        self._port_node: list[int] = [-1] * len(self.arguments)
        self._port_index: list[int] = list(range(len(self.arguments)))
        self.port_name: list[str] = list(self.arguments)

    def _read_nodes(self) -> None:
        inputs: list[list[int]] = []
        controls: list[list[int]] = []
        known, first, producer = self._ports.get, self._first, self._port_node
        in_order = True
        for node in self.defs:
            here = len(inputs)
            data: list[int] = []
            control: list[int] = []
            for reference in node.input:
                if reference[0] == "^":
                    before = first.get(reference[1:], -2)
                    control.append(before if before != -2 else self._node_named(reference[1:]))
                else:
                    port = known(reference)
                    data.append(port if port is not None else self._add_port(reference))
                    before = producer[data[-1]]
                if before >= here:
                    in_order = False
            op = node.op
            for part in [data] if op != "IdentityN" else [[one] for one in data] or [[]]:
                self.ops.append(op)
                inputs.append(part)
                controls.append(control)
        self._store(inputs, controls, in_order)

    def _store(self, inputs: list[list[int]], controls: list[list[int]], in_order: bool) -> None:
        if in_order:
            self.source: list[int] = list(self._source)
        else:
            order = _sort(inputs, controls, self._port_node)
            self._reorder(order)
            inputs = [inputs[i] for i in order]
        lengths = np.fromiter((len(row) for row in inputs), dtype=np.int32, count=len(inputs))
        self.input_start: Ints = np.zeros(len(inputs) + 1, dtype=np.int32)
        np.cumsum(lengths, out=self.input_start[1:])
        self.input_port: Ints = np.fromiter(chain.from_iterable(inputs), dtype=np.int32, count=int(lengths.sum()))

    def _reorder(self, order: list[int]) -> None:
        place = [0] * len(order)
        for new, old in enumerate(order):
            place[old] = new
        self.ops = [self.ops[i] for i in order]
        self.source = [self._source[i] for i in order]
        self._port_node = [place[node] if node >= 0 else -1 for node in self._port_node]
        self._place: list[int] | None = place

    _place: list[int] | None = None

    def _node_named(self, name: str) -> int:
        node = self._first.get(name)
        if node is None:
            raise GraphError(f"graph {self.name or 'of the step'}: no node {name!r}; the GraphDef is damaged")
        return node

    def _add_port(self, reference: str) -> int:
        parts = reference.split(":")
        index = int(parts[-1]) if len(parts) > 1 else 0
        node = self._node_named(parts[0])
        output = parts[1] if len(parts) == 3 else ""
        if len(parts) < 3:
            return self._alias(reference, f"{parts[0]}:{index}", node, index, output)
        return self._new_port(reference, node, index, output)

    def _alias(self, reference: str, full: str, node: int, index: int, output: str) -> int:
        # A plain GraphDef writes both "node" and "node:0" for the first output.
        found = self._ports.get(full)
        if found is None:
            found = self._new_port(full, node, index, output)
        self._ports[reference] = found
        return found

    def _new_port(self, key: str, node: int, index: int, output: str) -> int:
        if self.defs[self._source[node]].op == "IdentityN":
            node += index
        if self._place is not None:
            node = self._place[node]
        port = len(self._port_node)
        self._port_node.append(node)
        self._port_index.append(index)
        self.port_name.append(output)
        self._ports[key] = port
        return port


def _sort(inputs: list[list[int]], controls: list[list[int]], port_node: list[int]) -> list[int]:
    """An order that respects data and control edges."""
    # The old control flow (Enter, NextIteration) makes circles: what is left over is appended as it stands.
    count = len(inputs)
    needs = [0] * count
    users: list[list[int]] = [[] for _ in range(count)]
    for i in range(count):
        before = {port_node[port] for port in inputs[i]} | set(controls[i])
        before -= {-1, i}
        needs[i] = len(before)
        for node in before:
            users[node].append(i)
    ready = [i for i in range(count - 1, -1, -1) if needs[i] == 0]
    order: list[int] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for user in users[node]:
            needs[user] -= 1
            if needs[user] == 0:
                ready.append(user)
    if len(order) < count:
        done = set(order)
        order.extend(i for i in range(count) if i not in done)
    return order


class ParsedGraph:
    """A GraphDef: its own nodes and the functions of its library, each read when it is first asked for."""

    def __init__(self, graph: bytes, outputs: Iterable[str] = ()) -> None:
        from tensorboard.compat.proto import graph_pb2

        try:
            self._message = graph_pb2.GraphDef.FromString(graph)
        except Exception as error:
            raise GraphError(f"the captured graph cannot be parsed: {error}; capture it again") from error
        with refuse_damage("the step's own nodes"):
            self.main = FunctionBody("", (), self._message.node)
            self.main.returns = [self.main.port(name) for name in outputs]
            self.main.seal()
        self._library = {function.signature.name: function for function in self._message.library.function}
        self._bodies: dict[str, FunctionBody] = {}

    @property
    def functions(self) -> int:
        """How many functions the library holds."""
        return len(self._library)

    def has_function(self, name: str) -> bool:
        """Whether the library holds a function of this name."""
        return name in self._library

    def body(self, name: str) -> FunctionBody:
        """A function of the library.

        Raises:
            GraphError: the library has no such function.
        """
        body = self._bodies.get(name)
        if body is None:
            body = self._bodies[name] = self._read(name)
        return body

    def _read(self, name: str) -> FunctionBody:
        function = self._library.get(name)
        if function is None:
            raise GraphError(f"function {name!r} is called and not in the graph's library; capture it again")
        with refuse_damage(f"function {name!r}"):
            body = FunctionBody(name, [a.name for a in function.signature.input_arg], function.node_def)
            names = [a.name for a in function.signature.output_arg]
            body.returns = [body.port(function.ret[output]) for output in names]
            body.return_names = names
            body.seal()
        return body
