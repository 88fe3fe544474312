"""How a variable's value goes to the loss, and what stops its gradient on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from introspect.evidence.bystanders import find_bystanders
from introspect.evidence.scan import TO_BACKWARD, TO_OUTPUT
from introspect.evidence.slopes import FAR, Slope, Terrain
from introspect.evidence.taped import find_ends, find_ops

if TYPE_CHECKING:
    from introspect.capture.record import TapeValue
    from introspect.evidence.collect import TraceEvidence

WayKind = Literal["open", "cut", "unused", "unread", "unclear", "unrecorded", "whole"]

MOST_OTHERS = 2
FORWARD = TO_BACKWARD | TO_OUTPUT
"""Where values go of which the loss is made."""


@dataclass(frozen=True, slots=True)
class Way:
    """How one variable stands to the loss.

    open: a differentiable way exists, so only the train step keeps the gradient away. cut: each way is cut, and
    `cuts` are the nodes of a smallest set whose removal opens one. unused: its value does not reach the loss.
    unread: no op of the forward pass reads it. unrecorded: a differentiable way leads to what is added to the loss, and
    no tape has followed it. whole: it reaches the loss, and its dtype has no gradient.
    """

    kind: WayKind
    cuts: tuple[int, ...] = ()
    path: tuple[int, ...] = ()
    """Nodes from the read to where the backward pass touches the value; all that an unused value comes by."""
    suspects: tuple[int, ...] = ()
    """Nodes of an open way whose gradient the user wrote; each may hand nothing back, as far as is known."""
    ends: tuple[int, ...] = ()
    """Where the value of an unused variable goes no further."""
    touched: bool = True
    """Whether the backward pass itself reads the value; else the loss was found by its name or by what joins it."""

    @property
    def open(self) -> bool:
        """Whether a differentiable way exists."""
        return self.kind == "open"


class WayFinder:
    """Answers for one trace.

    The tape touches a value (reads it to compute a gradient) only where the value's op lies on a differentiable way
    to the loss; so a way to a touched value is a way to the loss. The gradients of sums and means read no value: what
    only they use is searched for at the loss itself.
    """

    def __init__(
        self,
        evidence: TraceEvidence,
        losses: frozenset[int] = frozenset(),
        targets: tuple[TapeValue, ...] = (),
        silent: tuple[TapeValue, ...] | None = None,
    ) -> None:
        """`losses`: variables in which the step notes its loss; `targets`: what its tapes differentiate, if that is known.

        `silent`: ops whose gradient the user wrote, and that handed none back for an argument; None where that is not known.
        """
        self.evidence = evidence
        self.targets = targets
        self.flow = evidence.flow
        self.losses = losses
        self.silent = None if silent is None else find_ops(evidence, silent)
        self.terrain = Terrain(evidence)

    @property
    def passes(self) -> list[bool]:
        """[op types] whether a tape carries a gradient through it."""
        return self.terrain.obstacles.passes

    @cached_property
    def touched(self) -> NDArray[np.bool_]:
        """[ports] whether the backward pass reads the value of a forward op."""
        flow, carries = self.flow, np.asarray(self.terrain.obstacles.carries, dtype=bool)
        reading = np.repeat(self._marked & ~self._of_inner & carries[flow.op], np.diff(flow.input_start))
        read = flow.input_port[reading]
        read = read[read >= 0]
        found = np.zeros(flow.ports, dtype=bool)
        found[read] = (flow.port_node[read] < 0) | ~self._marked[flow.port_node[read]]
        return found

    def list_touched(self) -> list[int]:
        """The ports among `touched`."""
        ports: list[int] = np.flatnonzero(self.touched).tolist()
        return ports

    @cached_property
    def _marked(self) -> NDArray[np.bool_]:
        """[nodes] whether a tape made the op."""
        return np.asarray(np.frombuffer(self.evidence.marked, dtype=np.uint8), dtype=bool)

    @cached_property
    def _of_tape(self) -> NDArray[np.bool_]:
        """[nodes] the same, or whether the op joins gradients, for which TensorFlow has no scope."""
        return self._marked | np.isin(self.flow.op, list(self.flow.codes({"AddN"})))

    @cached_property
    def _of_inner(self) -> NDArray[np.bool_]:
        """[nodes] whether it is of a tape whose gradient the loss is made of: an outer tape goes on from there.

        Where there is such a tape, what tapes computed for nobody is told with it: whose it was cannot be seen.
        """
        if not self._takes_gradients:
            return np.zeros(self.flow.nodes, dtype=bool)
        edges, own = self.evidence.edges, self._of_tape
        found, idle = bytearray(self.flow.nodes), bytearray(self.flow.nodes)
        for node in np.flatnonzero(own)[::-1].tolist():
            readers = {reader for port in edges.outputs[node] for reader in edges.readers[port]}
            inside = [reader for reader in readers if own[reader]]
            outside = (reader for reader in readers if not own[reader])
            found[node] = any(found[reader] for reader in inside) or any(map(self._is_forward, outside))
            idle[node] = len(inside) == len(readers) and all(idle[reader] for reader in inside)
        return np.asarray(np.maximum(np.frombuffer(found, np.uint8), np.frombuffer(idle, np.uint8)), dtype=bool)

    @cached_property
    def _takes_gradients(self) -> bool:
        """Whether the loss is made of a gradient."""
        flow, own = self.flow, self._of_tape
        maker = np.where(flow.input_port >= 0, flow.port_node[flow.input_port], -1)
        from_tape = (maker >= 0) & own[maker]
        reader = np.repeat(np.arange(flow.nodes), np.diff(flow.input_start))[from_tape]
        forward = np.zeros(flow.nodes, dtype=bool)
        makers = flow.port_node[(np.frombuffer(self.evidence.goes, dtype=np.uint8) & FORWARD) == FORWARD]
        forward[makers[makers >= 0]] = True
        return bool(np.any(forward[reader] & ~own[reader]))

    def _is_forward(self, node: int) -> bool:
        """Whether the loss is made of what a node yields; what a custom gradient computes goes into the backward pass alone."""
        goes = self.evidence.goes
        return any(goes[port] & FORWARD == FORWARD for port in self.evidence.edges.outputs[node])

    def find(self, variable: int) -> Way:
        """The way of one variable."""
        evidence = self.evidence
        reads = [n for n in evidence.reads.get(variable, ()) if not evidence.marked[n]]
        reads = [n for n in reads if any(evidence.edges.readers[p] for p in evidence.edges.outputs[n])]
        if not reads:
            return Way("unread")
        for touched in (True, False):
            slope = self._to_touched if touched else self._to_loss
            best = min(reads, key=lambda node: slope.cost[node])
            if slope.cost[best] < FAR:
                way = self._describe(best, slope, touched)
                return self._find_summed(reads, len(way.cuts)) or way
        return self._find_cut(reads) or self._find_cut_behind(reads) or self._find_unused(reads)

    def _find_unused(self, reads: list[int]) -> Way:
        nodes = self.terrain.walk(reads)
        return Way("unused", path=tuple(sorted(nodes)), ends=self._find_ends(nodes))

    def _find_cut(self, reads: list[int]) -> Way | None:
        """A way, with cuts, to what the step differentiates: where nothing trains, no tape leaves a mark of it."""
        if self._to_targets is None:
            return None
        best = min(reads, key=self._to_targets.cost.__getitem__)
        return self._describe(best, self._to_targets, True) if 0 < self._to_targets.cost[best] < FAR else None

    def _find_cut_behind(self, reads: list[int]) -> Way | None:
        """A way, with cuts, to the sum that the loss may be, through what no tape differentiated for being cut off."""
        best = min(reads, key=self._to_sum.cost.__getitem__)
        if not 0 < self._to_sum.cost[best] < FAR:
            return None
        way = self._describe(best, self._to_sum, False)
        return way if self.is_summed_before(way) else None

    def _find_summed(self, reads: list[int], most: int) -> Way | None:
        """A way with fewer than `most` cuts to a sum that the loss may be, beside those that the tape met."""
        if self.losses or not most:
            return None
        best = min(reads, key=lambda node: self._to_loss.cost[node])
        if self._to_loss.cost[best] >= most:
            return None
        way = self._describe(best, self._to_loss, False)
        return way if self.is_summed_before(way) else None

    def is_summed_before(self, way: Way) -> bool:
        """Whether what an untouched way ends in stood there before the first gradient was computed.

        A tape keeps nothing of a sum; a sum that was made later is none that it differentiated.
        """
        return bool(way.path) and way.path[-1] < self._first_marked

    @cached_property
    def _first_marked(self) -> int:
        found = np.flatnonzero(self._marked)
        return int(found[0]) if found.size else 0

    def is_differentiated_with(self, variable: int) -> bool | None:
        """Whether anything that the step differentiates is made of the variable; None where that is not known."""
        if not self._to_targets:
            return None
        reads = (node for node in self.evidence.reads.get(variable, ()) if not self.evidence.marked[node])
        return any(self._to_targets.cost[node] < FAR for node in reads)

    @cached_property
    def _to_targets(self) -> Slope | None:
        ends = find_ends(self.evidence, self.targets)
        return self.terrain.descend(ends) if ends else None

    def find_others(self, way: Way) -> tuple[int, ...]:
        """Further cuts, on ways that do not pass those of `way`."""
        others: list[int] = []
        for _ in range(MOST_OTHERS if way.touched and way.cuts else 0):
            slope = self.terrain.descend(self.list_touched(), frozenset((*way.cuts, *others)))
            if slope.cost[way.path[0]] >= FAR:
                break
            others += self.terrain.list_cuts(way.path[0], slope)
        return tuple(others)

    def list_shape_readers(self, way: Way) -> list[int]:
        """The ops that read where a value ends; none unless all of them ask for its shape alone."""
        carries = self.terrain.obstacles.carries
        forward = [reader for reader in self._list_readers(way.ends) if not self.evidence.marked[reader]]
        return [] if any(carries[self.flow.op[reader]] for reader in forward) else forward

    def is_differentiated(self, way: Way) -> bool:
        """Whether an inner tape takes the derivative of what an unused value ends in.

        Its seed has that value's shape; or the gradient of a sum asks for the shape of what was summed.
        """
        inner, carries = self._of_inner, self.terrain.obstacles.carries
        if not inner.any():
            return False
        if self.list_shape_readers(way) or any(inner[reader] for reader in self._list_readers(way.ends)):
            return True
        if any(inner[reader] and not carries[self.flow.op[reader]] for reader in self._list_readers(way.path)):
            return True
        return any(map(self._is_passed, self._list_feeders(way)))

    def _list_feeders(self, way: Way) -> Iterator[int]:
        """Forward ops whose value goes nowhere but into what an unused value comes by: a product that a bias is added to."""
        edges, path, marked = self.evidence.edges, set(way.path), self.evidence.marked
        for port in (port for node in way.path for port in edges.inputs[node] if port >= 0):
            before = edges.producer[port]
            if before < 0 or before in path or marked[before]:
                continue
            if all(reader in path or marked[reader] for reader in self._list_readers((before,))):
                yield before

    def _is_passed(self, node: int) -> bool:
        """Whether an inner tape reads what the op reads, as the gradient of a product does; its seed may be a constant."""
        edges, inner = self.evidence.edges, self._of_inner
        ports = [port for port in edges.inputs[node] if port >= 0]
        return any(inner[reader] for port in ports for reader in edges.readers[port])

    def _list_readers(self, nodes: Iterable[int]) -> Iterator[int]:
        edges = self.evidence.edges
        return (reader for node in nodes for port in edges.outputs[node] for reader in edges.readers[port])

    def _describe(self, start: int, slope: Slope, touched: bool) -> Way:
        trail = slope.follow(start)
        cuts = self.terrain.list_cuts(start, slope)
        if cuts:
            return Way("cut", cuts, tuple(trail), touched=touched)
        own = [node for node in trail if self._may_be_silent(node)]
        return Way("open", (), tuple(trail), tuple(own), touched=touched)

    def _may_be_silent(self, node: int) -> bool:
        """Whether a gradient that the user wrote may hand nothing back here."""
        if self.silent is not None:
            return node in self.silent
        return node not in self._trained and self.terrain.obstacles.has_own_gradient(node)

    @cached_property
    def _to_touched(self) -> Slope:
        return self.terrain.descend(self.list_touched())

    @cached_property
    def _to_loss(self) -> Slope:
        """Ways to where the step notes its loss; else to what a trained variable's value joins on its way out."""
        accesses = self.evidence.resources.accesses.values()
        noted = [a for a in accesses if a.effect != "read" and a.places and a.places[0][0] in self.losses]
        if noted:
            return self.terrain.descend(port for access in noted for port in access.values)
        return self.terrain.descend(self._list_sums(), self._bystanders)

    @cached_property
    def _to_sum(self) -> Slope:
        """Ways to what a trained variable's value joins on its way out, through bystanders too."""
        return self.terrain.descend(self._list_sums())

    def _list_sums(self) -> Iterator[int]:
        outputs = self.evidence.edges.outputs
        return (port for node in self._trained_to_the_end for port in outputs[node])

    @cached_property
    def _trained_to_the_end(self) -> frozenset[int]:
        """Those of `_trained` that go on differentiably to what the step returns or notes.

        One that goes there by its argmax, by its shape alone, or by ops that no tape differentiated, tells nothing of
        the loss.
        """
        before: dict[int, list[int]] = {}
        trained = self._trained - self._bystanders
        for node in trained:
            for reader in self.terrain.after(node, smooth=True):
                before.setdefault(reader, []).append(node)
        edges, ends = self.evidence.edges, self.evidence.ends
        queue = [node for node in trained if not ends.isdisjoint(edges.outputs[node])]
        found = set(queue)
        while queue:
            new = set(before.get(queue.pop(), ())) - found
            found |= new
            queue += new
        return frozenset(found)

    @cached_property
    def _trained(self) -> frozenset[int]:
        """Nodes by which the value of a variable that gets a gradient comes, on a differentiable way."""
        evidence = self.evidence
        reads = (node for variable, nodes in evidence.reads.items() if evidence.updates(variable) for node in nodes)
        return frozenset(self.terrain.walk((node for node in reads if not evidence.marked[node]), smooth=True))

    @cached_property
    def _bystanders(self) -> frozenset[int]:
        return find_bystanders(self.terrain, self._trained)

    def _find_ends(self, nodes: list[int]) -> tuple[int, ...]:
        ends = sorted(node for node in nodes if next(self.terrain.after(node), None) is None)
        return tuple(node for node in ends if not self.terrain.is_written(node))
