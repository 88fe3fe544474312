"""Where the ops of a step ran: read from the graphs that TensorFlow's executor ran.

TensorFlow keeps these graphs when it instantiates a function, which is when it first runs, and only while asked to.
Collecting them costs some milliseconds at that run and nothing at later ones. The names there are the names of the
traced functions behind the names of the calls that were inlined; a node's debug info tells both apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from introspect.capture.record import CapturedPlacement, CapturedTrace, PlacedOp, Transfer
from introspect.errors import VersionError

SEEN = "seen on TensorFlow 2.19 to 2.21"
SENDS = ("_Send", "_HostSend")
COPIES = ("_CopyFromGpuToHost", "_CopyFromHostToGpu", "Identity")
CLUSTERS = ("XlaLaunch", "XlaLaunchV2", "_XlaRun", "_XlaCompile")

RENAMED = re.compile(r"_introspect_\d+_\d+$")
"""What a copy's name has more than the function's own."""

Key = tuple[str, str]
"""(function, node) as the traced graph names them."""


class GraphCollection:
    """Collects executed graphs from `start` to `stop`; both may be called again.

    Nothing is collected (`active` stays False) while `tf.summary.trace_on(graph=True)` does the same for the user; where
    the user begins with that in between, the graphs are left to it, and so is switching it off.
    """

    def __init__(self) -> None:
        self.active = False
        self._graphs: list[Any] = []

    def start(self) -> None:
        """Collect from now on."""
        if not self.active and not user_collects():
            switch_collection(True)
            self.active = True

    def stop(self) -> None:
        """Take what was collected and collect no more."""
        if not self.active:
            return
        self.active = False
        if user_collects():
            return
        try:
            self._graphs += export_graphs()
        finally:
            switch_collection(False)

    def drop(self) -> None:
        """Collect no more, and forget what was collected."""
        if self.active and not user_collects():
            switch_collection(False)
        self.active, self._graphs = False, []

    def take(self) -> list[Any]:
        """Stop, and hand out what was collected since the last time."""
        self.stop()
        graphs, self._graphs = self._graphs, []
        return graphs

    def read(self, trace: CapturedTrace) -> CapturedPlacement | None:
        """The placement of one trace; None where it was not instantiated meanwhile."""
        return read_placement(self._graphs, trace)

    def __enter__(self) -> GraphCollection:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def user_collects() -> bool:
    """Whether `tf.summary.trace_on` is on: the graphs would go to it, or be taken from it."""
    from tensorflow.python.ops import summary_ops_v2

    return getattr(summary_ops_v2, "_current_trace_context", None) is not None


def switch_collection(on: bool) -> None:
    """Let TensorFlow keep the graphs that it instantiates, or not. Seen on TensorFlow 2.19 to 2.21."""
    try:
        from tensorflow.python.eager import context

        (context.context().enable_graph_collection if on else context.context().disable_graph_collection)()
    except (ImportError, AttributeError) as error:
        raise VersionError(f"cannot collect executed graphs ({error}); {SEEN}") from None


def export_graphs() -> list[Any]:
    """The graphs that were collected: messages `RunMetadata.FunctionGraphs`. Seen on TensorFlow 2.19 to 2.21."""
    try:
        from tensorflow.python.eager import context

        metadata = context.context().export_run_metadata()
        return [] if metadata is None else list(metadata.function_graphs)
    except (ImportError, AttributeError) as error:
        raise VersionError(f"cannot read executed graphs ({error}); {SEEN}") from None


def read_placement(graphs: Iterable[Any], trace: CapturedTrace) -> CapturedPlacement | None:
    """The ops of one trace among collected graphs: of those that hold most of its ops, the latest."""
    known = TracedNames(trace)
    best: tuple[int, tuple[PlacedOp, ...], tuple[Transfer, ...]] | None = None
    for graph in graphs:
        reader = GraphReader(known)
        for partition in graph.partition_graphs:
            reader.read_partition(partition)
        if reader.ops and (best is None or len(reader.ops) >= best[0]):
            best = (len(reader.ops), tuple(reader.ops), tuple(reader.list_transfers()))
    if best is None or not known.is_covered(best[1]):
        return None
    return CapturedPlacement(trace.id, best[1], best[2])


class TracedNames:
    """The (function, node) names of a trace, with their op types."""

    def __init__(self, trace: CapturedTrace) -> None:
        from tensorflow.core.framework import graph_pb2

        message = graph_pb2.GraphDef.FromString(trace.graph)
        self.types: dict[Key, str] = {("", node.name): node.op for node in message.node}
        for function in message.library.function:
            name = function.signature.name if function.signature.name != trace.step else ""
            self.types.update(((name, node.name), node.op) for node in function.node_def)

    def holds(self, key: Key, op: str) -> bool:
        """Whether the trace has the node; the step's own nodes must have the same type, as their names say little."""
        known = self.types.get(key)
        return known is not None and (key[0] != "" or known == op)

    def is_covered(self, ops: Iterable[PlacedOp]) -> bool:
        """Whether the ops are the step's and not those of an eager op that shares some names."""
        stateful = {
            key for key, op in self.types.items() if key[0] == "" and op not in ("Const", "NoOp", "Placeholder")
        }
        found = {(op.function, op.node) for op in ops}
        return any(key[0] for key in found) or 2 * len(found & stateful) >= len(stateful)


@dataclass(frozen=True, slots=True)
class _Call:
    """The un-inlined call that a function's nodes stand in."""

    path: str
    device: str
    cluster: str | None


class GraphReader:
    """Collects the placed ops of one instantiation."""

    def __init__(self, known: TracedNames) -> None:
        self.known = known
        self.ops: list[PlacedOp] = []
        self._sends: list[tuple[Key, str, str]] = []

    def read_partition(self, graph: Any) -> None:
        """One partition: the part of the step that runs on one device."""
        library = {function.signature.name: function for function in graph.library.function}
        nodes = {node.name: node for node in graph.node}
        for node in graph.node:
            for key in original_names(node):
                if self.known.holds(key, node.op):
                    self.ops.append(PlacedOp(*key, node.name, node.device))
            if node.op in SENDS:
                self._note_send(node, nodes)
            for name in called_functions(node):
                if name in library:
                    cluster = node.name if is_cluster(node) else None
                    self._read_function(library[name], library, _Call(node.name, node.device, cluster), set())

    def _read_function(self, function: Any, library: dict[str, Any], call: _Call, above: set[str]) -> None:
        """The nodes of a call that was left whole: all of it runs where the call stands."""
        name = function.signature.name
        above = above | {name}
        for node in function.node_def:
            path = f"{call.path}/{node.name}"
            device = node.device or call.device
            for key in original_names(node, name):
                if self.known.holds(key, node.op):
                    placed = call.device if call.cluster else device
                    self.ops.append(PlacedOp(*key, path, placed, call.cluster))
            for inner in called_functions(node):
                if inner in library and inner not in above:
                    cluster = call.cluster or (path if is_cluster(node) else None)
                    self._read_function(library[inner], library, _Call(path, call.device, cluster), above)

    def _note_send(self, send: Any, nodes: dict[str, Any]) -> None:
        source, target = text_of(send, "send_device"), text_of(send, "recv_device")
        maker = nodes.get(send.input[0].partition(":")[0]) if send.input else None
        while maker is not None and maker.op in COPIES and not known_names(maker, self.known) and maker.input:
            maker = nodes.get(maker.input[0].partition(":")[0])
        if maker is None or source == target:
            return
        self._sends += [(key, source, target) for key in known_names(maker, self.known)]

    def list_transfers(self) -> Iterator[Transfer]:
        """Tensors that cross, each way and op once for each tensor sent."""
        for key, source, target in self._sends:
            yield Transfer(*key, source, target)


def known_names(node: Any, known: TracedNames) -> list[Key]:
    """The node's names in the trace."""
    return [key for key in original_names(node) if known.holds(key, node.op)]


def original_names(node: Any, function: str = "") -> list[Key]:
    """(function, node) of the traced ops that a node stands for; its own name where it carries no debug info."""
    info = node.experimental_debug_info
    if info.original_node_names and len(info.original_func_names) == len(info.original_node_names):
        functions = (RENAMED.sub("", name) for name in info.original_func_names)
        return list(zip(functions, info.original_node_names, strict=True))
    return [(RENAMED.sub("", function), node.name)]


def called_functions(node: Any) -> list[str]:
    """Names of the functions that a node's attributes and type hold."""
    names = [value.func.name for value in node.attr.values() if value.HasField("func")]
    names += [part.name for value in node.attr.values() if value.HasField("list") for part in value.list.func]
    return [*names, node.op]


def is_cluster(node: Any) -> bool:
    """Whether XLA compiles the call as a whole."""
    must = "_XlaMustCompile" in node.attr and bool(node.attr["_XlaMustCompile"].b)
    return must or node.op in CLUSTERS


def text_of(node: Any, attribute: str) -> str:
    return str(node.attr[attribute].s.decode()) if attribute in node.attr else ""
