"""From one captured trace to what it proves about each variable."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from introspect.capture.memo import Memo
from introspect.capture.record import Capture, CapturedTrace, Probe, VariableNature
from introspect.evidence.resources import Access, Place, Resources, resolve_resources
from introspect.evidence.scan import (
    PYTHON,
    TO_BACKWARD,
    TO_OUTPUT,
    TO_PYTHON,
    ForwardScan,
    find_ends,
    join_ends,
    scan_back,
)
from introspect.evidence.spread import NOWHERE, Spread
from introspect.evidence.tape import TapeMarks
from introspect.evidence.undone import find_undone
from introspect.evidence.writes import WriteFact, counts, sort_branches
from introspect.evidence.written import Writes
from introspect.graph.check import refuse_damage
from introspect.graph.dataflow import Dataflow
from introspect.graph.flatten import flatten_graph
from introspect.graph.ops import PYTHON_OPS
from introspect.graph.parse import ParsedGraph
from introspect.graph.walk import Edges
from introspect.records import GradientKind, Updated

LEFT_TO_PYTHON = (
    "the step assigns it a value that Python holds after each update; only Python knows whether that ever changes"
)

BYTES_A_NODE = 400
"""What evidence takes in memory, the graph's bytes aside."""


@dataclass(frozen=True)
class TraceEvidence:
    """What one trace proves. All node and port numbers are those of `flow`.

    Attributes:
        writes: by variable index, those that last.
        undone: by variable index, those that the step itself takes back: what the forward pass reads is as it was before.
        chosen: frames that run for some steps only.
        spread: of a step that writes numbers made of gradients to what a tape watches, where they go.
        reads: nodes that read a variable, by variable index.
        goes: [ports] where a value goes: bits of scan.py.
        reached: [nodes] where any value that a node yields goes.
        tags: [ports] what a value depends on: bits of scan.py.
        marked: [nodes] whether a gradient tape made the op.
        forward: variables that the forward pass reads.
        gradients: by variable index, what `gradient` tells; none where it is missing.
        python: whether the step runs Python that the graph does not show.
        ends: ports that the step returns, or writes to a metric.
        drawn: its drawing, for later looks.
    """

    trace: CapturedTrace
    flow: Dataflow
    edges: Edges
    resources: Resources
    writes: dict[int, list[WriteFact]]
    reads: dict[int, list[int]]
    goes: bytearray
    reached: bytearray
    tags: bytearray
    marked: bytearray
    forward: frozenset[int]
    python: bool
    ends: frozenset[int]
    nodes: int
    functions: int
    gradients: dict[int, tuple[GradientKind, str | None]] = field(default_factory=dict)
    undone: dict[int, list[WriteFact]] = field(default_factory=dict)
    chosen: frozenset[int] = frozenset()
    spread: Spread = NOWHERE
    drawn: Memo = field(default_factory=Memo, compare=False)

    @cached_property
    def moved(self) -> frozenset[int]:
        """Variables that are written otherwise than to initialize them."""
        return frozenset(i for i, writes in self.writes.items() if any(write.kind != "initial" for write in writes))

    @cached_property
    def fed_by_slices(self) -> frozenset[int]:
        """Nodes of the update into which rows go that an op wrote by itself, or joined: what IndexedSlices end in."""
        from introspect.evidence.gradients import find_fed

        return find_fed(self)

    @cached_property
    def partners(self) -> dict[int, frozenset[int]]:
        """By variable, those of whose gradients its update is made by the graph alone: what `Partners.find` tells."""
        from introspect.evidence.partners import Partners

        partners = Partners(self)
        return {index: partners.find(index) for index in partners.kernels}

    @cached_property
    def trains(self) -> bool:
        """Whether a gradient is written to any variable."""
        return any(write.kind == "gradient" for writes in self.writes.values() for write in writes)

    def gradient(self, variable: int) -> tuple[GradientKind, str | None]:
        """(dense, sparse, none or unknown; the reason where it is unknown)."""
        return self.gradients.get(variable, ("none", None))

    def reaches(self, node: int, ends: int) -> bool:
        """Whether any value that a node yields goes to any of these ends: bits of scan.py."""
        return bool(self.reached[node] & ends)

    def updates(self, variable: int) -> bool | None:
        """Whether the trace writes the variable with a value that depends on its gradient, to stay; None: unknown."""
        return self._updated.get(variable, False)

    @cached_property
    def _updated(self) -> dict[int, bool | None]:
        """`updates` of all that have a gradient, or may have one."""
        kinds = ((variable, kind) for variable, (kind, _) in self.gradients.items() if kind != "none")
        return {
            i: None if kind == "unknown" or self.is_left_to_python(i) else not self.puts_back(i) for i, kind in kinds
        }

    def is_left_to_python(self, variable: int) -> bool:
        """Whether an eager step assigns the variable, after its update, what Python holds: the same each time, or not."""
        return self.trace.source == "eager" and self.puts_back(variable) and bool(self.writes.get(variable))

    def why_unknown(self, variable: int) -> str | None:
        """The reason where `updates` tells None."""
        reason = self.gradient(variable)[1]
        return LEFT_TO_PYTHON if reason is None and self.is_left_to_python(variable) else reason

    def puts_back(self, variable: int) -> bool:
        """Whether a gradient is written to the variable, and nothing of it stays."""
        if variable not in self.undone:
            return False
        trained = any(write.kind == "gradient" for write in self.undone[variable])
        return trained and all(write.kind != "gradient" for write in self.writes.get(variable, ()))

    def kept_functions(self, nodes: Iterable[int]) -> tuple[str, ...]:
        """Names of the functions, older than the trace, in which all of these nodes stand, the outermost first."""
        return share_begin({self._find_kept(node) for node in nodes})

    def kept_writers(self, variable: int) -> tuple[str, ...]:
        """Those in which all the writes of a variable stand that carry its gradient, or all its writes where none does."""
        writes = self.gradient_writes(variable) or [w for w in self.writes.get(variable, ()) if w.kind != "initial"]
        return self.kept_functions(write.node for write in writes)

    def kept_tapes(self, variable: int) -> tuple[str, ...]:
        """Those that take gradients themselves, and in which all the reads of a variable stand."""
        return tuple(name for name in self.kept_functions(self.reads.get(variable, ())) if self.takes_gradients(name))

    def takes_gradients(self, function: str) -> bool:
        """Whether a tape inside of the function computes gradients there."""
        frames, bodies, inside = self.flow.frames, self.flow.bodies, set[int]()
        for number, frame in enumerate(frames):
            if frame.parent in inside or (bodies[frame.body].name == function and not frame.by_tape):
                inside.add(number)
        return any(
            number in inside and mark for number, mark in zip(self.flow.frame.tolist(), self.marked, strict=True)
        )

    def choices(self, node: int) -> frozenset[int]:
        """The branches around a node that do not always run, as frames."""
        frames, number, found = self.flow.frames, int(self.flow.frame[node]), set[int]()
        while number in self.chosen:
            if frames[number].kind == "branch":
                found.add(number)
            number = frames[number].parent
        return frozenset(found)

    def _find_kept(self, node: int) -> tuple[str, ...]:
        frames, number, found = self.flow.frames, int(self.flow.frame[node]), list[str]()
        while number >= 0:
            name = self.flow.bodies[frames[number].body].name
            found += [name] if name in self.trace.kept else []
            number = frames[number].parent
        return tuple(reversed(found))

    def overwrites(self, variable: int) -> list[WriteFact]:
        """Writes that put a value in the place of the one that the update made: of constraints, averages, by hand."""
        facts = self.writes.get(variable, ())
        return [fact for fact in facts if fact.effect == "assign" and fact.kind not in ("gradient", "initial")]

    def gradient_writes(self, variable: int) -> list[WriteFact]:
        """The writes that carry the variable's gradient, those that are taken back among them."""
        found = self.writes.get(variable, [])
        if variable in self.undone:
            found = sorted((*found, *self.undone[variable]))
        return [write for write in found if write.kind == "gradient"]


def share_begin(chains: Collection[tuple[str, ...]]) -> tuple[str, ...]:
    """What all of these begin with."""
    return tuple(names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*chains, strict=False)))


class Basis(NamedTuple):
    """All that the evidence of a trace rests on, beside what a probe tells of its graph."""

    trace: CapturedTrace
    variables: tuple[VariableNature, ...]
    tracked: frozenset[int]
    """Variables that optimizers were built with."""


def collect_trace(capture: Capture, trace: CapturedTrace, probe: Probe | None) -> TraceEvidence:
    """Read one trace, or take what an earlier look has read of it: flags that were set since are no part of it.

    Raises:
        GraphError: the graph does not hold together.
    """
    tracked = frozenset(index for optimizer in capture.optimizers for index in optimizer.tracks)
    basis = Basis(trace, tuple(variable.nature for variable in capture.variables), tracked)
    with refuse_damage(f"trace {trace.id}"):
        if probe is None or probe.memo is None:
            return _collect(basis, probe)
        return probe.memo.recall(
            "evidence", basis, lambda: _collect(basis, probe), lambda made: BYTES_A_NODE * made.flow.nodes
        )


def _collect(basis: Basis, probe: Probe | None) -> TraceEvidence:
    trace = basis.trace
    graph = ParsedGraph(trace.graph, trace.outputs, trace.step, trace.arguments)
    marks = TapeMarks(trace, probe)
    flow = flatten_graph(graph, marks.made_call)
    edges = Edges(flow)
    resources = resolve_resources(flow, edges, trace.bindings)
    marked = marks.mark(flow)
    evidence = _scan(basis, probe, flow, edges, resources, marked)
    unproven = _unproven(basis, evidence)
    if unproven and marks.extend(flow, edges, marked, unproven, _link_memory(evidence)):
        evidence = _scan(basis, probe, flow, edges, resources, marked)
    return replace(evidence, nodes=sum(body.nodes for body in flow.bodies), functions=graph.functions)


def _unproven(basis: Basis, evidence: TraceEvidence) -> list[int]:
    """Nodes that write what the forward pass reads, with no gradient seen so far: from the data, or what may train from anything.

    A custom gradient may hand back what no other op of the tape went into: a constant, or what the variable itself holds.
    """
    made = ("statistics", "other", "average")
    found: list[int] = []
    for index in evidence.forward:
        writes = [*evidence.writes.get(index, ()), *evidence.undone.get(index, ())]
        kinds = {write.kind for write in writes}
        if not kinds - {"gradient"}:
            continue
        variable = basis.variables[index]
        asked = (*made, "state", "decay") if _may_train(variable) and "gradient" not in kinds else made
        if variable.role != "metric":
            found += [write.node for write in writes if write.kind in asked]
    return found


def _may_train(variable: VariableNature) -> bool:
    return variable.watched and variable.role in ("model", "untracked") and not counts(variable)


def _link_memory(evidence: TraceEvidence) -> dict[int, list[int]]:
    """From each read of what only the update uses (slots, accumulators) to the ops that write it."""
    return {
        node: [write.node for write in evidence.writes.get(variable, ())]
        for variable, nodes in evidence.reads.items()
        if variable not in evidence.forward
        for node in nodes
    }


def _scan(
    basis: Basis,
    probe: Probe | None,
    flow: Dataflow,
    edges: Edges,
    resources: Resources,
    marked: bytearray,
) -> TraceEvidence:
    trace, variables = basis.trace, basis.variables
    accesses = resources.accesses.values()
    metric_writes = [a for a in accesses if a.effect != "read" and a.places and variables[a.places[0][0]].is_metric]
    ends = find_ends(flow, metric_writes)
    goes = scan_back(flow, edges, marked, ends)
    reached = join_ends(flow, goes)
    reads = _find_reads(accesses)
    onward = (np.frombuffer(reached, dtype=np.uint8) & (TO_BACKWARD | TO_OUTPUT | TO_PYTHON)).tobytes()
    forward = frozenset(
        variable
        for variable, nodes in reads.items()
        if variables[variable].role != "optimizer" and any(map(onward.__getitem__, nodes))
    )
    hyper = {
        i
        for i, variable in enumerate(variables)
        if variable.role == "optimizer" or (variable.role == "untracked" and not variable.shape and i not in forward)
    }

    def rank_of(node: int) -> int | None:
        return probe.rank(flow.function(node), flow.name(node), 0) if probe is not None else None

    def write(zeros: frozenset[int]) -> Writes:
        scan = ForwardScan(flow, edges, resources, marked, set(forward), hyper, reached, rank_of, zeros)
        scan.run()
        return Writes(variables, basis.tracked, scan, reads, forward, branches)

    branches = sort_branches(flow, edges)
    writer = write(frozenset())
    if writer.spread.zeros:
        writer = write(writer.spread.zeros)
    writes, undone = _part_undone(writer.find(), *find_undone(flow, edges, resources, forward, trace.fixed))
    python = not PYTHON_OPS.isdisjoint(flow.op_types)
    evidence = TraceEvidence(
        trace,
        flow,
        edges,
        resources,
        writes,
        reads,
        goes,
        reached,
        writer.scan.tags,
        marked,
        forward,
        python,
        ends,
        0,
        0,
        undone=undone,
        chosen=branches.chosen,
        spread=writer.spread,
    )
    return replace(evidence, gradients=_find_gradients(variables, evidence))


def _part_undone(
    written: dict[int, list[WriteFact]], gone: frozenset[tuple[int, Place]], fixed: frozenset[tuple[int, Place]]
) -> tuple[dict[int, list[WriteFact]], dict[int, list[WriteFact]]]:
    """(the writes that last, those that are taken back); what is fixed holds nothing of what it was made of at this step"""
    lasting, undone = dict(written), dict[int, list[WriteFact]]()
    for index in {place[0] for _, place in gone} & written.keys():
        undone[index] = [fact for fact in written[index] if (fact.node, fact.place) in gone]
        left = (fact for fact in written[index] if (fact.node, fact.place) not in gone)
        lasting[index] = [fact._replace(kind="state") if (fact.node, fact.place) in fixed else fact for fact in left]
    return lasting, undone


def _find_reads(accesses: Iterable[Access]) -> dict[int, list[int]]:
    reads: dict[int, list[int]] = {}
    for access in accesses:
        if access.effect == "read":
            reads.setdefault(access.places[0][0], []).append(access.node)
    return reads


def _find_gradients(
    variables: tuple[VariableNature, ...], evidence: TraceEvidence
) -> dict[int, tuple[GradientKind, str | None]]:
    from introspect.evidence.gradients import find_gradient

    return {
        i: find_gradient(evidence, i) for i, variable in enumerate(variables) if variable.role in ("model", "untracked")
    }


def summarize_updates(states: Iterable[bool | None]) -> Updated:
    """`updated` over all traces: yes in each, no in none, some in between; unknown where one is."""
    seen = set(states)
    if None in seen:
        return "unknown"
    if True in seen:
        return "some" if False in seen else "yes"
    return "no"


__all__ = ["PYTHON", "TraceEvidence", "collect_trace", "summarize_updates"]
