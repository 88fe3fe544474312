"""The fewest cuts between each op of the forward pass and the loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from introspect.evidence.obstacles import Obstacles
from introspect.graph.ops import MERGE

if TYPE_CHECKING:
    from introspect.evidence.collect import TraceEvidence

FAR = 1 << 30


@dataclass(frozen=True, slots=True)
class Slope:
    """For each node the fewest cuts between it and the loss (FAR where no way leads there).

    Attributes:
        onward: the next node of that way; -1 at its end.
        ports: the port that leads there; -1 where it is no tensor that carries the value.
    """

    cost: list[int]
    onward: list[int]
    ports: list[int]

    def follow(self, node: int) -> list[int]:
        """The nodes of the way."""
        trail = [node]
        while self.onward[node] >= 0:
            node = self.onward[node]
            trail.append(node)
        return trail


class Terrain:
    """The forward pass of one trace: which op hands its value to which."""

    def __init__(self, evidence: TraceEvidence) -> None:
        self.evidence = evidence
        self.flow = evidence.flow
        self.obstacles = Obstacles(evidence.flow)

    def descend(self, ends: Iterable[int], closed: frozenset[int] = frozenset()) -> Slope:
        """Ways from every node to the ports `ends`; none leads through `closed` nodes."""
        slope = self._begin(ends, closed)
        cost, find_cuts = slope.cost, self.obstacles.find_cuts
        heap = [(here, node) for node, here in enumerate(cost) if here < FAR]
        heapify(heap)
        while heap:
            here, node = heappop(heap)
            if here > cost[node]:
                continue
            for before, port in self._before(node):
                there = here + (len(find_cuts(before, port, node)) if port >= 0 else 0)
                if there < cost[before] and before not in closed:
                    cost[before], slope.onward[before], slope.ports[before] = there, node, port
                    heappush(heap, (there, before))
        return slope

    def _begin(self, ends: Iterable[int], closed: frozenset[int]) -> Slope:
        count, producer = self.flow.nodes, self.evidence.edges.producer
        slope = Slope([FAR] * count, [-1] * count, [-1] * count)
        for port in ends:
            node = producer[port] if port >= 0 else -1
            if node >= 0 and node not in closed:
                here = int(self.obstacles.turns_whole(node, port))
                if here < slope.cost[node]:
                    slope.cost[node], slope.ports[node] = here, port
        return slope

    def list_cuts(self, start: int, slope: Slope) -> tuple[int, ...]:
        """The nodes that cut the way from `start`, in its order."""
        trail = slope.follow(start)
        found: dict[int, None] = {}
        for node, reader in zip(trail, (*trail[1:], -1), strict=True):
            port = slope.ports[node]
            if port >= 0 and reader >= 0:
                found.update(dict.fromkeys(self.obstacles.find_cuts(node, port, reader)))
            elif port >= 0 and self.obstacles.turns_whole(node, port):
                found[node] = None
        return tuple(found)

    def _before(self, node: int) -> Iterator[tuple[int, int]]:
        """(forward op whose value this one carries on, the port; -1 where it is no tensor that carries it)."""
        evidence = self.evidence
        if evidence.marked[node]:
            return
        access = evidence.resources.accesses.get(node)
        if access is not None and access.effect == "read":
            yield from ((write, -1) for write in self._writes_before(node, access.places[0][0]))
        if self.obstacles.carries[self.flow.op[node]]:
            for port in evidence.edges.inputs[node] if access is None else access.values:
                before = evidence.edges.producer[port] if port >= 0 else -1
                if before >= 0 and not evidence.marked[before]:
                    yield before, port
        if self.flow.op_types[self.flow.op[node]] == MERGE:
            yield from ((before, -1) for before in self._deciders(node))

    def _writes_before(self, read: int, variable: int) -> Iterator[int]:
        """Writes of the forward pass that a read of the same step sees."""
        for write in self.evidence.writes.get(variable, ()):
            if (
                write.kind in ("statistics", "average", "other")
                and write.node < read
                and not self.evidence.marked[write.node]
            ):
                yield write.node

    @cached_property
    def _predicates(self) -> dict[tuple[int, int], set[int]]:
        """By (frame, node of its body) of a branch or a loop: the node that decides."""
        found: dict[tuple[int, int], set[int]] = {}
        for frame in self.flow.frames:
            if frame.kind in ("branch", "while-cond") and frame.predicate >= 0:
                node = self.evidence.edges.producer[frame.predicate]
                found.setdefault((frame.parent, frame.call), set()).add(node)
        return found

    def _deciders(self, merge: int) -> list[int]:
        found = self._predicates.get((int(self.flow.frame[merge]), int(self.flow.local[merge])), set())
        return [node for node in sorted(found) if node >= 0 and not self.evidence.marked[node]]

    def after(self, node: int, smooth: bool = False) -> Iterator[int]:
        """Ops of the forward pass that carry a node's value on; with `smooth`, those that let a gradient through."""
        evidence, obstacles = self.evidence, self.obstacles
        for port in evidence.edges.outputs[node]:
            for reader in evidence.edges.readers[port]:
                access = evidence.resources.accesses.get(reader)
                writes = access is not None and access.effect != "read"
                if evidence.marked[reader] or writes or not obstacles.carries[self.flow.op[reader]]:
                    continue
                if not smooth or not obstacles.find_cuts(node, port, reader):
                    yield reader

    def is_written(self, node: int) -> bool:
        """Whether a variable is given the node's value."""
        edges, accesses = self.evidence.edges, self.evidence.resources.accesses
        readers = (reader for port in edges.outputs[node] for reader in edges.readers[port])
        return any(reader in accesses and accesses[reader].effect != "read" for reader in readers)

    def walk(self, starts: Iterable[int], smooth: bool = False) -> list[int]:
        """All nodes that the values of `starts` come by, these first."""
        seen = dict.fromkeys(starts)
        queue = list(seen)
        while queue:
            for reader in self.after(queue.pop(), smooth):
                if reader not in seen:
                    seen[reader] = None
                    queue.append(reader)
        return list(seen)
