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
    return bool(find_ingredients(evidence, node) - {variable})


def is_carried_on(evidence: TraceEvidence, variable: int, node: int) -> bool:
    """The same where the variable's own value goes into it too: a sum or an average that goes on, no copy."""
    found = find_ingredients(evidence, node)
    return variable in found and len(found) > 1


def find_ingredients(evidence: TraceEvidence, node: int) -> set[int]:
    """The variables that what `node` writes is made of; none where it is made of more, or of many ops."""
    flow, edges, accesses = evidence.flow, evidence.edges, evidence.resources.accesses
    writes = accesses[node]
    queue = [edges.producer[port] for port in writes.values if port >= 0]
    seen: set[int] = set()
    found = set() if writes.effect == "assign" else {writes.places[0][0]}  # what is added to it leaves a part of it
    while queue:
        one = queue.pop()
        if one < 0 or one in seen:
            continue
        seen.add(one)
        kind = flow.op_type(one)
        if len(seen) > MOST_NODES or kind in INPUTS or kind in PYTHON_OPS or evidence.marked[one]:
            return set()
        access = accesses.get(one)
        if access is None:
            queue += [edges.producer[port] for port in edges.inputs[one] if port >= 0]
        elif access.effect == "read":
            found.add(access.places[0][0])
    return found
