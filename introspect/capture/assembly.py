"""What was read of a step, put together as a `Capture`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from introspect.capture.fitend import find_fit_end, find_unbuilt_metrics
from introspect.capture.framework import KerasName, describe_environment
from introspect.capture.handles import find_handles, list_attributes, name_optimizers
from introspect.capture.helpers import find_helper_parts
from introspect.capture.layers import describe_layers, refuse_layers
from introspect.capture.live.flags import Event, name_events, recorded_writes
from introspect.capture.measurement.known import place_traces
from introspect.capture.oddities import find_made_frozen, find_odd_flags, sets_flags
from introspect.capture.probe import LiveProbe
from introspect.capture.reached import open_reached, reach_optimizers
from introspect.capture.record import (
    Asked,
    Capture,
    CapturedOptimizer,
    CapturedTrace,
    FlagWrite,
    Followed,
    StepCode,
    StepFailure,
)
from introspect.capture.rows import Rows, fill_rows, find_own_lists
from introspect.capture.slots import Books, count_iterations, describe_optimizer, is_built, open_optimizer
from introspect.capture.trace.compiling import find_refusal
from introspect.capture.trace.datafunctions import freeze_functions, list_fed, list_functions
from introspect.capture.trace.overwritten import find_eager_error
from introspect.capture.trace.quantized import find_eager_clashes
from introspect.capture.trace.tapes import TapeNotes, read_notes
from introspect.capture.trace.traces import LiveTrace, freeze_trace, number_first
from introspect.capture.trace.unknown import Unknown
from introspect.capture.variables import VariableTable, bind_resources
from introspect.collector import collector_paused
from introspect.records import ModelSummary, Source


@dataclass(frozen=True, slots=True)
class StandIn:
    """An optimizer, and the object whose books tell what the trace did with it."""

    real: Any
    copy: Any
    built: bool
    """Whether the real one was built before introspect traced anything."""
    current: bool
    """Whether it is the one that the step is meant to use."""

    @property
    def teller(self) -> Any:
        """Whose books hold what the trace built: the real one's where the step reached past the twin."""
        return self.real if is_built(self.real) and not is_built(self.copy) else self.copy


@dataclass
class Reading:
    """All that was found alive; nothing of it is plain yet."""

    model: Any | None
    keras: KerasName
    lives: list[LiveTrace]
    current: Any
    """The concrete function that the next step uses."""
    source: Source
    summary: ModelSummary
    optimizers: list[StandIn]
    twins: list[Any] = field(default_factory=list)
    retraces: bool = False
    failure: StepFailure | None = None
    unknown: tuple[Unknown, ...] = ()
    """What the failure is about."""
    data_given: bool = False
    data: Any = None
    """What `fit` will be given, if that was said."""
    fits: bool = True
    """Whether the step is run by `fit`, which writes averages at its end."""
    kept: list[Any] = field(default_factory=list)
    books: dict[int, Books] | None = None
    """Of the optimizers that were built before introspect traced, by identity; None where it traced nothing."""
    timings: list[tuple[str, float]] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    followed: Followed | None = None
    apart: bool = False
    """Whether the current trace takes each tensor among a loop's arguments by itself, as one that was followed does."""
    unread: str = ""
    """Why no trace tells how the model trains."""
    step_flags: list[Event] = field(default_factory=list)
    """What the step set while introspect traced it."""
    notes: TapeNotes | None = None
    """What the current trace asked gradient tapes, where introspect made it."""
    code: StepCode | None = None
    named: Any = None
    """What a loop was given as its optimizer."""
    reached: tuple[tuple[str, Any], ...] = ()
    """Of a loop that was given none: how its function's names lead to optimizers."""
    observe: Observer | None = None
    """Adds to the capture what only the live step can tell."""

    def enter(self, concrete: Any | None, caller: str, jit: bool = False) -> None:
        """Make a trace of introspect's the current one; where there is none, the last that exists."""
        if concrete is None:
            self.current = self.lives[-1].concrete
            return
        source: Source = "eager" if self.source == "eager" else "traced"
        self.lives.append(LiveTrace(concrete, caller, source, jit, number_first([concrete, *self.kept])))
        self.current = concrete


Observer = Callable[[Reading, VariableTable, Capture], Capture]


def assemble(reading: Reading) -> Capture:
    """The plain record; call it inside the guard of the trace, while the twin's books stand."""
    with collector_paused():
        table, capture = put_together(reading)
    return capture if reading.observe is None else reading.observe(reading, table, capture)


def put_together(reading: Reading) -> tuple[VariableTable, Capture]:
    """The record of what the graphs and the objects alone tell, and its variables."""
    started = time.perf_counter()
    model, keras = reading.model, reading.keras
    parts = [part for stand_in in reading.optimizers for part in (stand_in.real, stand_in.copy)]
    models = [part for part in (model, *reading.twins) if part is not None]
    rows = fill_rows(model, models, parts, reading.lives)
    rows.enter_idle(open_reached(reading.reached))
    names = rows.table.name_rows()
    traces = freeze_traces(reading.lives, rows.table, reading.current)
    layers = {rows.tree.paths[id(layer)]: layer for layer in rows.tree.layers}
    feeding = list_functions(reading.data, reading.lives, rows.table)
    fit_end, end_failure = ((), None) if not reading.fits else read_fit_end(reading, rows.table)
    reading.timings.append(("export", time.perf_counter() - started))
    capture = Capture(
        model=reading.summary,
        environment=describe_environment(keras, getattr(model, "distribute_strategy", None)),
        variables=tuple(rows.table.rows),
        layers=describe_layers(rows.tree, names),
        optimizers=describe_optimizers(reading, rows),
        traces=traces,
        source=reading.source,
        retraces=reading.retraces,
        failure=name_failure(reading, rows.table) or find_xla_refusal(reading) or end_failure,
        eager_error=find_eager_error(rows.tree.layers) if reading.source == "eager" else "",
        eager_clashes=find_eager_clashes(rows.tree.layers, rows.tree.paths) if reading.source == "eager" else (),
        fit_end=fit_end,
        data_given=reading.data_given,
        fed=list_fed(feeding, rows.table),
        feeds=freeze_functions(feeding, rows.table),
        timings=tuple(reading.timings),
        probes=tuple(LiveProbe(live.concrete.graph, reading.kept) for live in reading.lives),
        step=read_step(reading.optimizers),
        handles=find_handles(rows.tree),
        shared=tuple((path, tuple(dict.fromkeys(others))) for path, others in rows.tree.shared.items()),
        sets_flags=sets_flags(rows.tree.layers),
        odd_flags=find_odd_flags(layers),
        made_frozen=find_made_frozen(layers),
        flag_writes=read_flag_writes(reading, rows, names, traces),
        step_flags=name_events(reading.step_flags, model, rows.tree.paths, names, {}),
        warnings=reading.warnings,
        followed=reading.followed,
        asked=read_asked(reading, rows.table),
        takes_no_layers=refuse_layers(model) if model is not None else "",
        own_lists=find_own_lists(model),
        code=reading.code,
        unread=reading.unread,
        helper_parts=find_helper_parts(rows.tree, rows.table, keras),
        placements=tuple(place_traces(zip((live.concrete for live in reading.lives), traces, strict=True))),
    )
    return rows.table, capture


def find_xla_refusal(reading: Reading) -> StepFailure | None:
    """What XLA refuses of the next step: of a trace that introspect made, or of one that exists and never ran.

    The call that made the latter has raised. A step that the optimizer has counted was compiled.
    """
    live = next((live for live in reading.lives if live.concrete is reading.current), None)
    if live is None or live.source == "eager":
        return None
    if live.source == "compiled" and (reading.retraces or not reading.summary.jit_compile or has_stepped(reading)):
        return None
    return find_refusal(live.concrete, reading.kept)


def has_stepped(reading: Reading) -> bool:
    """Whether an optimizer has counted a step."""
    return bool(count_iterations([stand_in.real for stand_in in reading.optimizers]))


def read_flag_writes(
    reading: Reading, rows: Rows, names: dict[int, str], traces: tuple[CapturedTrace, ...]
) -> tuple[FlagWrite, ...]:
    """What `trace_flags` has recorded of this model and these traces."""
    ids = {id(live.concrete): trace.id for live, trace in zip(reading.lives, traces, strict=True)}
    return recorded_writes(reading.model, rows.tree.paths, names, ids)


def read_asked(reading: Reading, table: VariableTable) -> Asked | None:
    made = any(live.concrete is reading.current and live.source != "compiled" for live in reading.lives)
    if reading.notes is None or not made:
        return None
    return read_notes(reading.notes, reading.current, reading.kept, table)


def read_fit_end(reading: Reading, table: VariableTable) -> tuple[Any, StepFailure | None]:
    """The writes of the next fit's end; the twin's optimizer tells where the real one is not built."""
    unbuilt = find_unbuilt_metrics(reading.model, reading.twins, reading.keras)
    for stand_in in reading.optimizers:
        if stand_in.real is getattr(reading.model, "optimizer", None):
            optimizer = stand_in.real if stand_in.built else stand_in.teller
            writes, failure = find_fit_end(reading.model, optimizer, reading.keras, table)
            return writes, unbuilt or failure
    return (), unbuilt


def stand_in_for(optimizer: Any, copy: Any, current: bool) -> StandIn:
    return StandIn(optimizer, copy, is_built(optimizer), current)


def pair_optimizers(optimizers: list[Any], twins: dict[int, Any], main: Any) -> list[StandIn]:
    """Each optimizer with its stand-in: the twin's where there is one, else itself."""
    current = {id(part) for part in open_optimizer(main)}
    return [stand_in_for(part, twins.get(id(part), part), id(part) in current) for part in optimizers]


def describe_optimizers(reading: Reading, rows: Rows) -> tuple[CapturedOptimizer, ...]:
    """Those that are known, then those that only the graph knows.

    Of a loop for which no optimizer was named, the ones that its graph uses are the current ones; others that its
    function leads to come last.
    """
    known = [
        describe_optimizer(
            s.real,
            s.teller,
            rows.list_owned(s.real, s.teller),
            rows.table,
            s.current,
            find_books(reading, s.real, s.built),
        )
        for s in reading.optimizers
    ]
    meant = not reading.fits and not reading.optimizers
    for part, current in [(part, meant) for part in rows.optimizers] + [(part, False) for part in rows.idle]:
        books = find_books(reading, part, is_built(part) and reading.books is None)
        known.append(describe_optimizer(part, part, rows.list_owned(part), rows.table, current, books))
    objects = [*(s.real for s in reading.optimizers), *rows.optimizers, *rows.idle]
    inner = {id(part) for whole in objects for part in open_optimizer(whole)[1:]}
    names = name_optimizers(list_roots(reading, len(objects)), objects)
    held = {*names, *map(id, list_named_by_step(reading))}
    return tuple(
        replace(row, inner=id(real) in inner, attribute=names.get(id(real), ""), held=id(real) in held)
        for real, row in zip(objects, known, strict=True)
    )


def list_roots(reading: Reading, optimizers: int) -> list[tuple[str, Any]]:
    """(name, object) by which the user reaches optimizers: what a loop was given, or the model's attributes.

    Keras' own step means `model.optimizer`: where no other is known, no other is looked for.
    """
    if reading.reached:
        return list(reading.reached)
    if reading.code is not None:
        return [(reading.code.optimizer or "optimizer", reading.named)]
    if reading.model is None:
        return []
    alone = optimizers < 2 and not reading.summary.custom_train_step
    return [
        ("optimizer", getattr(reading.model, "optimizer", None)),
        *(() if alone else list_attributes(reading.model)),
    ]


def list_named_by_step(reading: Reading) -> list[Any]:
    """The optimizers to which globals and closures of the model's own train step lead."""
    if reading.model is None or not reading.summary.custom_train_step:
        return []
    step = reading.model.train_step
    return open_reached(reach_optimizers(getattr(step, "python_function", step)))


def find_books(reading: Reading, optimizer: Any, built: bool) -> Any | None:
    """What tells which variables the optimizer was built with: its books from before the trace, else its own."""
    kept = (reading.books or {}).get(id(optimizer))
    return kept if kept is not None else optimizer if built else None


def freeze_traces(lives: list[LiveTrace], table: VariableTable, current: Any) -> tuple[CapturedTrace, ...]:
    """Saved forms with ids that count each caller's traces."""
    counts: dict[str, int] = {}
    frozen = []
    for live in lives:
        counts[live.caller] = counts.get(live.caller, 0) + 1
        bindings = bind_resources(live.resources, table)
        frozen.append(freeze_trace(live, f"{live.caller}/{counts[live.caller]}", bindings, live.concrete is current))
    return tuple(frozen)


def name_failure(reading: Reading, table: VariableTable) -> StepFailure | None:
    """The failure with the optimizers' variables as rows; one for each optimizer, the first with the others beside it."""
    if reading.failure is None or not reading.unknown:
        return reading.failure
    first, *others = (
        replace(
            reading.failure,
            optimizer=unknown.optimizer,
            variables=tuple(row for variable in unknown.variables if (row := table.find(variable)) is not None),
        )
        for unknown in reading.unknown
    )
    return replace(first, beside=tuple(others))


def read_step(optimizers: list[StandIn]) -> int | None:
    """`iterations` now: of the current optimizer, of another where that one has made no step."""
    return count_iterations([one.real for one in sorted(optimizers, key=lambda one: not one.current)])
