"""One function of a GraphDef as a list of nodes in an order in which they may run.

Inputs are resolved to ports (one for each output that somebody uses), so that everything after works on integers.
An IdentityN becomes one node for each of its outputs: output i depends on input i alone.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.errors import GraphError
from introspect.graph.check import refuse_damage
from introspect.graph.messages import END, NodeMessages, split_graph
from introspect.graph.order import sort_nodes

Ints = NDArray[np.int32]

MISSING = np.iinfo(np.int32).max


class FunctionBody:
    """A function, or the graph itself, with local ports: arguments first, then outputs of nodes.

    Attributes:
        name: name in the library; "" for the graph itself.
        arguments: names of the arguments; the graph itself has none (its placeholders are nodes).
        defs: the NodeDef messages, as they stand in the file.
        names: their names.
        source: int32 [nodes], index into `defs`: several nodes may stand for one IdentityN.
        op_types: names of op types; `op` ([nodes], int32) holds indices into it.
        input_start, input_port: int32, the ports that node i reads are input_port[input_start[i]:input_start[i+1]].
        port_node: int32 [ports], the node that yields a port; -1 for an argument.
        port_index: int32 [ports], which output of its op list a port is (the number after the last colon).
        port_name: name of the op's output argument ("" in a plain GraphDef).
        returns: ports that the function returns.
        return_names: their names in the function's signature.
    """

    return_names: Sequence[str] = ()

    def __init__(self, name: str, arguments: Sequence[str], defs: NodeMessages, returns: Iterable[str]) -> None:
        """`returns`: references as GraphDefs write them: `arg`, `node:1`, `node:out:0`.

        Raises:
            GraphError: no node or argument has a name that is referred to.
        """
        self.name = name
        self.arguments = list(arguments)
        self.defs = defs
        table = _read_messages(defs)
        self.names = table.names
        returned = [table.references[reference] for reference in returns]
        self.op_types = list(table.op_types)
        ports = _Ports(self, table)
        start = _sum_up(table.counts)
        order = sort_nodes(start, _leave_loops(ports.makers[table.inputs], table))
        self._number(table, ports, *_arrange(start, table.inputs, order))
        self.returns: list[int] = ports.numbers[returned].tolist()

    @property
    def nodes(self) -> int:
        """How many nodes."""
        return int(self.op.shape[0])

    def name_of(self, node: int) -> str:
        """Name of a node in the GraphDef."""
        return str(self.names[self.source[node]])

    def def_of(self, node: int) -> Any:
        """The NodeDef of a node."""
        return self.defs[int(self.source[node])]

    def _number(self, table: _Messages, ports: _Ports, order: Ints, start: Ints, reads: Ints) -> None:
        """Number the nodes: an op each, but for the parts of an IdentityN."""
        defs = order.shape[0]
        op = table.ops[order]
        data = ports.numbers[reads] >= 0
        width = np.bincount(np.repeat(np.arange(defs), np.diff(start))[data], minlength=defs)
        apart = op == table.op_types.get("IdentityN", -1)
        parts = np.where(apart, np.maximum(width, 1), 1)
        self.op: Ints = np.repeat(op, parts)
        self.source: Ints = np.repeat(order, parts)
        self.input_start: Ints = _sum_up(np.repeat(np.where(apart, width > 0, width), parts))
        self.input_port: Ints = ports.numbers[reads[data]]
        first = np.empty(defs, dtype=np.int32)
        first[order] = _sum_up(parts)[:-1]
        own = np.zeros(defs, dtype=bool)
        own[order] = apart
        made = len(self.arguments)
        makers, index = ports.made_by(made), ports.index
        self.port_index: Ints = index
        self.port_name = ports.names
        self.port_node: Ints = np.full(index.shape[0], -1, dtype=np.int32)
        self.port_node[made:] = first[makers] + np.where(own[makers], index[made:], 0)


@dataclass(frozen=True, slots=True)
class _Messages:
    """The NodeDefs of one function as numbers; each text once.

    Attributes:
        names: of all, in the order of the file.
        op_types: by name, its number.
        ops: int32 [nodes], op type of each.
        counts: [nodes], how many inputs each has.
        inputs: int32 [inputs], their references, one after another.
        references: by text, its number.
    """

    names: list[str]
    op_types: defaultdict[str, int]
    ops: Ints
    counts: NDArray[Any]
    inputs: Ints
    references: defaultdict[str, int]


def _read_messages(defs: NodeMessages) -> _Messages:
    names: list[str] = []
    op_types, references = _number_texts(), _number_texts()
    ops, inputs = array("i"), array("i")
    for block in defs.columns():
        names += block.names
        ops.extend(map(op_types.__getitem__, block.ops))
        inputs.extend(map(references.__getitem__, block.inputs))
    found = np.asarray(inputs, dtype=np.int32)
    end = found == references[END]
    counts = np.diff(np.flatnonzero(end), prepend=-1) - 1
    if counts.shape[0] != len(names):
        raise ValueError("an input without a name")
    return _Messages(names, op_types, np.asarray(ops, dtype=np.int32), counts, found[~end], references)


def _number_texts() -> defaultdict[str, int]:
    """Numbers each text as it is first asked for."""
    return defaultdict(count().__next__)


class _Ports:
    """What each reference means.

    Attributes:
        numbers: int32 [references], the port; -1 for a control input.
        makers: int32 [references], place in the file of the node that is referred to; -1 for an argument.
        index, names: of each port, as in `FunctionBody`.
    """

    def __init__(self, body: FunctionBody, table: _Messages) -> None:
        self.body = body
        made = len(body.arguments)
        known = {argument: -1 - i for i, argument in enumerate(body.arguments)}
        known.update(zip(table.names, count()))
        # By map and zip, not in a loop: there is a reference for nearly each node.
        nodes, _, texts = zip(*map(str.partition, table.references, repeat(":")), strict=True)
        found = np.asarray([*map(known.get, nodes, repeat(MISSING))], dtype=np.int32)
        outputs = _number_texts()
        output = np.asarray([*map(outputs.__getitem__, texts)], dtype=np.int32)
        new = (found >= 0) & (found != MISSING)
        same = self._find_same(table.references, nodes, np.flatnonzero(output == outputs["0"]).tolist())
        new[list(same)] = False
        self.numbers: Ints = np.where(new, made - 1 + np.cumsum(new), np.maximum(-1 - found, -1)).astype(np.int32)
        self.numbers[list(same)] = self.numbers[list(same.values())]
        controls = np.flatnonzero(found == MISSING)
        found[controls] = self._find_controls([nodes[place] for place in controls.tolist()], known)
        self.makers: Ints = np.maximum(found, -1)
        named = [_split_output(text) for text in outputs]
        kept = output[new]
        self.names = [*body.arguments, *map([name for name, _ in named].__getitem__, kept.tolist())]
        index = np.asarray([index for _, index in named], dtype=np.int32)
        self.index: Ints = np.concatenate([np.arange(made, dtype=np.int32), index[kept]])

    def made_by(self, arguments: int) -> Ints:
        """Places in the file of the nodes that yield the ports behind the arguments."""
        makers = np.empty(len(self.index), dtype=np.int32)
        data = self.numbers >= 0
        makers[self.numbers[data]] = self.makers[data]
        return makers[arguments:]

    @staticmethod
    def _find_same(references: dict[str, int], nodes: Sequence[str], firsts: list[int]) -> dict[int, int]:
        """References that mean the same as another: a plain GraphDef writes "node" and "node:0" for the first output."""
        return {place: references[nodes[place]] for place in firsts if nodes[place] in references}

    def _find_controls(self, names: list[str], known: dict[str, int]) -> list[int]:
        """Nodes of control inputs; negative for an argument, and for the mark behind a node's inputs."""
        places = [known.get(name[1:], MISSING) if name[:1] == "^" else MISSING for name in names]
        wrong = {name for name, place in zip(names, places, strict=True) if place == MISSING} - {END}
        if wrong:
            where = self.body.name or "of the step"
            named = min(wrong).removeprefix("^")
            raise GraphError(f"graph {where}: no node {named!r}; the GraphDef is damaged")
        return [-1 if place == MISSING else place for place in places]


def _split_output(text: str) -> tuple[str, int]:
    """(name of the output argument, number in it) of what stands behind a node's name."""
    name, _, index = text.rpartition(":")
    return name, int(index) if text else 0


def _sum_up(lengths: NDArray[Any]) -> Ints:
    """Where rows of these lengths begin and end, one after another."""
    start = np.zeros(lengths.shape[0] + 1, dtype=np.int32)
    np.cumsum(lengths, out=start[1:])
    return start


def _leave_loops(before: Ints, table: _Messages) -> Ints:
    """Nodes to wait for: in the old control flow a loop's Merge does not wait for what its last pass hands on."""
    if "NextIteration" not in table.op_types:
        return before
    ops = np.append(table.ops, np.int32(-1))
    return np.where(ops[before] == table.op_types["NextIteration"], np.int32(-1), before)


def _arrange(start: Ints, flat: Ints, order: Ints | None) -> tuple[Ints, Ints, Ints]:
    """(order, start, flat) of the rows in that order."""
    if order is None:
        return np.arange(start.shape[0] - 1, dtype=np.int32), start, flat
    lengths = np.diff(start)[order]
    sorted_start = _sum_up(lengths)
    place = np.repeat(start[:-1][order] - sorted_start[:-1], lengths) + np.arange(flat.shape[0])
    return order, sorted_start, flat[place]


class ParsedGraph:
    """A GraphDef: its own nodes and the functions of its library, each read when it is first asked for."""

    def __init__(
        self, graph: bytes, outputs: Iterable[str] = (), step: str = "", arguments: Sequence[str] = ()
    ) -> None:
        """`step`, `arguments` as in `CapturedTrace`; `outputs` (names of tensors) where there is no `step`."""
        nodes, functions = split_graph(graph)
        self._library = {function.name: function for function in functions}
        self._bodies: dict[str, FunctionBody] = {}
        with refuse_damage("the step's own nodes"):
            self.main = self._read_step(step, arguments) if step else FunctionBody("", (), nodes, outputs)

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

    def _read_step(self, step: str, arguments: Sequence[str]) -> FunctionBody:
        """A function as the graph that it was made of: each argument is a Placeholder."""
        from tensorboard.compat.proto import node_def_pb2

        function = self._library.pop(step)
        made = [node_def_pb2.NodeDef(name=name, op="Placeholder").SerializeToString() for name in function.arguments]
        body = FunctionBody("", (), function.nodes.behind(made), function.returns)
        body.names[: len(made)] = arguments
        return body

    def _read(self, name: str) -> FunctionBody:
        function = self._library.get(name)
        if function is None:
            raise GraphError(f"function {name!r} is called and not in the graph's library; capture it again")
        with refuse_damage(f"function {name!r}"):
            body = FunctionBody(name, function.arguments, function.nodes, function.returns)
            body.return_names = function.return_names
        return body
