"""What each value of the program depends on, in one pass forward, and where it goes, in one pass back.

Memory is followed through slots and accumulators: a read carries what was written. It is cut at reads of variables
that the forward pass uses, or a second step, a target network or a GAN's other half would make everything depend on
every gradient (DESIGN.md).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from introspect.evidence.resources import Access, Place, Resources
from introspect.graph.dataflow import Dataflow
from introspect.graph.ops import ELEMENTWISE, INPUTS, MERGE, PYTHON_OPS, REDUCTIONS, SIZES, SUMS
from introspect.graph.walk import Edges, select_nodes

GRADIENT = 1
"""A gradient, or something made of one element by element."""
NORM = 2
"""Gradients reduced to one number."""
DATA = 4
"""The step's data."""
PYTHON = 8
"""The result of an op that runs Python."""
SHAPED = 16
"""Something that went through an op that is not element by element."""
AVERAGE = 32
"""The content of a slot that averages a variable."""

INNER = 64
"""Values of variables after an inner step: a gradient was added to them, and no data."""
RAW = 128
"""A gradient that counts as data in the forward pass it goes into, unless it is added to values of variables first."""

TO_BACKWARD = 1
TO_OUTPUT = 2
TO_PYTHON = 4

VALUE_WISE = ELEMENTWISE | {"ConcatV2"}
"""Ops whose result holds each value on its own."""

ONWARD, MARKED, APART = 1, 2, 3
"""Ways to evaluate a node: gradients may end there, or go into a forward pass; the tape made it; it uses memory."""

MOST_PASSES = 16
"""A nest of loops needs one pass more than it is deep."""

NOBODY = -1
SEVERAL = -2

RankOf = Callable[[int], int | None]
"""node -> static rank of its first output."""


def find_ends(flow: Dataflow, metric_writes: list[Access]) -> frozenset[int]:
    """The ports that the step returns, or writes to a metric."""
    noted = {port for access in metric_writes for port in access.values}
    return frozenset(noted.union(port for port in flow.outputs if port >= 0))


def scan_back(flow: Dataflow, edges: Edges, marked: bytearray, ends: Iterable[int]) -> bytearray:
    """Where each port's value goes by tensor edges: into the backward pass, an output or metric, Python."""
    goes = bytearray(flow.ports)
    for port in ends:
        goes[port] |= TO_OUTPUT
    own = np.where(np.frombuffer(marked, dtype=np.uint8), TO_BACKWARD, 0).astype(np.uint8)
    own[select_nodes(flow, PYTHON_OPS)] |= TO_PYTHON
    readers = _list_readers(edges, own)
    tests = find_tests(flow)
    back = [*(port for _, port in flow.back_edges), *tests]
    for _ in range(MOST_PASSES):
        before = [goes[port] for port in back]
        _pass_back(readers, edges.inputs.flat, goes)
        for test, merges in tests.items():
            for node in merges:
                goes[test] |= goes[edges.outputs[node][0]]
        if before == [goes[port] for port in back]:
            break
    return goes


def join_ends(flow: Dataflow, goes: bytearray) -> bytearray:
    """[nodes] where any value that a node yields goes."""
    joined = np.zeros(flow.nodes, dtype=np.uint8)
    made = flow.port_node >= 0
    np.bitwise_or.at(joined, flow.port_node[made], np.frombuffer(goes, dtype=np.uint8)[made])
    return bytearray(joined)


def find_tests(flow: Dataflow) -> dict[int, list[int]]:
    """By the port that decides a loop: the merges of what the loop carries, which a tape differentiates by all that the
    condition takes."""
    tests = {(f.parent, f.call): f.predicate for f in flow.frames if f.kind == "while-cond" and f.predicate >= 0}
    found: dict[int, list[int]] = {}
    for node, _ in flow.back_edges if tests else ():
        port = tests.get((int(flow.frame[node]), int(flow.local[node])), -1)
        if port >= 0:
            found.setdefault(port, []).append(node)
    return found


def _list_readers(edges: Edges, own: NDArray[np.uint8]) -> tuple[Sequence[int], ...]:
    """The nodes that read anything, last first: their bits, where their inputs begin, begin and end of their outputs."""
    start, made = (np.frombuffer(rows.start, dtype=np.int32) for rows in (edges.inputs, edges.outputs))
    nodes = np.flatnonzero(np.diff(start))[::-1].astype(np.int32)
    first, here, end = (array("i", column[nodes].tobytes()) for column in (start, made, made[1:]))
    return own[nodes].tobytes(), first, here, end


def _pass_back(readers: tuple[Sequence[int], ...], flat: array[int], goes: bytearray) -> None:
    # The hot loop below works on flat arrays: a node's outputs are consecutive ports.
    goes.append(0)  # port -1 is nothing: the last item, by Python's way to count
    last = len(flat)
    for bits, first, here, end in zip(*readers, strict=True):
        while here < end:
            bits |= goes[here]
            here += 1
        if bits:
            for port in flat[first:last]:
                goes[port] |= bits
        last = first
    del goes[-1]


class ForwardScan:
    """One pass over the program, then again what loops and memory carry on, until they carry nothing new.

    Attributes:
        tags: [ports] bits GRADIENT … RAW.
        origin: [ports] the variable whose value it is made of: one, NOBODY or SEVERAL.
        twofold: ports of gradients that count as data in a forward pass they go into, and are gradients elsewhere.
        reached: [nodes] bits TO_BACKWARD … of what each yields.
        writes: by node and place, (tags, origin, whether a gradient was written there before).
    """

    def __init__(
        self,
        flow: Dataflow,
        edges: Edges,
        resources: Resources,
        marked: bytearray,
        cut: set[int],
        hyper: set[int],
        reached: bytearray,
        rank_of: RankOf,
        zeros: Collection[int] = (),
    ) -> None:
        """`zeros`: nodes that yield nothing but zeros, whatever goes into them."""
        self.flow = flow
        self.edges = edges
        self.resources = resources
        self.cut = cut
        self.hyper = hyper
        self.rank_of = rank_of
        self.tags = bytearray(flow.ports)
        self.origin = [NOBODY] * flow.ports
        self.twofold: set[int] = set()
        self.memory: dict[Place, int] = {}
        self.read_by: dict[Place, dict[int, int | None]] = {}
        self.writes: dict[tuple[int, Place], tuple[int, int, bool]] = {}
        self.base = self._base_tags(marked)
        self.marked = marked
        self.reached = reached
        self.apart = bytearray(flow.nodes)
        self.reductions = {int(n) for n in select_nodes(flow, REDUCTIONS) if not marked[int(n)]}
        self.sizes = frozenset(select_nodes(flow, SIZES).tolist())
        for node in (*resources.accesses, *self.sizes, *zeros):
            self.apart[node] = 1
        self.sums = frozenset(select_nodes(flow, SUMS).tolist())

    def _base_tags(self, marked: bytearray) -> bytearray:
        flow = self.flow
        by_type = []
        for name in flow.op_types:
            tag = DATA if name in INPUTS else PYTHON if name in PYTHON_OPS else 0
            if name not in ELEMENTWISE and name not in INPUTS and name != "Const":
                tag |= SHAPED
            by_type.append(tag)
        base = np.asarray(by_type, dtype=np.uint8)[flow.op]
        base[list(self.resources.handles)] = 0
        base[np.frombuffer(marked, dtype=np.uint8) != 0] |= GRADIENT
        return bytearray(base)

    def run(self) -> None:
        """Scan once from begin to end, then again what loops and memory carry on."""
        self._pass()
        self._settle()
        for port in self.twofold:
            self.tags[port] |= GRADIENT
        self._order_writes()

    def _pass(self) -> None:
        # The hot loop: what `_evaluate` does for one node, on flat arrays.
        tags, origin, flat = self.tags, self.origin, self.edges.inputs.flat
        # Port -1 is nothing: the last item, by Python's way to count.
        tags.append(0)
        origin.append(NOBODY)
        for node, tag, way, first, last, here, end in self._list_busy():
            source = NOBODY
            for port in flat[first:last]:
                tag |= tags[port]
                other = origin[port]
                if other != source and other != NOBODY:
                    source = other if source == NOBODY else SEVERAL
            if way == APART:
                tag, source = self._use(node, tag, source)
            elif way == MARKED:
                source = NOBODY  # a gradient is made of all values at once, and is nobody's content
                tag &= ~(INNER | RAW)
            elif tag & (GRADIENT | NORM | RAW):
                tag = self._go_on(node, tag, source) if way == ONWARD else self._leave(node, tag)
            while here < end:
                tags[here] = tag
                origin[here] = source
                here += 1
        del tags[-1], origin[-1]

    def _list_busy(self) -> Iterator[tuple[int, int, int, int, int, int, int]]:
        """(node, its base, its way, begin and end of its inputs and of its outputs) of all nodes but plain sources.

        What those yield is told at once.
        """
        begin = self.flow.input_start
        made = np.frombuffer(self.edges.outputs.start, dtype=np.int32)
        base, way = np.frombuffer(self.base, dtype=np.uint8), self._find_ways()
        idle = (np.diff(begin) == 0) & (way != APART)
        told = np.repeat(np.where(idle, base, 0), np.diff(made))
        self.tags[int(made[0]) : int(made[-1])] = told.astype(np.uint8).tobytes()
        busy = np.flatnonzero(~idle).astype(np.int32)
        columns = (busy, begin[busy], begin[busy + 1], made[busy], made[busy + 1])
        node, first, last, here, end = (array("i", column.tobytes()) for column in columns)
        return zip(node, base[busy].tobytes(), way[busy].tobytes(), first, last, here, end, strict=True)

    def _find_ways(self) -> NDArray[np.uint8]:
        """[nodes] how each is evaluated."""
        way = np.where(np.frombuffer(self.reached, dtype=np.uint8) & TO_BACKWARD, ONWARD, 0).astype(np.uint8)
        way[list(self.reductions)] = ONWARD
        way[np.frombuffer(self.marked, dtype=np.uint8) != 0] = MARKED
        way[np.frombuffer(self.apart, dtype=np.uint8) != 0] = APART
        return way

    def _settle(self) -> None:
        """Again the nodes below what changed behind them, in their order, until nothing changes."""
        dirty = self._find_outdated()
        for _ in range(MOST_PASSES):
            node = dirty.find(1)
            if node < 0:
                return
            while node >= 0:
                dirty[node] = 0
                self._again(node, dirty)
                node = dirty.find(1, node + 1)

    def _find_outdated(self) -> bytearray:
        """[nodes] 1 where a loop hands back, or memory holds, what the first pass did not see yet."""
        dirty = bytearray(self.flow.nodes)
        back = [port for _, port in self.flow.back_edges if port >= 0]
        for port in back:
            self._touch(port, dirty)
        early = any(None in seen.values() and self.memory.get(place) for place, seen in self.read_by.items())
        if early or back:
            for place in self.read_by:
                self._ask_again(place, dirty)
        return dirty

    def _again(self, node: int, dirty: bytearray) -> None:
        before = self.edges.outputs[node][0] in self.twofold if self.edges.outputs[node] else False
        tag, source = self._evaluate(node)
        for port in self.edges.outputs[node]:
            if self.tags[port] != tag or self.origin[port] != source or (port in self.twofold) != before:
                self.tags[port], self.origin[port] = tag, source
                self._touch(port, dirty)
        access = self.resources.accesses.get(node)
        if access is not None and access.effect not in ("read", "touch"):
            for place in access.places:
                self._ask_again(place, dirty)

    def _ask_again(self, place: Place, dirty: bytearray) -> None:
        held = self.memory.get(place, 0)
        for node, seen in self.read_by.get(place, {}).items():
            if held != (seen or 0):
                dirty[node] = 1

    def _touch(self, port: int, dirty: bytearray) -> None:
        for node in self.edges.readers[port]:
            dirty[node] = 1

    def _evaluate(self, node: int) -> tuple[int, int]:
        """(tags, origin) of what a node yields."""
        tag, source = self.base[node], NOBODY
        for port in self.edges.inputs[node]:
            if port >= 0:
                tag |= self.tags[port]
                other = self.origin[port]
                if other not in (source, NOBODY):
                    source = other if source == NOBODY else SEVERAL
        if self.apart[node]:
            return self._use(node, tag, source)
        if self.marked[node]:
            return tag & ~(INNER | RAW), NOBODY
        return self._go_on(node, tag, source) if tag & (GRADIENT | NORM | RAW) else tag, source

    def _go_on(self, node: int, tag: int, source: int) -> int:
        """What becomes of gradients outside of the tape.

        Where they go into a forward pass again (an attack on the input, a penalty on a gradient) they are data there,
        but for a variable's value, or that of several in one tensor, after an inner step; a number that is made of whole
        tensors is a norm.
        """
        if not self.reached[node] & TO_BACKWARD:
            tag = self._leave(node, tag)
        else:
            tag &= ~(INNER | RAW)
            kept = self._weigh(node)
            self._note_twofold(node, kept)
            if kept == INNER:
                return tag | GRADIENT | INNER
            if source < 0:
                return (tag & ~(GRADIENT | NORM)) | DATA | kept
            tag |= kept
        if tag & GRADIENT and node in self.reductions and self.rank_of(node) == 0:
            return (tag & ~GRADIENT) | NORM
        return tag

    def _leave(self, node: int, tag: int) -> int:
        """What a value is that goes into no forward pass."""
        if tag & RAW and not self.twofold.isdisjoint(self.edges.inputs[node]):
            tag |= GRADIENT
        return tag & ~(INNER | RAW)

    def _note_twofold(self, node: int, kept: int) -> None:
        """Whether the op makes a gradient of gradients and numbers alone, value by value: clips it, turns it, scales it."""
        made = self.edges.outputs[node]
        ports = [port for port in self.edges.inputs[node] if port >= 0]
        held = any(port in self.twofold or self.tags[port] & GRADIENT for port in ports)
        by_value = self.flow.op_type(node) in VALUE_WISE
        if kept == RAW and held and by_value and not any(self._is_plain(port) for port in ports):
            self.twofold.update(made)
        else:
            self.twofold.difference_update(made)

    def _is_plain(self, port: int) -> bool:
        """Whether it is made of values of variables, and of no gradient."""
        return not self.tags[port] & (GRADIENT | NORM | RAW | INNER) and self.origin[port] != NOBODY

    def _weigh(self, node: int) -> int:
        """What the op makes of gradients that go on into a forward pass: INNER, RAW, or 0 where they become data."""
        held = pure = plain = False
        for port in self.edges.inputs[node]:
            tag = self.tags[port] if port >= 0 else 0
            if tag & INNER:
                held = True
            elif tag & (GRADIENT | NORM | RAW):
                pure = True
            elif tag & (DATA | PYTHON):
                return 0
            elif port >= 0 and self.origin[port] != NOBODY:
                plain = True
        if pure and plain and not held and node in self.sums and self._adds_alike(node):
            return INNER
        if plain and self.flow.op_type(node) not in VALUE_WISE:
            return 0  # a layer's weights that a gradient is multiplied by
        return INNER if held else RAW

    def _adds_alike(self, node: int) -> bool:
        """Whether the values are of one rank, as far as it is known: no bias that is added to many rows."""
        producers = (self.edges.producer[port] for port in self.edges.inputs[node] if port >= 0)
        named = (one for one in producers if one >= 0 and self.flow.op_type(one) != MERGE)  # a loop is named as a whole
        return len({self.rank_of(one) for one in named} - {None}) <= 1

    def _use(self, node: int, tag: int, source: int) -> tuple[int, int]:
        access = self.resources.accesses.get(node)
        if access is None or access.effect == "touch":
            return 0, NOBODY  # sizes, zeros
        if access.effect == "read":
            return self._read(node, access.places[0], tag & ~SHAPED, source)
        return self._write(access, source)

    def _read(self, node: int, place: Place, tag: int, source: int) -> tuple[int, int]:
        variable = place[0]
        if variable in self.cut:
            return tag, variable if source in (NOBODY, variable) else SEVERAL
        held = self._recall(node, place)
        if variable in self.hyper:
            return tag | (held & ~SHAPED), source
        return tag | held, variable if source in (NOBODY, variable) else SEVERAL

    def _recall(self, node: int, place: Place) -> int:
        """What memory holds there; the node is asked again when it holds more."""
        held = self.memory.get(place)
        self.read_by.setdefault(place, {})[node] = held
        return held or 0

    def _write(self, access: Access, source: int) -> tuple[int, int]:
        tag = 0
        for port in access.values:
            tag |= self.tags[port]
        if tag & RAW and not self.twofold.isdisjoint(access.values):
            tag |= GRADIENT
        for place in access.places[1:]:
            tag |= self._recall(access.node, place)
        for place in access.places:
            self.writes[access.node, place] = (tag, source, False)
            kept = tag & ~(AVERAGE | INNER | RAW)
            if source != NOBODY and not tag & (GRADIENT | DATA) and place[0] in self.hyper:
                kept |= AVERAGE
            self.memory[place] = self.memory.get(place, 0) | kept
        return tag, source

    def _order_writes(self) -> None:
        """Learn of each write whether a gradient was written there before; they were met in the order of the program."""
        trained: set[Place] = set()
        for write, (tag, source, _) in self.writes.items():
            place = write[1]
            if place in trained:
                self.writes[write] = (tag, source, True)
            elif tag & GRADIENT:
                trained.add(place)
