"""Which ops a gradient tape made.

TensorFlow puts what a tape makes under a name scope of its own, but for joins, custom gradients and calls of
functions. Those follow from the edges: they read what the tape made. Where a whole gradient has no such name (a loss
inside a tf.function of its own), the stack that created the op is asked.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from introspect.capture.record import CapturedTrace, Probe
from introspect.graph.dataflow import Dataflow
from introspect.graph.ops import CALLS
from introspect.graph.parse import begin_with
from introspect.graph.walk import Edges

_SEEDS = frozenset({"Const", "Fill", "OnesLike", "BroadcastTo", "Identity", *CALLS})
_KEEPS_ZEROS = (
    "Fill",
    "BroadcastTo",
    "Identity",
    "Cast",
    "Reshape",
    "Tile",
    "Neg",
    "ExpandDims",
    "Squeeze",
    "Transpose",
)
MOST_ASKED = 1000


def yields_zeros(flow: Dataflow, edges: Edges, node: int) -> bool:
    """Whether an op yields nothing but zeros, as its definition shows."""
    op = flow.op_type(node)
    if op == "Const":
        value = flow.body_of(node).def_of(int(flow.local[node])).attr["value"].tensor
        listed = (number for field, held in value.ListFields() if field.name.endswith("_val") for number in held)
        return not any(listed) and not any(value.tensor_content)
    port = edges.inputs[node][1 if op == "Fill" else 0] if op in _KEEPS_ZEROS else -1
    return op == "ZerosLike" or (
        port >= 0 and edges.producer[port] >= 0 and yields_zeros(flow, edges, edges.producer[port])
    )


class TapeMarks:
    """Answers for one trace."""

    def __init__(self, trace: CapturedTrace, probe: Probe | None) -> None:
        self.scopes = trace.tape_scopes
        self.known = trace.tape_ops
        self.probe = probe

    def by_name(self, function: str, node: str) -> bool:
        """By its name scope, or by the capture's own list."""
        return node.startswith(self.scopes) or (function, node) in self.known

    def made_call(self, function: str, node: str) -> bool:
        """For an op that calls a function: there are few, so the stack is asked as well."""
        return self.by_name(function, node) or self.by_stack(function, node)

    def by_stack(self, function: str, node: str) -> bool:
        """By the stack that created the op, where it is still known."""
        return self.probe is not None and bool(self.probe.made_by_tape(function, node))

    def mark(self, flow: Dataflow) -> bytearray:
        """[nodes] 1 where a tape made the op, or the call that it stands in."""
        scopes, known = self.scopes, self.known
        tables = []
        for body, flags in zip(flow.bodies, begin_with([body.names for body in flow.bodies], scopes), strict=True):
            if known:
                flags |= np.asarray([(body.name, name) in known for name in body.names], dtype=bool)
            tables.append(flags[body.source])
        whole = np.asarray([frame.by_tape for frame in flow.frames])
        marked = whole[flow.frame] | flow.spread(tables)
        return bytearray(marked.tobytes())

    def extend(
        self, flow: Dataflow, edges: Edges, marked: bytearray, writes: list[int], memory: dict[int, list[int]]
    ) -> bool:
        """Mark ops of gradients that no name shows, on the way back from `writes`; whether any was found.

        `memory` leads from a read of a slot or an accumulator to the ops that write it.

        Zeros, that a custom gradient hands back or a tape puts in the place of a missing gradient, are none.

        Asking the stack costs a tenth of a millisecond an op: all ops near the write are asked (a custom gradient's
        own), further off only those with which a gradient can begin.
        """
        if self.probe is None:
            return False
        found = False
        seeds = flow.codes(_SEEDS)
        queue = deque(writes)
        seen = set(queue)
        asked = 0
        while queue:
            node = queue.popleft()
            if marked[node]:
                continue
            near = asked < MOST_ASKED
            asked += 1
            if (near or int(flow.op[node]) in seeds) and self.by_stack(flow.function(node), flow.name(node)):
                if not yields_zeros(flow, edges, node):
                    marked[node] = 1
                    found = True
                continue
            producers = [edges.producer[port] for port in edges.inputs[node] if port >= 0]
            for before in (*producers, *memory.get(node, ())):
                if before >= 0 and before not in seen:
                    seen.add(before)
                    queue.append(before)
        return found
