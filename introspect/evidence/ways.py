"""How a variable's value goes to the loss, and what stops its gradient on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from introspect.graph.differentiable import DIFFERENTIABLE, NO_VALUE, is_discrete

if TYPE_CHECKING:
    from introspect.evidence.collect import TraceEvidence

WayKind = Literal["open", "cut", "unused", "unread", "unclear"]


@dataclass(frozen=True, slots=True)
class Way:
    """How one variable stands to the loss.

    open: a differentiable way exists, so only the train step keeps the gradient away. cut: each way is cut, and
    `cuts` are the nodes of a smallest set whose removal opens one. unused: its value does not reach the loss.
    unread: no op of the forward pass reads it.
    """

    kind: WayKind
    cuts: tuple[int, ...] = ()
    path: tuple[int, ...] = ()
    """Nodes from the read to where the backward pass touches the value."""

    @property
    def open(self) -> bool:
        """Whether a differentiable way exists."""
        return self.kind == "open"


class WayFinder:
    """Answers for one trace.

    The tape touches a value (reads it to compute a gradient) only where the value's op lies on a differentiable way
    to the loss; so a way to a touched value is a way to the loss.
    """

    def __init__(self, evidence: TraceEvidence) -> None:
        self.evidence = evidence
        self.flow = evidence.flow

    @cached_property
    def touched(self) -> bytearray:
        """[ports] 1 where the backward pass reads the value of a forward op."""
        marked, edges = self.evidence.marked, self.evidence.edges
        found = bytearray(self.flow.ports)
        for node in range(self.flow.nodes):
            if marked[node] and self.carries[self.flow.op[node]]:
                for port in edges.inputs[node]:
                    if port >= 0:
                        producer = edges.producer[port]
                        found[port] = producer < 0 or not marked[producer]
        return found

    @cached_property
    def passes(self) -> list[bool]:
        """[op types] whether a tape carries a gradient through it."""
        return [name in DIFFERENTIABLE for name in self.flow.op_types]

    @cached_property
    def carries(self) -> list[bool]:
        """[op types] whether its result holds its input's value."""
        return [name not in NO_VALUE for name in self.flow.op_types]

    def find(self, variable: int) -> Way:
        """The way of one variable."""
        evidence = self.evidence
        reads = [n for n in evidence.reads.get(variable, ()) if not evidence.marked[n]]
        reads = [n for n in reads if any(evidence.edges.readers[p] for p in evidence.edges.outputs[n])]
        if not reads:
            return Way("unread")
        found = self._search(reads)
        if found is None:
            return Way("unused")
        cuts = tuple(node for node in found if self._cuts(node))
        return Way("cut", self._first_cuts(found, cuts), tuple(found)) if cuts else Way("open", (), tuple(found))

    def _search(self, reads: list[int]) -> list[int] | None:
        """A way with the fewest cuts (0-1 breadth first); None where none leads to a touched value."""
        cost = dict.fromkeys(reads, 0)
        before: dict[int, int] = {}
        queue = deque(reads)
        done: set[int] = set()
        while queue:
            node = queue.popleft()
            if node in done:
                continue
            done.add(node)
            if any(self.touched[port] for port in self.evidence.edges.outputs[node]):
                return self._trail(node, before)
            for reader in self._next(node):
                step = int(self._cuts(reader))
                if cost[node] + step < cost.get(reader, 1 << 30):
                    cost[reader] = cost[node] + step
                    before[reader] = node
                    (queue.append if step else queue.appendleft)(reader)
        return None

    def _next(self, node: int) -> Iterator[int]:
        """Ops of the forward pass that carry the value on."""
        edges, marked, accesses = self.evidence.edges, self.evidence.marked, self.evidence.resources.accesses
        for port in edges.outputs[node]:
            for reader in edges.readers[port]:
                writes = reader in accesses and accesses[reader].effect != "read"
                if not marked[reader] and not writes and self.carries[self.flow.op[reader]]:
                    yield reader

    def _trail(self, node: int, before: dict[int, int]) -> list[int]:
        trail = [node]
        while node in before:
            node = before[node]
            trail.append(node)
        return trail[::-1]

    def _cuts(self, node: int) -> bool:
        if not self.passes[self.flow.op[node]]:
            return True
        return self.flow.op_types[self.flow.op[node]] == "Cast" and self._is_discrete(node)

    def _is_discrete(self, node: int) -> bool:
        return is_discrete(self.flow.op_type(node), self.flow.body_of(node).def_of(int(self.flow.local[node])).attr)

    def _first_cuts(self, trail: list[int], cuts: tuple[int, ...]) -> tuple[int, ...]:
        """Leave out what follows a cut only because the values are integers by then."""
        kept: list[int] = []
        discrete = False
        wanted = set(cuts)
        for node in trail:
            if node in wanted and not discrete:
                kept.append(node)
            discrete = self._is_discrete(node)
        return tuple(kept)
