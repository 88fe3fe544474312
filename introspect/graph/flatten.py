"""Inline every call, branch and loop of a graph into one Dataflow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from introspect.errors import GraphError
from introspect.graph.check import refuse_damage
from introspect.graph.dataflow import Dataflow, Frame, Ints
from introspect.graph.ops import CALLS, MERGE, Call
from introspect.graph.parse import FunctionBody, ParsedGraph

MAX_DEPTH = 200
MAX_NODES = 20_000_000

TapeTest = Callable[[str, str], bool]
"""(function, node) -> whether a gradient tape made the op."""


def flatten_graph(graph: ParsedGraph, by_tape: TapeTest) -> Dataflow:
    """The whole step as one program.

    `by_tape` is asked for ops that call functions only: what a call by the tape runs belongs to the tape.

    Raises:
        GraphError: a reference leads nowhere, or the calls nest without end.
    """
    flattener = _Flattener(graph, by_tape)
    main = graph.main
    frame = Frame(-1, 0, -1, "main", -1, False, False)
    with refuse_damage("the step"):
        ports = flattener.inline(main, np.zeros(0, dtype=np.int32), frame)
        return flattener.finish(tuple(int(ports[port]) for port in main.returns))


@dataclass(frozen=True, slots=True)
class _Template:
    """What inlining needs of one function, made once however often it is called."""

    body: FunctionBody
    number: int
    calls: tuple[int, ...]
    lengths: Ints
    produced: Ints
    """Local ports that nodes yield, sorted by node."""
    producer: Ints
    """Their nodes."""


@dataclass(frozen=True, slots=True)
class _Site:
    """A call that is being inlined."""

    template: _Template
    node: int
    ports: Ints
    frame: int

    @property
    def body(self) -> FunctionBody:
        return self.template.body

    def inputs(self) -> Ints:
        start = self.body.input_start
        return self.ports[self.body.input_port[start[self.node] : start[self.node + 1]]]

    def outputs(self) -> list[tuple[int, int]]:
        """(local port, index of the output) for each output that somebody uses."""
        low, high = np.searchsorted(self.template.producer, (self.node, self.node + 1))
        return [(int(port), int(self.body.port_index[port])) for port in self.template.produced[low:high]]


class _Flattener:
    def __init__(self, graph: ParsedGraph, by_tape: TapeTest) -> None:
        self.graph = graph
        self.by_tape = by_tape
        self.templates: dict[str, _Template] = {}
        self.bodies: list[FunctionBody] = []
        self.frames: list[Frame] = []
        self.op_codes = {op: code for code, op in enumerate(graph.main.op_types)}
        self.calling = np.asarray([op in CALLS or graph.has_function(op) for op in self.op_codes], dtype=bool)
        self.parts: list[tuple[Ints, ...]] = []
        self.yields: list[tuple[Ints, Ints]] = []
        self.nodes = 0
        self.ports = 0
        self.back: list[tuple[int, int]] = []
        self.opaque: list[int] = []

    def inline(self, body: FunctionBody, arguments: Ints, frame: Frame, depth: int = 0) -> Ints:
        """Append one function; returns the program's port of each of its local ports."""
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise GraphError(f"function {body.name!r}: calls nest deeper than {MAX_DEPTH}, or the step is too large")
        template = self.template(body)
        number = len(self.frames)
        self.frames.append(frame._replace(body=template.number))
        ports = np.full(body.port_node.shape[0], -1, dtype=np.int32)
        width = min(len(body.arguments), arguments.shape[0])
        ports[:width] = arguments[:width]
        start = 0
        for call in template.calls:
            self.append(template, start, call, ports, number)
            self.inline_call(_Site(template, call, ports, number), depth + 1)
            start = call + 1
        self.append(template, start, body.nodes, ports, number)
        return ports

    def template(self, body: FunctionBody) -> _Template:
        found = self.templates.get(body.name)
        if found is None:
            calls = tuple(np.flatnonzero(self.calling[body.op]).tolist())
            made = np.arange(len(body.arguments), body.port_node.shape[0], dtype=np.int32)
            made = made[np.argsort(body.port_node[made], kind="stable")]
            lengths = np.diff(body.input_start)
            found = _Template(body, len(self.bodies), calls, lengths, made, body.port_node[made])
            self.templates[body.name] = found
            self.bodies.append(body)
        return found

    def code(self, op: str) -> int:
        return self.op_codes.setdefault(op, len(self.op_codes))

    def append(self, template: _Template, start: int, end: int, ports: Ints, frame: int) -> None:
        """Append the nodes from `start` to before `end`, none of which calls a function."""
        if end <= start:
            return
        body = template.body
        whole = end - start == body.nodes
        low, high = (0, len(template.produced)) if whole else np.searchsorted(template.producer, (start, end))
        made = template.produced[low:high]
        ports[made] = np.arange(self.ports, self.ports + made.shape[0], dtype=np.int32)
        self.yields.append((template.producer[low:high] - start + self.nodes, body.port_index[made]))
        self.ports += int(made.shape[0])
        read = body.input_port[body.input_start[start] : body.input_start[end]]
        local = np.arange(start, end, dtype=np.int32)
        whose = np.full(end - start, frame, dtype=np.int32)
        self.parts.append((body.op[start:end], whose, local, template.lengths[start:end], ports[read]))
        self.nodes += end - start

    def inline_call(self, site: _Site, depth: int) -> None:
        op = site.body.op_types[site.body.op[site.node]]
        call = CALLS.get(op, Call("call", ()))
        names = self.function_names(site, call) or [op]
        if not all(self.graph.has_function(name) for name in names):
            self.opaque.append(self.nodes)
            self.append(site.template, site.node, site.node + 1, site.ports, site.frame)
            return
        arguments = site.inputs()[call.skip_inputs :]
        if call.kind == "while":
            self.inline_while(site, names, arguments, depth)
        elif call.kind == "branch":
            self.inline_branches(site, names, arguments, depth)
        elif call.kind == "dataset":
            self.inline_dataset(site, names[0], arguments, depth)
        elif call.kind == "feed":
            self.inline_feed(site, names[0], arguments, depth)
        else:
            frame = self.frame_for(site, "call")
            body = self.graph.body(names[0])
            inner = self.inline(body, arguments, frame, depth)
            returned = [int(inner[port]) for port in body.returns]
            self.hand_back(site, returned, body.return_names if not call.attributes else None)

    def function_names(self, site: _Site, call: Call) -> list[str]:
        attributes = site.body.def_of(site.node).attr
        names: list[str] = []
        for name in call.attributes:
            value = attributes[name]
            names.extend([f.name for f in value.list.func] if name == "branches" else [value.func.name])
        return names

    def frame_for(self, site: _Site, kind: str) -> Frame:
        parent = self.frames[site.frame]
        definition = site.body.def_of(site.node)
        compiled = "_XlaMustCompile" in definition.attr and definition.attr["_XlaMustCompile"].b
        return Frame(
            parent=site.frame,
            body=-1,
            call=site.node,
            kind=kind,  # type: ignore[arg-type]
            predicate=int(site.inputs()[0]) if kind == "branch" else parent.predicate,
            by_tape=parent.by_tape or self.by_tape(site.body.name, definition.name),
            jit=parent.jit or compiled,
        )

    def hand_back(self, site: _Site, returned: list[int], names: Sequence[str] | None = None) -> None:
        """Let the call's output ports be those that the function returned."""
        for port, index in site.outputs():
            if names is not None:  # the old way to call: the op type is the function's name
                index = names.index(site.body.port_name[port])
            if index < len(returned):
                site.ports[port] = returned[index]

    def inline_branches(self, site: _Site, names: list[str], arguments: Ints, depth: int) -> None:
        results: list[list[int]] = []
        frame = self.frame_for(site, "branch")
        for name in names:
            body = self.graph.body(name)
            inner = self.inline(body, arguments, frame, depth)
            results.append([int(inner[port]) for port in body.returns])
        returned = [self.merge(site, [row[i] for row in results]) for i in range(min(map(len, results)))]
        self.hand_back(site, returned)

    def inline_while(self, site: _Site, names: list[str], arguments: Ints, depth: int) -> None:
        body = self.graph.body(names[1])
        fixed = [body.returns[i] == i for i in range(len(body.returns))]
        firsts = [self.nodes + i for i in range(len(fixed) - sum(fixed))]
        carried = [
            int(arguments[i]) if same else self.merge(site, [int(arguments[i]), -1]) for i, same in enumerate(fixed)
        ]
        state = np.asarray(carried, dtype=np.int32)
        self.inline_test(site, names[0], state, depth)
        inner = self.inline(body, state, self.frame_for(site, "while-body"), depth)
        changing = [i for i, same in enumerate(fixed) if not same]
        self.back.extend((node, int(inner[body.returns[i]])) for node, i in zip(firsts, changing, strict=True))
        self.hand_back(site, carried)

    def inline_test(self, site: _Site, name: str, state: Ints, depth: int) -> None:
        """A loop's condition; its frame alone has what decides, for the functions below it decide nothing."""
        number, body = len(self.frames), self.graph.body(name)
        inner = self.inline(body, state, self.frame_for(site, "while-cond"), depth)
        self.frames[number] = self.frames[number]._replace(predicate=int(inner[body.returns[0]]))

    def inline_dataset(self, site: _Site, name: str, arguments: Ints, depth: int) -> None:
        """A loop over a data set, as AutoGraph makes it of `for batch in dataset`.

        The op takes the set, the loop's variables and what the function captured; the function has the set's elements
        in place of the set, and returns the variables, then what a scan yields. An element is told by the set's port.
        """
        body = self.graph.body(name)
        states = len(site.body.def_of(site.node).attr["Tstate"].list.type)
        captured = arguments[1 + states :]
        elements = len(body.arguments) - states - len(captured)
        firsts = [self.nodes + i for i in range(states)]
        carried = [self.merge(site, [int(port), -1]) for port in arguments[1 : 1 + states]]
        given = np.asarray([*carried, *[arguments[0]] * elements, *captured], dtype=np.int32)
        inner = self.inline(body, given, self.frame_for(site, "while-body"), depth)
        returned = [int(inner[port]) for port in body.returns]
        self.back.extend(zip(firsts, returned[:states], strict=True))
        yielded = returned[states:]
        left = [self.merge(site, yielded)] if yielded else carried
        self.hand_back(site, [self.leave(site, port) for port in left])

    def inline_feed(self, site: _Site, name: str, arguments: Ints, depth: int) -> None:
        """A data set that is made, inside of the step, of another by a function of its elements.

        The op takes the set, what the function captured, and settings; the function has the set's elements in place of
        the set. It runs where elements are taken, and is told as if that were once, and here.
        """
        body = self.graph.body(name)
        taken = len(site.body.def_of(site.node).attr["Targuments"].list.type)
        elements = [arguments[0]] * (len(body.arguments) - taken)
        given = np.asarray([*elements, *arguments[1 : 1 + taken]], dtype=np.int32)
        inner = self.inline(body, given, self.frame_for(site, "call"), depth)
        made = [int(arguments[0]), *(int(inner[port]) for port in body.returns)]
        self.hand_back(site, [self.merge(site, made, site.body.op_types[site.body.op[site.node]])])

    def leave(self, site: _Site, port: int) -> int:
        """Append the loop's own op once more, by which a value leaves it: no gradient goes in there."""
        return self.merge(site, [port], site.body.op_types[site.body.op[site.node]])

    def merge(self, site: _Site, ports: list[int], op: str = MERGE) -> int:
        """Append a node that yields any of the ports."""
        self.parts.append(
            (
                np.asarray([self.code(op)], dtype=np.int32),
                np.asarray([site.frame], dtype=np.int32),
                np.asarray([site.node], dtype=np.int32),
                np.asarray([len(ports)], dtype=np.int32),
                np.asarray(ports, dtype=np.int32),
            )
        )
        self.yields.append((np.asarray([self.nodes], dtype=np.int32), np.zeros(1, dtype=np.int32)))
        self.nodes += 1
        self.ports += 1
        return self.ports - 1

    def finish(self, outputs: tuple[int, ...]) -> Dataflow:
        op, frame, local, lengths, input_port = _join(self.parts, 5)
        port_node, port_index = _join(self.yields, 2)
        used = np.flatnonzero(np.bincount(op, minlength=len(self.op_codes)))
        names = [*self.op_codes]
        input_start = np.zeros(op.shape[0] + 1, dtype=np.int32)
        np.cumsum(lengths, out=input_start[1:])
        for node, port in self.back:
            input_port[input_start[node] + 1] = port
        return Dataflow(
            bodies=tuple(self.bodies),
            frames=tuple(self.frames),
            op_types=tuple(names[code] for code in used.tolist()),
            op=np.searchsorted(used, op).astype(np.int32),
            frame=frame,
            local=local,
            input_start=input_start,
            input_port=input_port,
            port_node=port_node,
            port_index=port_index,
            outputs=outputs,
            back_edges=tuple(self.back),
            opaque_calls=tuple(self.opaque),
        )


def _join(parts: Sequence[tuple[Ints, ...]], columns: int) -> list[Ints]:
    """Each column of the parts, one after another."""
    if not parts:
        return [np.zeros(0, dtype=np.int32) for _ in range(columns)]
    return [np.concatenate(column, dtype=np.int32) for column in zip(*parts, strict=True)]
