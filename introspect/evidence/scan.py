"""What each value of the program depends on, in one pass forward, and where it goes, in one pass back.

Memory is followed through slots and accumulators: a read carries what was written. It is cut at reads of variables
that the forward pass uses, or a second step, a target network or a GAN's other half would make everything depend on
every gradient (DESIGN.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
    own = bytearray(TO_BACKWARD if mark else 0 for mark in marked)
    for node in select_nodes(flow, PYTHON_OPS).tolist():
        own[node] |= TO_PYTHON
    back = [port for _, port in flow.back_edges]
    for _ in range(MOST_PASSES):
        before = [goes[port] for port in back]
        _pass_back(edges, own, goes)
        if before == [goes[port] for port in back]:
            break
    return goes


def _pass_back(edges: Edges, own: bytearray, goes: bytearray) -> None:
    # The hot loops below work on flat arrays: a node's outputs are consecutive ports.
    start, flat = edges.inputs.start, edges.inputs.flat
    made = edges.outputs.start
    end, last = made[len(own)], start[len(own)]
    for node in range(len(own) - 1, -1, -1):
        bits = own[node]
        begin, first = made[node], start[node]
        while end > begin:
            end -= 1
            bits |= goes[end]
        if bits:
            for port in flat[first:last]:
                if port >= 0:
                    goes[port] |= bits
        last = first


class ForwardScan:
    """One pass over the program after another, until no loop and no memory carries anything new.

    Attributes:
        tags: [ports] bits GRADIENT … RAW.
        origin: [ports] the variable whose value it is made of: one, NOBODY or SEVERAL.
        goes: [ports] bits TO_BACKWARD …
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
        goes: bytearray,
        rank_of: RankOf,
    ) -> None:
        self.flow = flow
        self.edges = edges
        self.resources = resources
        self.cut = cut
        self.hyper = hyper
        self.rank_of = rank_of
        self.tags = bytearray(flow.ports)
        self.origin = [NOBODY] * flow.ports
        self.memory: dict[Place, int] = {}
        self.trained: set[Place] = set()
        self.writes: dict[tuple[int, Place], tuple[int, int, bool]] = {}
        self.base = self._base_tags(marked)
        self.marked = marked
        self.goes = goes
        self.reductions = {int(n) for n in select_nodes(flow, REDUCTIONS) if not marked[int(n)]}
        self.sizes = frozenset(select_nodes(flow, SIZES).tolist())
        self.sums = frozenset(select_nodes(flow, SUMS).tolist())

    def _base_tags(self, marked: bytearray) -> bytearray:
        flow = self.flow
        by_type = []
        for name in flow.op_types:
            tag = DATA if name in INPUTS else PYTHON if name in PYTHON_OPS else 0
            if name not in ELEMENTWISE and name not in INPUTS and name != "Const":
                tag |= SHAPED
            by_type.append(tag)
        base = bytearray(by_type[code] for code in flow.op.tolist())
        for node in self.resources.handles:
            base[node] = 0
        for node, is_marked in enumerate(marked):
            if is_marked:
                base[node] |= GRADIENT
        return base

    def run(self) -> None:
        """Scan until nothing changes; two or three passes as a rule."""
        back = [port for _, port in self.flow.back_edges if port >= 0]
        for _ in range(MOST_PASSES):
            before = (dict(self.memory), [self.tags[p] for p in back], set(self.trained))
            self._stale = False
            self._pass()
            after = (self.memory, [self.tags[p] for p in back], self.trained)
            if not (self._stale or back) or before == after:
                return

    _stale = False

    def _pass(self) -> None:
        tags, origin, base = self.tags, self.origin, self.base
        start, flat, made = self.edges.inputs.start, self.edges.inputs.flat, self.edges.outputs.start
        accesses, sizes, marked = self.resources.accesses, self.sizes, self.marked
        self.trained = set()
        self._read_early: set[Place] = set()
        first = here = 0
        for node in range(self.flow.nodes):
            tag, source = base[node], NOBODY
            last, end = start[node + 1], made[node + 1]
            for port in flat[first:last]:
                if port >= 0:
                    tag |= tags[port]
                    other = origin[port]
                    if other != source and other != NOBODY:
                        source = other if source == NOBODY else SEVERAL
            first = last
            if node in accesses:
                tag, source = self._use(accesses[node], tag, source)
            elif node in sizes:
                tag, source = 0, NOBODY
            elif marked[node]:
                source = NOBODY  # a gradient is made of all values at once, and is nobody's content
                tag &= ~(INNER | RAW)
            elif tag & (GRADIENT | NORM | RAW):
                tag = self._go_on(node, tag, source)
            while here < end:
                tags[here] = tag
                origin[here] = source
                here += 1

    def _go_on(self, node: int, tag: int, source: int) -> int:
        """What becomes of gradients outside of the tape.

        Where they go into a forward pass again (an attack on the input, a penalty on a gradient) they are data there,
        but for a variable's value, or that of several in one tensor, after an inner step; a number that is made of whole
        tensors is a norm.
        """
        tag &= ~(INNER | RAW)
        if any(self.goes[port] & TO_BACKWARD for port in self.edges.outputs[node]):
            kept = self._weigh(node)
            if kept == INNER:
                return tag | GRADIENT | INNER
            if source < 0:
                return (tag & ~(GRADIENT | NORM)) | DATA | kept
            tag |= kept
        if tag & GRADIENT and node in self.reductions and self.rank_of(node) == 0:
            return (tag & ~GRADIENT) | NORM
        return tag

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

    def _use(self, access: Access, tag: int, source: int) -> tuple[int, int]:
        if access.effect == "touch":
            return 0, NOBODY
        if access.effect == "read":
            return self._read(access.places[0], tag & ~SHAPED, source)
        return self._write(access, source)

    def _read(self, place: Place, tag: int, source: int) -> tuple[int, int]:
        variable = place[0]
        if variable in self.cut:
            return tag, variable if source in (NOBODY, variable) else SEVERAL
        held = self.memory.get(place)
        if held is None:
            self._read_early.add(place)
            held = 0
        if variable in self.hyper:
            return tag | (held & ~SHAPED), source
        return tag | held, variable if source in (NOBODY, variable) else SEVERAL

    def _write(self, access: Access, source: int) -> tuple[int, int]:
        tag = 0
        for port in access.values:
            tag |= self.tags[port]
        for place in access.places[1:]:
            tag |= self.memory.get(place, 0)
        for place in access.places:
            self.writes[access.node, place] = (tag, source, place in self.trained)
            held = self.memory.get(place, 0)
            kept = tag & ~(AVERAGE | INNER | RAW)
            if source != NOBODY and not tag & (GRADIENT | DATA) and place[0] in self.hyper:
                kept |= AVERAGE
            if held | kept != held and place in self._read_early:
                self._stale = True
            self.memory[place] = held | kept
            if tag & GRADIENT:
                self.trained.add(place)
        return tag, source
