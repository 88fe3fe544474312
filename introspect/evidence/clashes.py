"""Where a gradient of another type than the values meets an op whose gradient is made of values too."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.slopes import Terrain
from introspect.graph.derivatives import READ_ITSELF, READ_OTHERS

HANDS_ON = frozenset({"AddV2", "Add", "BiasAdd", "Identity", "Reshape", "ExpandDims", "Squeeze"})
"""Ops that hand the gradient that comes to them on as it is."""


def find_clash(evidence: TraceEvidence, nodes: Iterable[int], watched: Iterable[int]) -> int:
    """The first op before a gradient of the user's own at `nodes` that would compute with it; -1 where none is seen.

    `watched`: variables that a tape records. A cast gives the gradient the right type again.
    """
    terrain, flow = Terrain(evidence), evidence.flow
    reads = (node for variable in watched for node in evidence.reads.get(variable, ()) if not evidence.marked[node])
    recorded, queue = set(terrain.walk(reads, smooth=True)), _list_arguments(evidence, terrain, nodes)
    seen = set(queue)
    while queue:
        node = queue.pop()
        op = flow.op_type(node)
        if node not in recorded:
            continue
        if (op in READ_OTHERS or op in READ_ITSELF) and _is_differentiated(evidence, terrain, node):
            return node
        inputs = evidence.edges.inputs[node] if op in HANDS_ON else ()
        before = {evidence.edges.producer[port] for port in inputs if port >= 0} - seen
        queue += sorted(one for one in before if one >= 0)
        seen |= before
    return -1


def _is_differentiated(evidence: TraceEvidence, terrain: Terrain, node: int) -> bool:
    """Whether the backward pass reads what the op takes or yields, and not its shape alone."""
    edges, carries = evidence.edges, terrain.obstacles.carries
    readers = (r for port in (*edges.inputs[node], *edges.outputs[node]) if port >= 0 for r in edges.readers[port])
    return any(evidence.marked[reader] and carries[evidence.flow.op[reader]] for reader in readers)


def _list_arguments(evidence: TraceEvidence, terrain: Terrain, nodes: Iterable[int]) -> list[int]:
    """Ops that make what goes into these functions with a gradient of their own, as TensorFlow joins it with the result."""
    flow, edges = evidence.flow, evidence.edges
    found: list[int] = []
    for node in (node for node in nodes if terrain.obstacles.has_own_gradient(node)):
        same = np.flatnonzero((flow.frame == flow.frame[node]) & (flow.local == flow.local[node])).tolist()
        found += [edges.producer[port] for one in same for port in edges.inputs[one] if port >= 0]
    return list(dict.fromkeys(node for node in found if node >= 0))
