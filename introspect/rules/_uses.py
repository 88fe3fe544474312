"""What becomes of a value that does not reach the loss: it is printed, noted, checked, counted, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.graph.ops import PYTHON_OPS
from introspect.rules._groups import shorten
from introspect.rules._wording import join, place

MOST_USES = 3

SUMMARY = "written to a summary"
CHECKED = "checked"
EFFECTS: dict[str, str] = {
    **dict.fromkeys(("Print", "PrintV2"), "printed"),
    **dict.fromkeys(("WriteSummary", "WriteScalarSummary", "WriteHistogramSummary", "WriteImageSummary"), SUMMARY),
    **dict.fromkeys(("WriteAudioSummary", "WriteRawProtoSummary"), SUMMARY),
    **dict.fromkeys(("ScalarSummary", "HistogramSummary", "ImageSummary", "TensorSummary", "TensorSummaryV2"), SUMMARY),
    **dict.fromkeys(("Assert", "CheckNumerics", "CheckNumericsV2"), CHECKED),
    **dict.fromkeys(("WriteFile", "Save", "SaveSlices", "SaveV2"), "written to a file"),
    **dict.fromkeys(("LookupTableInsert", "LookupTableInsertV2"), "stored in a table"),
    **dict.fromkeys(("QueueEnqueue", "QueueEnqueueV2", "QueueEnqueueMany", "QueueEnqueueManyV2"), "put into a queue"),
    **dict.fromkeys(PYTHON_OPS, "handed to Python"),
}
"""What an op does with a value beside yielding another (TensorFlow's op definitions, 2.21)."""


STORES = ("statistics", "state", "other")
"""Kinds of writes that keep something of what a step computes."""


class Use(NamedTuple):
    """What is done with a value, and the op that does it."""

    words: str
    node: int


def list_uses(facts: Facts, current: TraceEvidence, nodes: Iterable[int]) -> list[Use]:
    """Each once, in the order of the program; what is only checked on its way to another use is left out."""
    uses = {use.words: use for node in nodes for use in _find_uses(facts, current, node)}
    found = sorted(uses.values(), key=lambda use: use.node)
    return [use for use in found if use.words != CHECKED] or found


def _find_uses(facts: Facts, current: TraceEvidence, node: int) -> Iterator[Use]:
    flow, edges = current.flow, current.edges
    for reader in {reader for port in edges.outputs[node] for reader in edges.readers[port]}:
        if current.marked[reader]:
            continue
        if flow.op_type(reader) in EFFECTS:
            yield Use(EFFECTS[flow.op_type(reader)], reader)
        access = current.resources.accesses.get(reader)
        if access is not None and access.places:
            yield from _find_store(facts, current, access.places[0][0], reader)
    if not set(edges.outputs[node]).isdisjoint(flow.outputs):
        yield Use("returned by the step", node)


def _find_store(facts: Facts, current: TraceEvidence, index: int, node: int) -> Iterator[Use]:
    """Not what averages weights, or shrinks them: it takes the variable, and nothing that is computed from it."""
    kinds = {write.kind for write in current.writes.get(index, ()) if write.node == node}
    variable = facts.capture.variables[index]
    if variable.role == "optimizer" or kinds.isdisjoint(STORES):
        return
    if variable.role == "metric":
        yield Use(_name_metric(facts, variable.path), node)
        return
    layer = shorten(facts, variable.layer) if variable.layer else ""
    yield Use(f"stored in {variable.path}{f' of {layer}' if layer and layer not in variable.path else ''}", node)


def _name_metric(facts: Facts, path: str) -> str:
    """tf_keras gives the state of metrics no name of theirs."""
    name = path.rpartition("/")[0]
    return f"counted by metric {name}" if name and facts.capture.model.keras == "keras" else "counted by a metric"


def tell_uses(facts: Facts, current: TraceEvidence, uses: list[Use]) -> str:
    """ "only printed (train.py:41) and written to a summary (train.py:42)"."""
    told = [use.words + _tell_place(facts, current, use.node) for use in uses[:MOST_USES]]
    return f"only {join([*told, 'more of this kind'] if len(uses) > MOST_USES else told)}"


def _tell_place(facts: Facts, current: TraceEvidence, node: int) -> str:
    line = place(facts.locate_written(current, current.flow.function(node), current.flow.name(node)))
    return f" ({line})" if line else ""
