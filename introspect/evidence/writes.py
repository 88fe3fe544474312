"""Why each write happens: its kind, from what its value depends on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from introspect.capture.record import CapturedVariable, VariableNature
from introspect.evidence.resources import Access, Place
from introspect.evidence.scan import (
    AVERAGE,
    DATA,
    GRADIENT,
    NOBODY,
    PYTHON,
    SEVERAL,
    SHAPED,
)
from introspect.graph.dataflow import Dataflow
from introspect.graph.ops import Effect
from introspect.graph.walk import Edges
from introspect.records import WriteKind

_COUNTING = ("int", "uint", "bool", "string")


class WriteFact(NamedTuple):
    """One write of one place in one trace, with program numbers."""

    node: int
    place: Place
    effect: Effect
    kind: WriteKind
    conditional: bool
    sparse: bool
    first: bool
    """Whether the place is the op's own variable, not a slot of a fused optimizer op."""


class Dependence(NamedTuple):
    """What a written value depends on: bits and origin of scan.py.

    Attributes:
        after_gradient: whether a gradient was written there before.
        owner: the variable whose gradient it holds, as far as the graph shows; see owners.py.
        counts: whether it is the variable's own value and something that no variable went into; asked where no gradient is in it.
        added: whether the op adds the value to what is there, or the optimizer was given the variable.
    """

    tags: int
    origin: int
    after_gradient: bool
    owner: int
    added: bool
    counts: bool


def is_whole(variable: CapturedVariable | VariableNature) -> bool:
    """Whether it holds whole numbers, truth values or text, for which there is no gradient."""
    return variable.dtype.startswith(_COUNTING)


def counts(variable: CapturedVariable | VariableNature) -> bool:
    """Whether it holds a seed or whole numbers: a count, which no flag forbids."""
    return variable.seed or is_whole(variable)


def classify_write(variable: VariableNature, index: int, depends: Dependence, forward: bool) -> WriteKind:
    """The kind of a write, `initial` aside.

    `forward` says whether the forward pass reads the variable: only then can a gradient be its own.
    """
    if variable.role == "metric" or counts(variable):
        return "state"
    if variable.overwrite:
        return "gradient"  # float8: only the optimizer writes it, with what the custom gradient hands on
    tags = depends.tags
    if tags & GRADIENT:
        return _classify_gradient(variable, index, depends) if forward else "accumulate"
    return _classify_without_gradient(index, depends)


def _classify_gradient(variable: VariableNature, index: int, depends: Dependence) -> WriteKind:
    """Whether a gradient in what is written to a variable of the forward pass is the variable's own."""
    if depends.owner not in (NOBODY, SEVERAL, index):
        return "average"  # of a variable after its step
    if not variable.watched and not depends.added and depends.owner != index:
        return "accumulate"  # no tape watches it: a mask or a weight of losses, made of others' gradients
    return "gradient"


def _classify_without_gradient(index: int, depends: Dependence) -> WriteKind:
    tags, origin = depends.tags, depends.origin
    if tags & AVERAGE:
        return "average"
    if origin == index and depends.after_gradient and not tags & (DATA | PYTHON):
        return "constraint"
    if tags & (DATA | SHAPED) and not tags & PYTHON:
        return "statistics" if tags & DATA or origin != NOBODY else "state"
    if tags & PYTHON:
        return "other"
    if origin == index:
        return "state" if depends.counts else "decay"
    if origin == SEVERAL or origin >= 0:
        return "average"
    return "state"


def counts_on(flow: Dataflow, edges: Edges, access: Access, origin: Sequence[int]) -> bool:
    """Whether an assigned value is a sum of the variable's own value and of something that no variable went into."""
    port = access.values[0] if access.effect == "assign" and len(access.values) == 1 else -1
    node = edges.producer[port] if port >= 0 else -1
    while node >= 0 and flow.op_type(node) in ("Identity", "Cast"):
        node = edges.producer[edges.inputs[node][0]]
    if node < 0 or flow.op_type(node) not in ("AddV2", "Add", "Sub"):
        return False
    return any(port >= 0 and origin[port] == NOBODY for port in edges.inputs[node])


@dataclass(frozen=True, slots=True)
class Branches:
    """Frames by what decides whether they run.

    Attributes:
        initial: those that run only where a variable is not initialized yet.
        chosen: those that run for some steps only, by another value.
    """

    initial: frozenset[int]
    chosen: frozenset[int]


def sort_branches(flow: Dataflow, edges: Edges) -> Branches:
    """Which frames run at first, and which only sometimes.

    A tf.function that makes variables of values that cannot be had beforehand runs as two branches: of its first call,
    which makes them, and of every later one, which is no choice.
    """
    asks = flow.codes({"VarIsInitializedOp", "IsVariableInitialized"})
    initial, chosen = set[int](), set[int]()
    branches = Counter[tuple[int, int]]()
    for number, frame in enumerate(flow.frames):
        made: bool | None = None
        if frame.kind == "branch":
            first = not branches[frame.parent, frame.call]
            branches[frame.parent, frame.call] += 1
            made = _tells_initialized(flow, edges, frame.predicate, asks) if asks else None
            if made is not None and made != first:
                initial.add(number)
        if frame.parent in initial:
            initial.add(number)
        if frame.parent in chosen or (frame.kind == "branch" and made is None):
            chosen.add(number)
    return Branches(frozenset(initial), frozenset(chosen))


def _tells_initialized(flow: Dataflow, edges: Edges, port: int, asks: frozenset[int]) -> bool | None:
    """What a predicate is once all variables are initialized; None where it does not ask."""
    queue, seen = [(port, True)], {port}
    while queue and len(seen) < 64:
        port, told = queue.pop()
        node = edges.producer[port]
        if node < 0:
            continue
        if int(flow.op[node]) in asks:
            return told
        told ^= flow.op_type(node) == "LogicalNot"
        for before in edges.inputs[node]:
            if before >= 0 and before not in seen:
                seen.add(before)
                queue.append((before, told))
    return None


def is_sparse(access: Access) -> bool:
    """Whether the op writes some rows only: IndexedSlices end in such ops."""
    return access.effect in ("scatter", "sparse-apply")
