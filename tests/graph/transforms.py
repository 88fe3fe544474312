"""Other graphs that compute the same: nodes renamed, their order permuted, a call replaced by what it calls."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tensorboard.compat.proto import graph_pb2

from introspect.capture.record import CapturedTrace, Probe
from introspect.graph.ops import CALLS

Key = tuple[str, str]
"""(function, node); "" is the graph itself."""


@dataclass(frozen=True)
class Changed:
    """A trace that computes the same, and where each of its nodes comes from."""

    trace: CapturedTrace
    origin: Mapping[Key, Key]


class MovedProbe:
    """Answers about a changed graph by asking about the nodes it was made of."""

    memo = None
    """What the graph itself was read as is no answer about a changed one."""

    def __init__(self, probe: Probe, origin: Mapping[Key, Key]) -> None:
        self.probe = probe
        self.origin = origin

    def location(self, function: str, node: str) -> Any:
        """As the probe's."""
        return self.probe.location(*self.origin.get((function, node), (function, node)))

    def replayed(self, function: str, node: str) -> bool:
        """As the probe's."""
        return self.probe.replayed(*self.origin.get((function, node), (function, node)))

    def in_loss(self, function: str, node: str) -> bool:
        """As the probe's."""
        return self.probe.in_loss(*self.origin.get((function, node), (function, node)))

    def made_by_tape(self, function: str, node: str) -> Any:
        """As the probe's."""
        return self.probe.made_by_tape(*self.origin.get((function, node), (function, node)))

    def rank(self, function: str, node: str, output: int) -> Any:
        """As the probe's."""
        return self.probe.rank(*self.origin.get((function, node), (function, node)), output)


def read_graph(trace: CapturedTrace) -> Any:
    """The trace's GraphDef."""
    return graph_pb2.GraphDef.FromString(trace.graph)


def unfold(trace: CapturedTrace) -> CapturedTrace:
    """The trace with nodes of its own in the place of the function of the library that it is."""
    if not trace.step:
        return trace
    from tensorflow.core.framework import function_pb2
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph_def

    whole = read_graph(trace)
    (found,) = [one for one in whole.library.function if one.signature.name == trace.step]
    function = function_pb2.FunctionDef.FromString(found.SerializeToString())
    named = dict(zip((one.name for one in function.signature.input_arg), trace.arguments, strict=True))
    for argument in function.signature.input_arg:
        argument.name = named[argument.name]
    for node in function.node_def:
        node.input[:] = [named.get(one, one) for one in node.input]
    made, flat = function_def_to_graph_def(function)
    graph = graph_pb2.GraphDef.FromString(made.SerializeToString())
    graph.library.function.extend(one for one in whole.library.function if one.signature.name != trace.step)
    returns = (function.ret[output.name] for output in function.signature.output_arg)
    outputs = tuple(flat[named.get(one, one)] for one in returns)
    return replace(trace, graph=graph.SerializeToString(), outputs=outputs, step="", arguments=())


def list_bodies(graph: Any) -> list[tuple[str, Any]]:
    """(name, NodeDefs) of the graph itself and of each function."""
    return [("", graph.node), *((f.signature.name, f.node_def) for f in graph.library.function)]


def permute(trace: CapturedTrace, seed: int) -> Changed:
    """The nodes of each body in another order."""
    generator = random.Random(seed)
    graph = read_graph(trace)
    for _, nodes in list_bodies(graph):
        order = [type(node).FromString(node.SerializeToString()) for node in nodes]
        generator.shuffle(order)
        del nodes[:]
        nodes.extend(order)
    return Changed(replace(trace, graph=graph.SerializeToString()), {})


def rename(trace: CapturedTrace) -> Changed:
    """All nodes and functions with names that say nothing; what a tape made is told by `tape_ops` instead."""
    graph = read_graph(trace)
    functions = {f.signature.name: f"f{i}" for i, f in enumerate(graph.library.function)}
    origin: dict[Key, Key] = {}
    made: set[Key] = set()
    main: dict[str, str] = {}
    for body, nodes in list_bodies(graph):
        new = functions.get(body, "")
        names = {node.name: f"n{i}" for i, node in enumerate(nodes)}
        main = names if not body else main
        for node in nodes:
            origin[new, names[node.name]] = (body, node.name)
            if node.name.startswith(trace.tape_scopes) or (body, node.name) in trace.tape_ops:
                made.add((new, names[node.name]))
            node.name = names[node.name]
            node.input[:] = [_rename_reference(reference, names) for reference in node.input]
            _rename_functions(node, functions)
    for function in graph.library.function:
        names = {old[1]: new[1] for new, old in origin.items() if old[0] == function.signature.name}
        function.signature.name = functions[function.signature.name]
        for output, reference in list(function.ret.items()):
            function.ret[output] = _rename_reference(reference, names)
    del graph.library.gradient[:]
    changed = replace(
        trace,
        graph=graph.SerializeToString(),
        bindings=tuple(replace(b, placeholder=main[b.placeholder]) for b in trace.bindings),
        outputs=tuple(_rename_reference(name, main) for name in trace.outputs),
        tape_scopes=("nothing is called so/",),
        tape_ops=frozenset(made),
    )
    return Changed(changed, origin)


def _rename_reference(reference: str, names: Mapping[str, str]) -> str:
    mark = "^" if reference.startswith("^") else ""
    node, colon, rest = reference.removeprefix("^").partition(":")
    return f"{mark}{names.get(node, node)}{colon}{rest}"


def _rename_functions(node: Any, functions: Mapping[str, str]) -> None:
    for attribute in node.attr.values():
        for value in (attribute.func, *attribute.list.func):
            if value.name in functions:
                value.name = functions[value.name]
    if node.op in functions:
        node.op = functions[node.op]


PortName = Callable[[Any, int], str | None]
"""(NodeDef, output) -> how a function's body writes that output; None where it cannot be told."""


def inline(trace: CapturedTrace, choice: int) -> Changed | None:
    """One call inside of a function replaced by the function's nodes; None where there is none."""
    graph = read_graph(trace)
    library = {function.signature.name: function for function in graph.library.function}
    sites = [
        (function, node)
        for function in graph.library.function
        for node in function.node_def
        if node.op in CALLS and CALLS[node.op].kind == "call" and not node.attr["_XlaMustCompile"].b
        if node.attr[CALLS[node.op].attributes[0]].func.name in library
    ]
    if not sites:
        return None
    caller, site = sites[choice % len(sites)]
    callee = library[site.attr[CALLS[site.op].attributes[0]].func.name]
    origin, made = _inline(trace, caller, site, callee)
    changed = replace(trace, graph=graph.SerializeToString(), tape_ops=trace.tape_ops | made)
    return Changed(changed, origin)


def _inline(trace: CapturedTrace, caller: Any, site: Any, callee: Any) -> tuple[dict[Key, Key], frozenset[Key]]:
    prefix = f"inlined/{site.name}"
    data = [reference for reference in site.input if reference[0] != "^"]
    before = [reference for reference in site.input if reference[0] == "^"]
    arguments = {a.name: data[i] for i, a in enumerate(callee.signature.input_arg)}
    name, outside = site.name, caller.signature.name
    by_tape = name.startswith(trace.tape_scopes) or (outside, name) in trace.tape_ops
    origin: dict[Key, Key] = {}
    made: set[Key] = set()
    fresh = []

    def move(reference: str) -> str:
        mark = "^" if reference.startswith("^") else ""
        node, colon, rest = reference.removeprefix("^").partition(":")
        if node in arguments and not mark:
            return arguments[node]
        return f"{mark}{prefix}/{node}{colon}{rest}"

    for node in callee.node_def:
        copy = type(node).FromString(node.SerializeToString())
        copy.name = f"{prefix}/{node.name}"
        copy.input[:] = [*(move(r) for r in node.input if r[1:] not in arguments or r[0] != "^"), *before]
        origin[outside, copy.name] = (callee.signature.name, node.name)
        inner = node.name.startswith(trace.tape_scopes) or (callee.signature.name, node.name) in trace.tape_ops
        if by_tape or inner:
            made.add((outside, copy.name))
        fresh.append(copy)
    returned = [move(callee.ret[output.name]) for output in callee.signature.output_arg]
    _replace_call(caller, site, fresh, returned)
    return origin, frozenset(made)


def _replace_call(caller: Any, site: Any, fresh: list[Any], returned: list[str]) -> None:
    name = site.name

    def follow(reference: str) -> list[str]:
        if reference == f"^{name}":
            return [f"^{node.name}" for node in fresh]
        node, _, rest = reference.partition(":")
        return [returned[int(rest.rpartition(":")[2])]] if node == name else [reference]

    kept = [node for node in caller.node_def if node.name != name]
    kept = [type(node).FromString(node.SerializeToString()) for node in kept]
    for node in kept:
        node.input[:] = [new for reference in node.input for new in follow(reference)]
    for output, reference in list(caller.ret.items()):
        caller.ret[output] = follow(reference)[0]
    del caller.node_def[:]
    caller.node_def.extend([*kept, *fresh])
