"""Whether a written value is made of variables alone, whatever those are made of: a copy or an average of another network.

Of statistics that were updated in the same step the scan remembers the data; the copy of them is none of the data's.
"""

from __future__ import annotations

from introspect.evidence.collect import TraceEvidence
from introspect.graph.ops import INPUTS, PYTHON_OPS

MOST_NODES = 64
"""Of what one average takes; a larger cone is not looked through."""


def is_made_of_others(evidence: TraceEvidence, variable: int, node: int) -> bool:
    """Whether what `node` writes is made, in a few ops, of another variable's value and of no data, Python or gradient."""
    flow, edges, accesses = evidence.flow, evidence.edges, evidence.resources.accesses
    queue = [edges.producer[port] for port in accesses[node].values if port >= 0]
    seen: set[int] = set()
    found = False
    while queue:
        one = queue.pop()
        if one < 0 or one in seen:
            continue
        seen.add(one)
        kind = flow.op_type(one)
        if len(seen) > MOST_NODES or kind in INPUTS or kind in PYTHON_OPS or evidence.marked[one]:
            return False
        access = accesses.get(one)
        if access is None:
            queue += [edges.producer[port] for port in edges.inputs[one] if port >= 0]
        elif access.effect == "read":
            found = found or access.places[0][0] != variable
    return found
