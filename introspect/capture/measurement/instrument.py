"""A step's functions rewritten so that they also return numbers of values inside them.

Every function on the way from the step to a value is copied under a new name and returns one tensor more: a row of
numbers for each value that it holds or that a function it calls holds. Branches that do not run give rows of zeros; a
loop gives the rows of its last pass that ran. The functions themselves stay as they were, XLA's clusters included.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.record import TapCall

ROWS = "introspect_rows"
DOUBLE = 2
"""DT_DOUBLE."""
WIDTH = 5
"""Numbers in a row; the first is 1 where the value existed, else 0."""

BRANCHES: dict[str, tuple[str, ...]] = {
    "PartitionedCall": ("f",),
    "StatefulPartitionedCall": ("f",),
    "If": ("then_branch", "else_branch"),
    "StatelessIf": ("then_branch", "else_branch"),
    "While": ("cond", "body"),
    "StatelessWhile": ("cond", "body"),
    "Case": ("branches",),
    "StatelessCase": ("branches",),
}
SILENCED = frozenset(
    {
        "PrintV2", "Print", "WriteScalarSummary", "WriteHistogramSummary", "WriteImageSummary", "WriteAudioSummary",
        "WriteSummary", "WriteRawProtoSummary", "WriteGraphSummary", "FlushSummaryWriter",
    }
)  # fmt: skip
"""Ops that tell the outside something and yield nothing (`Print` hands its input on): left out of the copy."""


@dataclass(frozen=True, slots=True)
class Reader:
    """One row: a function of the library that turns tensors into it, and the tensors as the function's nodes name them."""

    row: int
    function: str
    inputs: tuple[str, ...]
    types: tuple[int, ...]
    device: str = ""


@dataclass
class Site:
    """A function in one of the places that it is called from."""

    readers: list[Reader] = field(default_factory=list)
    calls: dict[TapCall, Site] = field(default_factory=dict)

    def below(self, calls: Iterable[TapCall]) -> Site:
        """The site that these calls lead to."""
        site = self
        for call in calls:
            site = site.calls.setdefault(call, Site())
        return site


class UnsupportedError(Exception):
    """A value stands in a call that cannot be rewritten."""


@dataclass(frozen=True)
class Rewritten:
    """New functions, callees first, the step's own last, and which row each line of its last output is."""

    functions: tuple[Any, ...]
    rows: tuple[int, ...]


def rewrite_step(step: Any, library: Mapping[str, Any], site: Site, suffix: str, keep: str) -> Rewritten:
    """Copy a step and what it calls.

    Args:
        step: FunctionDef of the step.
        library: FunctionDefs by name.
        site: what to read where.
        suffix: makes the new names unique.
        keep: name of a function `(old rows, new rows) -> rows` for loops.

    Raises:
        UnsupportedError: a call on the way is of a kind that takes no more outputs.
    """
    rewriter = _Rewriter(library, suffix, keep)
    rows = rewriter.rewrite(step, site)
    return Rewritten(tuple(rewriter.made), tuple(rows[1]))


class _Rewriter:
    def __init__(self, library: Mapping[str, Any], suffix: str, keep: str) -> None:
        self.library = library
        self.suffix = suffix
        self.keep = keep
        self.made: list[Any] = []
        self._speaks: dict[str, bool] = {}

    def rewrite(self, function: Any, site: Site) -> tuple[Any, list[int]]:
        """The copy of one function, not yet finished, and the rows that it returns."""
        copy = type(function)()
        copy.CopyFrom(function)
        copy.signature.name = f"{function.signature.name}{self.suffix}_{len(self.made)}"
        self.made.append(copy)
        self.silence(copy)
        parts: list[tuple[str, list[int]]] = []
        for node in list(copy.node_def):
            sites = {call.branch: below for call, below in site.calls.items() if call.node == node.name}
            if sites or any(self.speaks(name) for name in called_names(node, self.library)):
                parts += self.rewrite_call(copy, node, sites)
        parts += [(self.read(copy, reader), [reader.row]) for reader in site.readers]
        rows = [row for _, part in parts for row in part]
        if rows:
            return_tensor(copy, join_rows(copy, [name for name, _ in parts]))
        return copy, rows

    def read(self, function: Any, reader: Reader) -> str:
        """Add the node of one row, `[1, WIDTH]`."""
        node = add_node(function, "PartitionedCall", f"introspect/read_{reader.row}", reader.inputs)
        node.attr["f"].func.name = reader.function
        node.attr["Tin"].list.type.extend(reader.types)
        node.attr["Tout"].list.type.append(DOUBLE)
        node.device = reader.device
        return f"{node.name}:output:0"

    def rewrite_call(self, function: Any, node: Any, sites: dict[int, Site]) -> list[tuple[str, list[int]]]:
        """Let a call run the copies of its functions; gives the tensors of rows that it yields now."""
        if node.op in ("While", "StatelessWhile"):
            return self.rewrite_loop(function, node, sites)
        names = called_names(node, self.library)
        if not names:
            raise UnsupportedError(f"{node.op} {node.name!r}")
        bodies = [self.rewrite(self.library[name], sites.get(i, Site())) for i, name in enumerate(names)]
        rows = [row for _, part in bodies for row in part]
        if len(bodies) > 1 and rows:
            pad_branches(bodies)
        self.name_functions(node, [body.signature.name for body, _ in bodies])
        if not rows:
            return []
        if node.op not in BRANCHES:
            return [(f"{node.name}:{ROWS}:0", rows)]
        types = node.attr["Tout"].list.type
        types.append(DOUBLE)
        forget_shapes(node)
        return [(f"{node.name}:output:{len(types) - 1}", rows)]

    def name_functions(self, node: Any, names: list[str]) -> None:
        """Point a call to other functions."""
        attributes = BRANCHES.get(node.op)
        if attributes is None:
            node.op = names[0]
        elif attributes == ("branches",):
            for part, name in zip(node.attr["branches"].list.func, names, strict=True):
                part.name = name
        else:
            for attribute, name in zip(attributes, names, strict=True):
                node.attr[attribute].func.name = name

    def rewrite_loop(self, function: Any, node: Any, sites: dict[int, Site]) -> list[tuple[str, list[int]]]:
        """A loop carries the rows as one more variable."""
        names = called_names(node, self.library)
        if 0 in sites:
            raise UnsupportedError(f"the condition of loop {node.name!r}")
        condition, _ = self.rewrite(self.library[names[0]], Site())
        body, rows = self.rewrite(self.library[names[1]], sites.get(1, Site()))
        self.name_functions(node, [condition.signature.name, body.signature.name])
        if not rows:
            return []
        for part in (condition, body):
            part.signature.input_arg.add(name=f"{ROWS}_before", type=DOUBLE)
        chosen = add_node(body, "PartitionedCall", "introspect/keep", (f"{ROWS}_before", body.ret[ROWS]))
        chosen.attr["f"].func.name = self.keep
        chosen.attr["Tin"].list.type.extend((DOUBLE, DOUBLE))
        chosen.attr["Tout"].list.type.append(DOUBLE)
        body.ret[ROWS] = f"{chosen.name}:output:0"
        start = add_zeros(function, f"introspect/start_{len(self.made)}", len(rows))
        insert_input(node, start)
        node.attr["T"].list.type.append(DOUBLE)
        forget_shapes(node)
        return [(f"{node.name}:output:{len(node.attr['T'].list.type) - 1}", rows)]

    def silence(self, function: Any) -> None:
        """Take out what speaks to the outside."""
        gone = {node.name: node for node in function.node_def if node.op in SILENCED}
        if not gone:
            return
        kept = [node for node in function.node_def if node.name not in gone]
        for node in kept:
            replace_inputs(node, gone)
        del function.node_def[:]
        function.node_def.extend(kept)
        for name in [name for name, node in function.control_ret.items() if node in gone]:
            del function.control_ret[name]
            function.signature.control_output.remove(name)
        for name, value in list(function.ret.items()):
            if value.partition(":")[0] in gone:
                function.ret[name] = gone[value.partition(":")[0]].input[0]

    def speaks(self, name: str) -> bool:
        """Whether a function of the library, or one that it calls, holds ops to silence."""
        if name not in self._speaks:
            function = self.library.get(name)
            self._speaks[name] = False
            self._speaks[name] = function is not None and any(
                node.op in SILENCED or any(self.speaks(inner) for inner in called_names(node, self.library))
                for node in function.node_def
            )
        return self._speaks[name]


def called_names(node: Any, library: Mapping[str, Any]) -> list[str]:
    """Functions that a node runs, in the order of their branches; an op type may itself be a function's name."""
    attributes = BRANCHES.get(node.op)
    if attributes is None:
        return [node.op] if node.op in library else []
    if attributes == ("branches",):
        return [part.name for part in node.attr["branches"].list.func]
    return [node.attr[name].func.name for name in attributes]


def pad_branches(bodies: list[tuple[Any, list[int]]]) -> None:
    """Let every branch return the rows of all, zeros for the others'."""
    counts = [len(rows) for _, rows in bodies]
    for number, (body, rows) in enumerate(bodies):
        before, after = sum(counts[:number]), sum(counts[number + 1 :])
        parts = [add_zeros(body, "introspect/before", before)] if before else []
        parts += [body.ret[ROWS]] if rows else []
        parts += [add_zeros(body, "introspect/after", after)] if after else []
        joined = join_rows(body, parts, "introspect/all")
        if rows:
            body.ret[ROWS] = joined
        else:
            return_tensor(body, joined)


def return_tensor(function: Any, tensor: str) -> None:
    """One more output."""
    function.signature.output_arg.add(name=ROWS, type=DOUBLE)
    function.ret[ROWS] = tensor


def add_node(function: Any, op: str, name: str, inputs: Iterable[str]) -> Any:
    return function.node_def.add(op=op, name=name, input=list(inputs))


def add_constant(function: Any, name: str, value: Any) -> str:
    import tensorflow as tf

    node = add_node(function, "Const", name, ())
    tensor = tf.make_tensor_proto(value)
    node.attr["value"].tensor.CopyFrom(tensor)
    node.attr["dtype"].type = tensor.dtype
    return f"{name}:output:0"


def add_zeros(function: Any, name: str, rows: int) -> str:
    import numpy as np

    return add_constant(function, name, np.zeros((rows, WIDTH), np.float64))


def join_rows(function: Any, parts: list[str], name: str = "introspect/rows") -> str:
    """One tensor of several that hold rows."""
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    axis = add_constant(function, f"{name}/axis", np.int32(0))
    node = add_node(function, "ConcatV2", name, (*parts, axis))
    node.attr["N"].i = len(parts)
    node.attr["T"].type = DOUBLE
    node.attr["Tidx"].type = 3
    return f"{name}:output:0"


def insert_input(node: Any, tensor: str) -> None:
    """One more data input, before the control inputs."""
    data = [name for name in node.input if not name.startswith("^")]
    control = [name for name in node.input if name.startswith("^")]
    del node.input[:]
    node.input.extend([*data, tensor, *control])


def replace_inputs(node: Any, gone: Mapping[str, Any]) -> None:
    """Drop control edges from nodes that are gone; a value that one handed on comes from its own first input."""
    inputs = [name for name in node.input if not (name.startswith("^") and name[1:] in gone)]
    kept = [gone[name.partition(":")[0]].input[0] if name.partition(":")[0] in gone else name for name in inputs]
    if kept != list(node.input):
        del node.input[:]
        node.input.extend(kept)


def forget_shapes(node: Any) -> None:
    """Shapes that a call's attributes list for its outputs: optional, and one too few now."""
    for name in ("output_shapes", "_output_shapes"):
        if name in node.attr:
            del node.attr[name]
