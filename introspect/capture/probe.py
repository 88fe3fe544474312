"""Questions about single ops, answered from live graphs or from a saved table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

from introspect.capture.frames import pick_frame
from introspect.capture.memo import GraphMemo, memo_of
from introspect.records import Location

TAPE_FILES = ("tensorflow/python/eager/backprop.py", "tensorflow/python/ops/gradients_util.py")
TAPE_CALLS = frozenset({"gradient", "jacobian", "batch_jacobian", "_GradientsHelper"})
REPLAY_FILES = ("keras/src/ops/function.py", "tf_keras/src/engine/functional.py")
REPLAY_CALLS = ("_run_through_graph", "_run_internal_graph")
LOSS_FILES = ("keras/src/trainers/compile_utils.py", "tf_keras/src/engine/compile_utils.py")
LOSS_CALLS = ("call", "__call__")
TRACE_CALL = "func_graph_from_py_func"
THREAD_CALL = "_bootstrap"
MOST_ASKED = 16
"""Ops that are asked who called; those of a replica's thread do not know."""


class Made(NamedTuple):
    """What the stack of an op tells."""

    location: Location | None
    by_tape: bool | None
    replayed: bool
    in_loss: bool = False


class LiveProbe:
    """A `Probe` over the FuncGraphs of one trace; holds them alive."""

    def __init__(self, graph: Any, keep: Iterable[Any] = ()) -> None:
        self.root = graph
        self._graphs: dict[str, Any] = {"": graph}
        self._searched = False
        self._described: dict[Any, Made] = {}
        self._keep = keep

    @property
    def memo(self) -> GraphMemo:
        """What an earlier look has made of the graph."""
        return memo_of(self.root)

    def location(self, function: str, node: str) -> Location | None:
        """The user's innermost frame of those that made the op; None where only Keras' own code did."""
        return self.describe(self._op(function, node)).location

    def replayed(self, function: str, node: str) -> bool:
        """Whether a functional model ran the op from its record: of the user's code only the model's call is known."""
        return self.describe(self._op(function, node)).replayed

    def in_loss(self, function: str, node: str) -> bool:
        """Whether the loss that the model was compiled with made the op."""
        return self.describe(self._op(function, node)).in_loss

    def made_by_tape(self, function: str, node: str) -> bool | None:
        """Whether a gradient tape's call stands on the stack that made the op."""
        return self.describe(self._op(function, node)).by_tape

    def describe(self, op: Any | None) -> Made:
        """Who made one op."""
        frames: Any = getattr(op, "traceback", None)
        if not frames:
            return Made(None, None, False)
        # To look a stack up takes 20 µs, to make Python objects of its fifty frames 60; layers of one kind share theirs.
        found = self._described.get(frames)
        if found is None:
            found = self._described[frames] = self._read_stack(frames)
        return found

    def _read_stack(self, frames: Any) -> Made:
        stack = [(frame.filename, frame.lineno, frame.name) for frame in frames]
        made = any(name in TAPE_CALLS and file.endswith(TAPE_FILES) for file, _, name in stack)
        inside = trim_caller(stack)
        location = pick_frame(reversed(inside))
        begin = max((place for place, frame in enumerate(inside) if is_replay(frame)), default=None)
        replayed = begin is not None and pick_frame(reversed(inside[begin:])) is None
        return Made(location, made, replayed, any(map(is_loss, inside)))

    def rank(self, function: str, node: str, output: int) -> int | None:
        """Static rank of an output."""
        op = self._op(function, node)
        if op is None or output >= len(op.outputs):
            return None
        rank = op.outputs[output].shape.rank
        return None if rank is None else int(rank)

    def graph(self, function: str) -> Any | None:
        """The FuncGraph of a function of the library; a nested one is looked for in the graphs that call it."""
        if function in self._graphs:
            return self._graphs[function]
        for holder in list(self._graphs.values()):
            # Listing a library costs a whole export; asking the graphs at hand by name costs nothing.
            inner = getattr(holder._get_function(function), "graph", None) if holder._is_function(function) else None
            if inner is not None:
                self._graphs[function] = inner
                return inner
        return self.graphs().get(function)

    def graphs(self) -> dict[str, Any]:
        """All FuncGraphs by name; the trace's own is ""."""
        if not self._searched:
            self._searched = True
            for name, graph in walk_graphs(self.root):
                self._graphs.setdefault(name, graph)
        return self._graphs

    def _op(self, function: str, node: str) -> Any | None:
        graph = self.graph(function)
        try:
            return None if graph is None else graph.get_operation_by_name(node)
        except (KeyError, ValueError):
            return None


def trim_caller(stack: list[tuple[str, int, str]]) -> list[tuple[str, int, str]]:
    """The frames inside of the outermost trace: whoever called `fit`, or introspect, made none of the ops.

    A MirroredStrategy traces each replica in a thread of its own, whose stack begins inside of the trace.
    """
    for place, (_, _, name) in enumerate(stack):
        if name == TRACE_CALL:
            return stack[place + 1 :]
    return stack if stack and stack[0][2] == THREAD_CALL else []


def is_loss(frame: tuple[str, int, str]) -> bool:
    """Whether Keras calls the losses of `compile` here. Seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21."""
    file, _, name = frame
    return name in LOSS_CALLS and file.endswith(LOSS_FILES)


def is_replay(frame: tuple[str, int, str]) -> bool:
    """Whether a functional model runs its recorded operations here. Seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21."""
    file, _, name = frame
    return name in REPLAY_CALLS and file.endswith(REPLAY_FILES)


def locate_call(graph: Any) -> Location | None:
    """The user's innermost frame outside of a trace: the call of `fit`, or of a tf.function, that made it."""
    for op in graph.get_operations()[:MOST_ASKED]:
        stack = [(frame.filename, frame.lineno, frame.name) for frame in op.traceback or ()]
        outside = list(takewhile(lambda frame: frame[2] != TRACE_CALL, stack))
        if outside and outside[0][2] != THREAD_CALL:
            return pick_frame(reversed(outside))
    return None


def walk_graphs(graph: Any) -> Iterator[tuple[str, Any]]:
    """(name, FuncGraph) of all functions that a graph's library holds, nested ones too.

    A function made within another one's trace is kept by that one's graph only. Seen on TensorFlow 2.19 to 2.21.
    """
    names = [function.signature.name for function in graph.as_graph_def().library.function]
    seen: set[str] = set()
    stack = [graph]
    while stack:
        holder = stack.pop()
        for name in names:
            if name in seen or not holder._is_function(name):
                continue
            inner = getattr(holder._get_function(name), "graph", None)
            if inner is not None:
                seen.add(name)
                stack.append(inner)
                yield name, inner
