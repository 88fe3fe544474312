"""Where in a step each variable's gradient, and what is added to the variable, can be taken: the plan of a measurement.

A gradient is taken where the backward pass hands it over. Where several values come over (the gradients of all
variables and replicas, flattened and joined for one all-reduce) the values behind the joint are named too; shapes,
which only the live graph knows, tell which of them is the gradient.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np

from introspect.capture.record import Capture, GradientPoint, StepPlan, Tap, TapCall
from introspect.evidence.collect import TraceEvidence
from introspect.evidence.gradients import list_carriers, list_writers
from introspect.evidence.scan import TO_BACKWARD
from introspect.graph.dataflow import Dataflow
from introspect.graph.ops import MERGE, SIZES

PRIME = (1 << 61) - 1

ARRANGES = frozenset(
    {
        "Identity",
        "IdentityN",
        MERGE,
        "Reshape",
        "ConcatV2",
        "Split",
        "SplitV",
        "Pack",
        "Unpack",
        "ExpandDims",
        "Squeeze",
    }
)
REDUCES = ("Collective", "Nccl")
INTEGERS = (3, 9)
"""DT_INT32 and DT_INT64."""

SCALES = ("dynamic_scale", "current_loss_scale")
"""Names of the variables in which Keras 3 and tf_keras keep a loss scale that changes."""

FIXED_SCALES = frozenset({"loss_scale_factor"})
"""Optimizer settings that fix one."""


def plan_step(capture: Capture, evidence: TraceEvidence) -> StepPlan:
    """Gradients of all variables that the trace updates by gradient, and all that the trace writes."""
    taps, scales = Taps(evidence.flow), LossScales(capture, evidence)
    points = [
        plan_variable(evidence, taps, scales, index) for index in sorted(evidence.writes) if evidence.updates(index)
    ]
    return StepPlan(
        trace=evidence.trace.id,
        points=tuple(points),
        written=tuple(sorted({write.place for writes in evidence.writes.values() for write in writes})),
    )


def plan_variable(evidence: TraceEvidence, taps: Taps, scales: LossScales, index: int) -> GradientPoint:
    """Where the gradient of one variable is taken, of its first replica."""
    ends = find_ends(evidence, index)
    if len(ends.ports) > 1 and evidence.gradient(index)[0] == "dense":  # slices made dense to be added to the rest
        ends = replace(ends, indices=(), joined_indices=())
    return GradientPoint(
        variable=index,
        ends=taps.at_ports(ends.ports),
        joined=taps.at_ports(ends.joined),
        indices=taps.at_ports(ends.indices),
        joined_indices=taps.at_ports(ends.joined_indices),
        reduced=ends.reduced,
        asked=taps.at_ports(asked_ports(evidence, index)),
        scale=scales.find_constant(index, ends),
        scale_variable=scales.find_variable(index),
    )


class LossScales:
    """What the loss is multiplied by before the backward pass, as far as an optimizer does it.

    A scale that changes is a variable of the optimizer; it counts where the trace reads it on the way to the loss. A
    fixed one is a constant that the gradients are divided by as soon as they leave the backward pass.
    """

    def __init__(self, capture: Capture, evidence: TraceEvidence) -> None:
        self.evidence = evidence
        self._variables: dict[int, int] = {}
        self._fixed: set[int] = set()
        for optimizer in capture.optimizers:
            names = {index: capture.variables[index].path.rpartition("/")[2] for index in optimizer.variables}
            changing = [index for index, name in names.items() if name.startswith(SCALES) and self._scales_loss(index)]
            if changing:
                self._variables.update(dict.fromkeys(optimizer.tracks, changing[0]))
            if FIXED_SCALES & dict(optimizer.settings).keys():
                self._fixed.update(optimizer.tracks)

    def _scales_loss(self, index: int) -> bool:
        return any(self.evidence.reaches(node, TO_BACKWARD) for node in self.evidence.reads.get(index, ()))

    def find_variable(self, variable: int) -> int | None:
        """The variable that holds the scale of a variable's loss."""
        return self._variables.get(variable)

    def find_constant(self, variable: int, ends: Ends) -> float | None:
        """The fixed scale of a variable's loss."""
        if variable not in self._fixed:
            return None
        flow, edges = self.evidence.flow, self.evidence.edges
        for port in ends.ports:
            for reader in edges.readers[port]:
                if flow.op_type(reader) == "RealDiv" and edges.inputs[reader][0] == port:
                    return read_constant(self.evidence, edges.inputs[reader][1])
        return None


def read_constant(evidence: TraceEvidence, port: int) -> float | None:
    """The value of a scalar floating-point constant; None of anything else."""
    flow = evidence.flow
    node = evidence.edges.producer[port] if port >= 0 else -1
    if node < 0 or flow.op_type(node) != "Const":
        return None
    value = flow.body_of(node).def_of(int(flow.local[node])).attr["value"].tensor
    numbers = [*value.float_val, *value.double_val]
    return float(numbers[0]) if len(numbers) == 1 and not value.tensor_shape.dim else None


@dataclass(frozen=True, slots=True)
class Ends:
    """Ports of `GradientPoint`: the last of the backward pass, and those that join them."""

    ports: tuple[int, ...]
    joined: tuple[int, ...]
    indices: tuple[int, ...]
    joined_indices: tuple[int, ...]
    reduced: bool


@dataclass
class _Ways:
    """The program between the writes and the backward pass, walked against the edges."""

    roots: tuple[int, ...]
    before: dict[int, list[int]] = field(default_factory=dict)
    """Node -> nodes that it reads from."""
    ends: dict[int, list[int]] = field(default_factory=dict)
    """Node -> ports of the backward pass that it reads."""
    values: dict[int, set[int]] = field(default_factory=dict)
    """Node -> its own ports that the ways use."""


def find_ends(evidence: TraceEvidence, variable: int) -> Ends:
    """Where the gradient of the variable's first replica leaves the backward pass."""
    ways = walk_back(evidence, variable, list_first(evidence, variable))
    flow, producer = evidence.flow, evidence.edges.producer
    ports = dict.fromkeys(port for found in ways.ends.values() for port in found)
    indices = tuple(port for port in ports if is_integer(flow, producer[port]))
    values = tuple(port for port in ports if port not in indices)
    joined = find_joints(evidence, ways, values)
    return Ends(
        ports=values,
        joined=joined,
        indices=indices,
        joined_indices=find_joints(evidence, ways, indices),
        reduced=any(flow.op_type(node).startswith(REDUCES) for node in ways.before),
    )


def list_first(evidence: TraceEvidence, variable: int) -> tuple[int, ...]:
    """The gradient writes of the first replica: all of them, or the first where that alone makes an update of each step.

    Later updates of a step are made with other weights than those that the step begins with.
    """
    writes = [write for write in evidence.gradient_writes(variable) if write.place[1] == 0]
    nodes = tuple(dict.fromkeys(write.node for write in writes))
    return nodes if len(nodes) < 2 or writes[0].conditional else nodes[:1]


def is_size(flow: Dataflow, node: int) -> bool:
    """Whether a node yields sizes, which no gradient goes through."""
    op = flow.op_type(node)
    return op in SIZES or (op == "Const" and is_integer(flow, node))


def is_integer(flow: Dataflow, node: int) -> bool:
    """Whether a node yields indices, by the type that its definition gives."""
    attributes = flow.body_of(node).def_of(int(flow.local[node])).attr
    for name in ("DstT", "dtype", "output_type", "T"):
        if name in attributes and attributes[name].type:
            return int(attributes[name].type) in INTEGERS
    return False


def walk_back(evidence: TraceEvidence, variable: int, roots: tuple[int, ...]) -> _Ways:
    """Follow gradients from the writes to the backward pass, through slots that were written before they are read."""
    edges, marked = evidence.edges, evidence.marked
    ways = _Ways(roots)
    queue = list(roots)
    while queue:
        node = queue.pop()
        if node in ways.before:
            continue
        before = ways.before[node] = _memory(evidence, variable, node)
        for port in list_carriers(evidence, node):
            maker = edges.producer[port]
            if maker < 0 or maker >= node or is_size(evidence.flow, maker):
                continue
            if marked[maker]:
                ways.ends.setdefault(node, []).append(port)
            else:
                before.append(maker)
                ways.values.setdefault(maker, set()).add(port)
        queue += before
    return ways


def _memory(evidence: TraceEvidence, variable: int, node: int) -> list[int]:
    """Writes of this step whose values a read of a slot carries."""
    access = evidence.resources.accesses.get(node)
    if access is None or access.effect != "read":
        return []
    return [writer for writer in list_writers(evidence, variable, node) if writer < node]


def find_joints(evidence: TraceEvidence, ways: _Ways, ends: tuple[int, ...]) -> tuple[int, ...]:
    """Values that all ways from the writes to these ends share and that only join them, nearest to the ends first.

    Ways are counted, modulo a large prime: a node is on all of them if as many pass it as there are.
    """
    wanted = set(ends)
    order = sorted(ways.before)
    below: dict[int, int] = {}
    for node in order:
        own = sum(port in wanted for port in ways.ends.get(node, ()))
        below[node] = (own + sum(below[other] for other in ways.before[node])) % PRIME
    above = dict.fromkeys(order, 0)
    for node in ways.roots:
        above[node] += 1
    for node in reversed(order):
        for other in ways.before[node]:
            above[other] = (above[other] + above[node]) % PRIME
    total = sum(below[node] for node in ways.roots) % PRIME
    shared = [node for node in order if total and above[node] * below[node] % PRIME == total]
    joints = takewhile(lambda node: _only_joins(evidence, ways, node), shared)
    used = [ways.values.get(node, set()) for node in joints]
    return tuple(port for ports in used if len(ports) == 1 for port in ports)


def _only_joins(evidence: TraceEvidence, ways: _Ways, node: int) -> bool:
    """Whether a node adds or arranges gradients and does nothing else with them."""
    op = evidence.flow.op_type(node)
    if op in ("AddN", "AddV2"):
        read = {evidence.edges.producer[port] for port in ways.ends.get(node, ())} | set(ways.before[node])
        return all(port >= 0 and evidence.edges.producer[port] in read for port in evidence.edges.inputs[node])
    return op in ARRANGES or op.startswith(REDUCES)


def asked_ports(evidence: TraceEvidence, variable: int) -> list[int]:
    """What the gradient writes of the first replica add or subtract; none for writes that assign or apply."""
    found = []
    for write in evidence.gradient_writes(variable):
        access = evidence.resources.accesses[write.node]
        if write.place[1] == 0 and access.effect == "update" and len(access.values) == 1:
            found.append(access.values[0])
    return found


class Taps:
    """Names of values as the functions of the GraphDef have them, with the calls that lead there."""

    def __init__(self, flow: Dataflow) -> None:
        self.flow = flow
        self._calls: dict[int, tuple[TapCall, ...]] = {0: ()}
        self._siblings: dict[tuple[int, int], list[int]] = {}
        self._ports: dict[int, dict[int, list[int]]] = {}
        for number, frame in enumerate(flow.frames):
            self._siblings.setdefault((frame.parent, frame.call), []).append(number)
        self._merge = flow.op_types.index(MERGE) if MERGE in flow.op_types else -1

    def at_ports(self, ports: Iterable[int]) -> tuple[Tap, ...]:
        """One tap for each port."""
        return tuple(self.at_port(port) for port in ports)

    def at_port(self, port: int) -> Tap:
        """One output of a node."""
        flow = self.flow
        node, index = int(flow.port_node[port]), int(flow.port_index[port])
        if int(flow.op[node]) == self._merge:
            index, argument = self._merged_output(node), "output" if flow.function(node) else ""
        else:
            argument = flow.body_of(node).port_name[self._local_port(port)]
        return Tap(self.calls(int(flow.frame[node])), flow.function(node), flow.name(node), argument, index)

    def _local_port(self, port: int) -> int:
        """The port in its function: those of one node keep their order when the function is inlined."""
        flow = self.flow
        node = int(flow.port_node[port])
        number = flow.frames[int(flow.frame[node])].body
        if number not in self._ports:
            found = self._ports[number] = {}
            for local, owner in enumerate(flow.bodies[number].port_node.tolist()):
                found.setdefault(owner, []).append(local)
        first = int(np.searchsorted(flow.port_node, node))
        return self._ports[number][int(flow.local[node])][port - first]

    def _merged_output(self, node: int) -> int:
        """Which output of the If or While a merge stands for: merges of one call stand side by side."""
        flow = self.flow
        first = node
        while first > 0 and flow.op[first - 1] == self._merge and self._same_call(first - 1, node):
            first -= 1
        place = node - first
        frames = self._siblings.get((int(flow.frame[node]), int(flow.local[node])), [])
        if len(frames) < 2 or flow.frames[frames[1]].kind != "while-body":
            return place
        returns = flow.bodies[flow.frames[frames[1]].body].returns
        changing = [i for i, port in enumerate(returns) if port != i]
        return changing[place]

    def _same_call(self, one: int, other: int) -> bool:
        flow = self.flow
        return bool(flow.frame[one] == flow.frame[other] and flow.local[one] == flow.local[other])

    def calls(self, number: int) -> tuple[TapCall, ...]:
        """The calls that lead to a frame, outermost first."""
        if number not in self._calls:
            frame = self.flow.frames[number]
            parent = self.flow.bodies[self.flow.frames[frame.parent].body]
            siblings = self._siblings[frame.parent, frame.call]
            call = TapCall(parent.name_of(frame.call), siblings.index(number))
            self._calls[number] = (*self.calls(frame.parent), call)
        return self._calls[number]


__all__ = ["Ends", "Taps", "find_ends", "plan_step"]
