"""Whose gradient a written value holds.

A variable's own update adds its gradient to its own value. An average over a network that is trained by hand holds a
gradient too, and it is that of the network: there it was added to another variable's value first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from introspect.evidence.resources import Access
from introspect.evidence.scan import DATA, GRADIENT, NOBODY, NORM, PYTHON, SEVERAL, ForwardScan


class Owners:
    """Answers for the writes of one trace."""

    def __init__(self, scan: ForwardScan, forward: frozenset[int], spread: frozenset[int] = frozenset()) -> None:
        """`spread`: ports of numbers made of gradients that count as such."""
        self.scan = scan
        self.forward = forward
        self.spread = spread
        self._known: dict[int, int] = {}
        self._written = Counter(place for _, place in scan.writes)

    def find(self, access: Access, origin: int) -> int:
        """The variable whose value the gradient in a written value was added to first; NOBODY where that is none or unclear."""
        place = access.places[0]
        if origin in (NOBODY, place[0]):
            return origin
        if origin != SEVERAL and access.effect != "assign" and self._written[place] == 1:
            return NOBODY  # added to the variable, whose own value stays: no average, whatever else goes into it
        self._settle(access.values)
        return self._join(self._owner(port) for port in access.values if self._holds(port))

    def _settle(self, ports: Iterable[int]) -> None:
        """Learn the owners of all values outside of the tape that these are made of."""
        scan, edges = self.scan, self.scan.edges
        queue = [edges.producer[port] for port in ports if port >= 0]
        cone: set[int] = set()
        while queue:
            node = queue.pop()
            if node < 0 or node in cone or node in self._known or scan.marked[node]:
                continue
            cone.add(node)
            if node not in scan.resources.accesses:
                queue += [edges.producer[port] for port in edges.inputs[node] if self._holds(port)]
        for node in sorted(cone):
            self._known[node] = NOBODY if node in scan.resources.accesses else self._weigh(node)

    def _weigh(self, node: int) -> int:
        """The owner of what an op makes of its values; a variable that a gradient is multiplied or divided by is none."""
        tags, origin, ports = self.scan.tags, self.scan.origin, self.scan.edges.inputs[node]
        held = {self._owner(port) for port in ports if self._holds(port)} - {NOBODY}
        if held:
            return self._join(held)
        if node not in self.scan.sums:
            return NOBODY
        plain = (port for port in ports if port >= 0 and not tags[port] & (GRADIENT | NORM | DATA | PYTHON))
        touched = {origin[port] for port in plain} - {NOBODY}
        only = self._join(touched)
        return only if only in self.forward else NOBODY

    def _holds(self, port: int) -> bool:
        """Whether a value holds a gradient, or a number made of gradients."""
        return port >= 0 and (bool(self.scan.tags[port] & GRADIENT) or port in self.spread)

    def _owner(self, port: int) -> int:
        return self._known.get(self.scan.edges.producer[port], NOBODY)

    @staticmethod
    def _join(owners: Iterable[int]) -> int:
        found = set(owners) - {NOBODY}
        return found.pop() if len(found) == 1 else NOBODY
