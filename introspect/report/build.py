"""Rows of a report from a capture and its evidence."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from introspect.capture.record import Capture, CapturedOptimizer, CapturedSlot, MeasuredVariable
from introspect.evidence.collect import TraceEvidence, summarize_updates
from introspect.evidence.placement import join_placements
from introspect.expectation import LayerTree, find_decider
from introspect.records import (
    Finding,
    Flow,
    GradientKind,
    Measured,
    OptimizerReport,
    Report,
    SlotReport,
    TraceReport,
    Updated,
    VariableReport,
    Write,
)
from introspect.report.writes import WriteBuilder

if TYPE_CHECKING:
    from introspect.capture.record import CapturedVariable

FIT_END = "fit end"
FED = "Dataset.map"
UNREAD = "no trace of the step could be read"


def build_rows(
    capture: Capture, evidence: Sequence[TraceEvidence], feeds: Sequence[TraceEvidence] = ()
) -> tuple[tuple[int, ...], tuple[VariableReport, ...]]:
    """(index in the capture, row) of each variable of the model, then of each untracked one that the step uses."""
    builder = _RowBuilder(capture, evidence, feeds)
    chosen = [i for i, variable in enumerate(capture.variables) if builder.has_row(i, variable)]
    return tuple(chosen), tuple(builder.row(i) for i in chosen)


class _RowBuilder:
    def __init__(self, capture: Capture, evidence: Sequence[TraceEvidence], feeds: Sequence[TraceEvidence]) -> None:
        self.capture = capture
        self.evidence = evidence
        self.feeds = feeds
        self.tree = LayerTree(capture.layers)
        self.current = next((one for one in evidence if one.trace.current), evidence[-1] if evidence else None)
        self.placements = join_placements(evidence, capture.placements)
        probes = {trace.id: probe for trace, probe in zip(capture.traces, capture.probes, strict=False)}
        self.traces = [
            WriteBuilder(capture, one, probes.get(one.trace.id), self.placements.get(one.trace.id)) for one in evidence
        ]
        self.numbers = {} if capture.measure is None else {row.variable: row for row in capture.measure.rows}
        # A legacy optimizer tracks nothing beforehand: what it keeps slots of is what it trains. Of one that holds others,
        # those train.
        self.tracker: dict[int, CapturedOptimizer] = {}
        for optimizer in sorted(capture.optimizers, key=lambda one: not one.inner):
            for index in (*(slot.variable for slot in optimizer.slots), *optimizer.tracks):
                self.tracker.setdefault(index, optimizer)
        self.fit_ends = Counter(end.target for end in capture.fit_end)
        self.books: dict[tuple[int, int], list[CapturedSlot]] = {}
        for optimizer in capture.optimizers:
            for book in optimizer.slots:
                self.books.setdefault((id(optimizer), book.variable), []).append(book)

    def has_row(self, index: int, variable: CapturedVariable) -> bool:
        """Variables that the model does not track count where the step writes them or could train them."""
        if variable.role == "model":
            return True
        if variable.role != "untracked":
            return False
        return any(index in one.forward or one.updates(index) for one in self.evidence) and (
            variable.trainable or any(index in one.moved for one in self.evidence)
        )

    def row(self, index: int) -> VariableReport:
        variable = self.capture.variables[index]
        updated, why = self.updated(index)
        gradient, reason = self.gradient(index)
        optimizer = self.tracker.get(index)
        return VariableReport(
            path=variable.path,
            shape=variable.shape,
            dtype=variable.dtype,
            layer=variable.layer,
            device=variable.device,
            trainable=variable.trainable,
            expected=variable.expected,
            updated=updated,
            gradient=gradient,
            writes=self.writes(index),
            reason=reason or why,
            optimizer=optimizer.name if optimizer else None,
            slots=self.slots(index, optimizer),
            tracked=variable.role == "model",
            decided_by=find_decider(self.capture, self.tree, variable),
            replicas=variable.replicas,
            gradient_device=self.gradient_device(index),
            measured=self.measured(index),
        )

    def updated(self, index: int) -> tuple[Updated, str | None]:
        """By what each trace does: (updated, the reason where it is unknown)."""
        if any(one.updates(index) for one in self.feeds):
            return "unknown", "a data set trains it in its map, as often as elements are taken"
        states = [one.updates(index) for one in self.evidence]
        if not states:
            return "unknown", self.capture.unread or UNREAD
        if None not in states:
            return summarize_updates(states), None
        reasons = [reason for one in self.evidence if (reason := one.why_unknown(index))]
        updated = summarize_updates(states)
        return updated, reasons[0] if reasons else None

    def gradient(self, index: int) -> tuple[GradientKind, str | None]:
        return self.current.gradient(index) if self.current is not None else ("unknown", self.capture.unread or UNREAD)

    def writes(self, index: int) -> tuple[Write, ...]:
        found: list[Write] = []
        for one in self.traces:
            found += one.build(index)
        for feed in self.feeds:
            made = WriteBuilder(self.capture, feed, None, None).build(index) if index in feed.writes else ()
            found += [replace(write, trace=None, function=FED) for write in made]
        if index in self.fit_ends:
            device = self.capture.variables[index].device
            found += [Write("average", None, None, device, None, False, None, FIT_END, None)] * self.fit_ends[index]
        return tuple(found)

    def slots(self, index: int, optimizer: CapturedOptimizer | None) -> tuple[SlotReport, ...]:
        books = self.books.get((id(optimizer), index))
        if not books:
            return ()
        return tuple(self.slot(book.slot, book.name) for book in books)

    def slot(self, index: int, name: str) -> SlotReport:
        variable = self.capture.variables[index]
        moves: list[bool | None] = [index in one.moved for one in self.evidence]
        return SlotReport(
            name, variable.path, summarize_updates(moves or [None]), variable.device, self.slot_placed(index)
        )

    def slot_placed(self, index: int) -> str | None:
        return next((device for one in self.traces if (device := one.device_of_first(index))), None)

    def gradient_device(self, index: int) -> str | None:
        placement = self.placements.get(self.current.trace.id) if self.current is not None else None
        if placement is None or not placement.evidence.updates(index):
            return None
        return placement.device_of_gradient(index)

    def measured(self, index: int) -> Measured | None:
        numbers = self.numbers.get(index)
        if numbers is None:
            return None
        return Measured(
            gradient_norm=numbers.gradient_norm,
            update_norm=numbers.update_norm,
            weight_norm=numbers.weight_norm,
            zero_fraction=numbers.zero_fraction,
            finite=numbers.finite,
            resolved=self.resolved(numbers),
            placed=self.gradient_device(index),
        )

    def resolved(self, numbers: MeasuredVariable) -> bool | None:
        """None where nothing was asked for (a gradient of 0, a rate of 0, a branch that did not run), or another write decides."""
        if numbers.changed:
            return True
        if self.current is not None and self.current.overwrites(numbers.variable):
            return None
        if numbers.asked_norm is not None:
            return False if numbers.asked_norm > 0 else None
        writes = self.current.gradient_writes(numbers.variable) if self.current is not None else []
        optimizer = self.tracker.get(numbers.variable)
        idle = optimizer is not None and optimizer.learning_rate == 0
        unsaid = idle or not numbers.gradient_norm or all(write.conditional for write in writes)
        return None if unsaid else False


def build_report(
    capture: Capture,
    evidence: Sequence[TraceEvidence],
    rows: tuple[VariableReport, ...],
    findings: tuple[Finding, ...],
    flow: Flow,
    timings: tuple[tuple[str, float], ...],
) -> Report:
    """Put the parts together."""
    shown = {row.path for row in rows}
    return Report(
        model=capture.model,
        source=capture.source,
        findings=findings,
        variables=rows,
        layers=capture.layers,
        optimizers=tuple(_optimizer(capture, optimizer) for optimizer in capture.optimizers),
        traces=tuple(_trace(capture, one, shown) for one in evidence),
        environment=capture.environment,
        timings=timings,
        flow=flow,
        step=capture.step,
        created=time.time(),
    )


def _optimizer(capture: Capture, optimizer: CapturedOptimizer) -> OptimizerReport:
    return OptimizerReport(
        name=optimizer.name,
        class_name=optimizer.class_name,
        learning_rate=optimizer.learning_rate,
        tracks=tuple(capture.variables[index].path for index in optimizer.tracks),
        built=optimizer.built,
        settings=optimizer.settings,
    )


def _trace(capture: Capture, one: TraceEvidence, shown: set[str]) -> TraceReport:
    variables = capture.variables
    updated = [v.path for i, v in enumerate(variables) if v.path in shown and one.updates(i)]
    trace = one.trace
    return TraceReport(
        id=trace.id,
        signature=trace.signature,
        nodes=one.nodes,
        functions=one.functions,
        updated=tuple(updated),
        current=trace.current,
        source=trace.source,
        caller=trace.caller,
        jit=trace.jit or any(frame.jit for frame in one.flow.frames),
        location=trace.location,
    )
