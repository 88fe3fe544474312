"""The functions of a GraphDef, each as a list of nodes in an order in which they may run.

Inputs are resolved to ports (one for each output that somebody uses), so that everything after works on integers.
An IdentityN becomes one node for each of its outputs: output i depends on input i alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from introspect.errors import GraphError
from introspect.graph.check import refuse_damage
from introspect.graph.messages import FunctionMessage, parse_node, split_graph, write_head
from introspect.graph.order import sort_nodes
from introspect.graph.table import NodeTable, sum_up
from introspect.graph.texts import Bools, Ints, Texts, join_texts


class NodeNames:
    """Names of a function's nodes in the order of the file; the first may stand for others."""

    def __init__(self, texts: Texts, first: Sequence[str] = ()) -> None:
        self._texts = texts
        self._first = list(first)

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, place: int) -> str:
        return self._first[place] if place < len(self._first) else self._texts[place]

    def __iter__(self) -> Iterator[str]:
        yield from self._first
        yield from self._texts.take(slice(len(self._first), None))

    def find(self, name: str) -> int:
        """The place of a name; -1 where no node has it."""
        places = np.flatnonzero(self.begin_with((name,))).tolist()
        return next((place for place in places if self[place] == name), -1)

    def pick(self, places: Ints) -> list[str]:
        """Names of several."""
        found = list(self._texts.take(places))
        for i in np.flatnonzero(places < len(self._first)).tolist():
            found[i] = self._first[int(places[i])]
        return found

    def scopes(self, places: Ints) -> tuple[Ints, list[str]]:
        """([places] a number for each different scope, those scopes): names up to their last slash."""
        numbers, found = self._texts.take(places).scopes().group()
        shown = np.flatnonzero(places < len(self._first))
        found += [self._first[place].rpartition("/")[0] for place in places[shown].tolist()]
        numbers[shown] = np.arange(len(found) - shown.size, len(found))
        return numbers, found

    def begin_with(self, prefixes: tuple[str, ...]) -> Bools:
        """bool [nodes], whether each begins with one of these."""
        return begin_with([self], prefixes)[0]


def begin_with(functions: Sequence[NodeNames], prefixes: tuple[str, ...]) -> list[Bools]:
    """The same of several functions of one graph, asked at once: for a small one alone it takes as long as for a thousand."""
    found = join_texts([names._texts for names in functions]).begin_with(prefixes)
    parts = np.split(found, np.cumsum([len(names) for names in functions])[:-1])
    for names, part in zip(functions, parts, strict=True):
        part[: len(names._first)] = [name.startswith(prefixes) for name in names._first]
    return parts


class FunctionBody:
    """A function, or the graph itself, with local ports: arguments first, then outputs of nodes.

    Attributes:
        name: name in the library; "" for the graph itself.
        arguments: names of the arguments; the graph itself has none (its placeholders are nodes).
        names: names of the nodes in the order of the file.
        source: int32 [nodes], index into `names`: several nodes may stand for one IdentityN.
        op_types: names of op types; `op` ([nodes], int32) holds indices into it.
        input_start, input_port: int32, the ports that node i reads are input_port[input_start[i]:input_start[i+1]].
        port_node: int32 [ports], the node that yields a port; -1 for an argument.
        port_index: int32 [ports], which output of its op list a port is (the number after the last colon).
        returns: ports that the function returns.
        return_names: their names in the function's signature.
    """

    def __init__(self, graph: _Numbered, number: int, message: FunctionMessage, shown: Sequence[str] = ()) -> None:
        """`shown`: names that the first nodes have in the graph that the function was made of."""
        table = graph.table
        nodes, rows, ports = (
            slice(start[number], start[number + 1]) for start in (graph.start, table.start, graph.port_start)
        )
        self.name = message.name
        self.arguments = message.arguments
        self.return_names = message.return_names
        self.names = NodeNames(table.names.take(rows), shown)
        self.messages = table.messages.take(rows)
        self.op_types = table.op_types
        self.op: Ints = graph.op[nodes]
        self.source: Ints = graph.source[nodes] - table.start[number]
        begin = graph.input_start[nodes.start : nodes.stop + 1]
        self.input_start: Ints = begin - begin[0]
        self.input_port: Ints = graph.input_port[begin[0] : begin[-1]] - ports.start
        self.port_node: Ints = np.where(graph.port_node[ports] < 0, -1, graph.port_node[ports] - nodes.start)
        self.port_index: Ints = graph.port_index[ports]
        self.returns: list[int] = (graph.returned(number) - ports.start).tolist()
        self._port_output = graph.port_output[ports]
        self._outputs = table.references.outputs

    @property
    def nodes(self) -> int:
        """How many nodes."""
        return int(self.op.shape[0])

    @cached_property
    def port_name(self) -> list[str]:
        """[ports] name of the op's output argument ("" in a plain GraphDef)."""
        named = [self._outputs[output][0] for output in self._port_output.tolist()]
        return [*self.arguments, *named[len(self.arguments) :]]

    def name_of(self, node: int) -> str:
        """Name of a node in the GraphDef."""
        return self.names[int(self.source[node])]

    def is_like(self, other: FunctionBody) -> bool:
        """Whether both run the same ops, under the same names and on the same values; they may be of two graphs."""
        return self.is_built_like(other) and list(self.names) == list(other.names)

    def is_built_like(self, other: FunctionBody) -> bool:
        """The same under whatever names: TensorFlow numbers a scope that it has met before."""
        if self.nodes != other.nodes or not np.array_equal(self.input_port, other.input_port):
            return False
        ops, others = ([body.op_types[op] for op in body.op.tolist()] for body in (self, other))
        return ops == others

    def def_of(self, node: int) -> Any:
        """The NodeDef of a node."""
        return parse_node(self.messages.read_bytes(int(self.source[node])))


class _Numbered:
    """Nodes and ports of all functions, each function's behind those of the one before.

    Attributes:
        start, port_start: int32 [functions + 1], where each function's nodes and ports begin.
        op, source, input_start, input_port, port_node, port_index: as in `FunctionBody`, over all.
        port_output: int32 [ports], index into the outputs of the table's references.
    """

    def __init__(self, table: NodeTable) -> None:
        self.table = table
        self.port = self._number_ports()
        self._number_nodes(*self._sort())

    def returned(self, number: int) -> Ints:
        """Ports that a function returns."""
        start = self.table.returns
        return self.port[start[number] : start[number + 1]]

    def _number_ports(self) -> Ints:
        """[references] the port of each, -1 of a control input; an argument has one though nobody uses it."""
        known, references = self.table.known, self.table.references
        arguments = np.flatnonzero(known.row < 0)
        data = ~references.control & (references.name >= 0)
        name, kinds = references.name[data].astype(np.int64), len(references.outputs) + 1
        output = np.where(known.row[name] < 0, 0, references.output[data])
        keys, number = np.unique(np.concatenate([arguments * kinds, name * kinds + output]), return_inverse=True)
        port = np.full(len(references.name), -1, dtype=np.int32)
        port[data] = number[len(arguments) :]
        self._port_name, self.port_output = keys // kinds, (keys % kinds).astype(np.int32)
        self.port_start: Ints = np.searchsorted(self._port_name, known.start).astype(np.int32)
        return port

    def _sort(self) -> tuple[Ints, Ints, Ints]:
        """(rows in an order in which they may run; where each row's references begin there, and those)."""
        table = self.table
        start = sum_up(table.counts)
        name = table.references.name[: start[-1]]
        before = np.where(name < 0, -1, table.known.row[name])
        return _arrange(start, sort_nodes(start, _leave_loops(before, table)))

    def _number_nodes(self, order: Ints, start: Ints, read: Ints) -> None:
        """Number the nodes: a row each, but for the parts of an IdentityN."""
        table, rows = self.table, len(order)
        op = table.op[order]
        reads = self.port[read]
        data = reads >= 0
        width = np.bincount(np.repeat(np.arange(rows), np.diff(start))[data], minlength=rows)
        apart = op == _find_op(table, "IdentityN")
        parts = np.where(apart, np.maximum(width, 1), 1)
        made = sum_up(parts)
        self.start = made[table.start]
        self.op: Ints = np.repeat(op, parts)
        self.source: Ints = np.repeat(order, parts)
        self.input_start: Ints = sum_up(np.repeat(np.where(apart, width > 0, width), parts))
        self.input_port: Ints = reads[data]
        self._place_ports(order, made, apart)

    def _place_ports(self, order: Ints, made: Ints, apart: Bools) -> None:
        """Which node yields each port."""
        known = self.table.known
        first, own = np.empty(len(order), dtype=np.int32), np.empty(len(order), dtype=bool)
        first[order], own[order] = made[:-1], apart
        row = known.row[self._port_name]
        numbers = np.asarray([index for _, index in self.table.references.outputs] or [0], dtype=np.int32)
        within = self._port_name - known.start[known.function[self._port_name]]
        self.port_index: Ints = np.where(row < 0, within, numbers[self.port_output]).astype(np.int32)
        self.port_node: Ints = np.where(row < 0, -1, first[row] + np.where(own[row], self.port_index, 0))


def _find_op(table: NodeTable, op_type: str) -> int:
    return table.op_types.index(op_type) if op_type in table.op_types else -1


def _leave_loops(before: Ints, table: NodeTable) -> Ints:
    """Rows to wait for: in the old control flow a loop's Merge does not wait for what its last pass hands on."""
    handing = _find_op(table, "NextIteration")
    return before if handing < 0 else np.where(np.append(table.op, -1)[before] == handing, -1, before)


def _arrange(start: Ints, order: Ints | None) -> tuple[Ints, Ints, Ints]:
    """(order, where each row's items begin in that order, and the items: numbers of what stands in `start`'s order)."""
    if order is None:
        return np.arange(len(start) - 1, dtype=np.int32), start, np.arange(start[-1], dtype=np.int32)
    lengths = np.diff(start)[order]
    sorted_start = sum_up(lengths)
    place = np.repeat(start[:-1][order] - sorted_start[:-1], lengths) + np.arange(start[-1], dtype=np.int32)
    return order, sorted_start, place


class ParsedGraph:
    """A GraphDef: its own nodes and the functions of its library."""

    def __init__(
        self, graph: bytes, outputs: Iterable[str] = (), step: str = "", arguments: Sequence[str] = ()
    ) -> None:
        """`step`, `arguments` as in `CapturedTrace`; `outputs` (names of tensors) where there is no `step`.

        Raises:
            GraphError: it is no GraphDef, or does not hold together.
        """
        with refuse_damage("the step's own nodes"):
            nodes, functions = split_graph(graph)
            self._messages = {one.name: one for one in functions}
            main = self._open_step(step) if step else FunctionMessage("", (), nodes, tuple(outputs))
            library = [*self._messages.values()]
            self._numbers = {one.name: number for number, one in enumerate(library, 1)}
            self._graph = _Numbered(NodeTable([main, *library]))
            self._messages = {one.name: replace(one, nodes=()) for one in library}
            self._bodies: dict[str, FunctionBody] = {}
            self.main = self._make(0, main, arguments)

    @property
    def functions(self) -> int:
        """How many functions the library holds."""
        return len(self._messages)

    def has_function(self, name: str) -> bool:
        """Whether the library holds a function of this name."""
        return name in self._messages

    def body(self, name: str) -> FunctionBody:
        """A function of the library.

        Raises:
            GraphError: the library has no such function, or it does not hold together.
        """
        body = self._bodies.get(name)
        if body is None:
            if name not in self._messages:
                raise GraphError(f"function {name!r} is called and not in the graph's library; capture it again")
            with refuse_damage(f"function {name!r}"):
                body = self._bodies[name] = self._make(self._numbers[name], self._messages[name])
        return body

    def _open_step(self, step: str) -> FunctionMessage:
        """A function as the graph that it was made of: each argument is a Placeholder."""
        function = self._messages.pop(step)
        made = [write_head(name, "Placeholder") for name in function.arguments]
        return FunctionMessage("", (), [*made, *function.nodes], function.returns)

    def _make(self, number: int, message: FunctionMessage, shown: Sequence[str] = ()) -> FunctionBody:
        missing = self._graph.table.missing.get(number)
        if missing is not None:
            where = message.name or "of the step"
            raise GraphError(f"graph {where}: no node {missing.removeprefix('^')!r}; the GraphDef is damaged")
        return FunctionBody(self._graph, number, message, shown)
