"""A value that TensorFlow hands to a call, and that does not reach a function called in a branch."""

from __future__ import annotations

from introspect.evidence.collect import TraceEvidence
from introspect.graph.walk import Edges, select_nodes

WHOLE_STEP = 0
"""The frame of the step itself, whose placeholders are its arguments."""


def find_unfed(evidence: TraceEvidence) -> int:
    """The first op that takes a placeholder which nothing feeds, so that it raises when it runs; -1 where there is none.

    A number that TensorFlow gives to each call (that of an all-reduce among replicas) gets into a function that a step calls,
    and not where a branch of a `tf.cond` or a loop calls it. Only an op on which a write rests counts: TensorFlow runs nothing
    that nobody needs. Seen on TensorFlow 2.19 to 2.21.
    """
    flow, edges = evidence.flow, evidence.edges
    inner = (node for node in select_nodes(flow, {"Placeholder"}).tolist() if int(flow.frame[node]) != WHOLE_STEP)
    readers = [int(one) for node in inner for port in edges.outputs[node] for one in edges.readers[port]]
    if not readers:
        return -1
    written = {write.node for kept in (evidence.writes, evidence.undone) for one in kept.values() for write in one}
    return next((reader for reader in readers if _ends_in(edges, reader, written)), -1)


def _ends_in(edges: Edges, node: int, written: set[int]) -> bool:
    """Whether the op, or one that its values go into, is among these."""
    seen, queue = {node}, [node]
    while queue:
        found = queue.pop()
        if found in written:
            return True
        after = {reader for port in edges.outputs[found] for reader in edges.readers[port]} - seen
        seen |= after
        queue += after
    return False
