"""One real step on a copy: how large each gradient is and what the step would change, without changing anything.

What it costs: the step's graph is instantiated once more (tenths of a second to seconds, as at its first run); then each
measurement takes one step and one reduction for each gradient and variable, on the device. Memory: one more copy of
what the step writes. Nothing but a few numbers for each variable comes to the host.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from introspect.capture.framework import name_strategy
from introspect.capture.measurement.bulk import Copier, Differ
from introspect.capture.measurement.instrument import SILENCED, WIDTH, Rewritten, Site, UnsupportedError, rewrite_step
from introspect.capture.measurement.placement import GraphCollection
from introspect.capture.measurement.shadow import (
    Library,
    Shadows,
    call_by_name,
    find_copies,
    find_obstacle,
    unique_suffix,
)
from introspect.capture.measurement.statistics import Statistics, comparer, make_keeper, read_row
from introspect.capture.measurement.taps import TapReader, Wanted
from introspect.capture.probe import LiveProbe
from introspect.capture.record import (
    CapturedMeasure,
    CapturedPlacement,
    CapturedTrace,
    GradientPoint,
    MeasuredVariable,
    StepPlan,
)
from introspect.capture.trace.workers import spans_workers, uses_coordinator
from introspect.capture.variables import VariableTable, list_copies, unwrap_variable
from introspect.collector import collector_paused
from introspect.errors import StepError


@dataclass(frozen=True)
class LiveStep:
    """A concrete function of a training step, with the books that name its variables."""

    concrete: Any
    trace: CapturedTrace
    table: VariableTable
    strategy: Any | None = None
    steps: Any | None = None
    """The variable that tf_keras' loop of `steps_per_execution` counts to."""

    def parse_library(self) -> dict[str, Any]:
        """FunctionDefs that the step can call, by name."""
        from tensorflow.core.framework import graph_pb2

        functions = graph_pb2.GraphDef.FromString(self.trace.graph).library.function
        return {f.signature.name: f for f in functions if f.signature.name != self.trace.step}


def require_isolated(live: LiveStep, library: dict[str, Any]) -> None:
    """Raise StepError where a run on copies would leave something behind.

    Raises:
        StepError: the step runs Python, writes files or tables, reads an iterator of its own, or runs elsewhere.
    """
    nodes = [*live.concrete.function_def.node_def, *(n for f in library.values() for n in f.node_def)]
    obstacle = find_obstacle(nodes, SILENCED)
    if obstacle is None and captures_iterator(live.concrete):
        obstacle = "an iterator that the step holds itself"
    if obstacle is not None:
        raise StepError(f"the step cannot be run on a copy without a trace: it uses {obstacle}; leave measure out")


def require_one_process(live: LiveStep) -> None:
    """Raise StepError where a step on a copy needs other processes: workers who wait for none, or a coordinator's."""
    strategies = [
        live.strategy,
        *(getattr(unwrap_variable(v), "_distribute_strategy", None) for v in live.table.objects),
    ]
    spanning = next((one for one in strategies if spans_workers(one) or uses_coordinator(one)), None)
    if spanning is not None:
        name = name_strategy(spanning)
        raise StepError(f"under {name} no step can be run on a copy in one process alone; leave measure out")


def captures_iterator(concrete: Any) -> bool:
    """Whether the step takes its data from an iterator that is no argument."""
    return any(
        inside.dtype.name == "resource" and any("Iterator" in reader.type for reader in inside.consumers())
        for _, inside in concrete.graph.captures
    )


class Measurer:
    """Measures one trace again and again; holds neither it nor its variables. `close` frees what the first run built.

    Raises:
        StepError: the step cannot be run on copies.
    """

    def __init__(self, live: LiveStep, plan: StepPlan) -> None:
        self.plan = plan
        library = live.parse_library()
        require_isolated(live, library)
        probe = LiveProbe(live.concrete.graph)
        shapes = {point.variable: live.table.rows[point.variable].shape for point in plan.points}
        reader = TapReader(probe, shapes, live.trace.jit or calls_xla(library))
        reader.read_plan(plan)
        self._wanted = reader.wanted
        self._kept = (make_keeper(), *reader.functions.values())
        step = rewrite(live, library, reader, self._kept[0])
        self._rows = step.rows
        self._name = step.functions[0].signature.name
        self._outputs = len(step.functions[0].signature.output_arg)
        self._library = Library()
        self._library.add(step.functions)
        copies = find_copies(live.table, plan.written)
        self._copier = Copier(list(copies.values()), self._library)
        points = {(point.variable, 0) for point in plan.points}
        self._compared = [place for place in copies if place in points]
        self._differ = Differ([copies[place] for place in self._compared], self._library)

    def measure(self, live: LiveStep, inputs: Sequence[Any], given: bool) -> CapturedMeasure:
        """Run one step on copies of what it writes.

        Args:
            live: the step that the measurer was made for.
            inputs: flat arguments of the concrete function, without its captures.
            given: whether they are of a batch that the user gave.

        Raises:
            StepError: the step failed on this batch.
        """
        with collector_paused():
            return self._measure(live, inputs, given)

    def _measure(self, live: LiveStep, inputs: Sequence[Any], given: bool) -> CapturedMeasure:
        started = time.perf_counter()
        shadows = make_shadows(live, self.plan.written, self._copier)
        scales = read_scales(self.plan, live.table)
        fed = shadows.substitute(live.table, [*inputs, *live.concrete.captured_inputs])
        results = call_by_name(self._name, fed, self._outputs)
        numbers = results[-1].numpy().tolist() if self._rows else ()
        del results
        found = collect_rows(self._wanted, self._rows, numbers)
        changes = self._compare(shadows)
        return CapturedMeasure(
            trace=self.plan.trace,
            batch="given" if given else "invented",
            rows=tuple(describe(point, found, scales, changes) for point in self.plan.points),
            loss_scale=next(iter(scales.values()), None),
            seconds=time.perf_counter() - started,
        )

    def _compare(self, shadows: Shadows) -> dict[int, Change]:
        """What the step changed in each variable: all at once, and one by one what needs a closer look."""
        before = [shadows.originals[place].handle for place in self._compared]
        norms = self._differ.compare(before, [shadows.handles[place] for place in self._compared])
        changes = {self._compared[at][0]: Change(*pair, True) for at, pair in norms.items()}
        return changes | compare(shadows, (index for index, _ in self._compared if index not in changes))

    def close(self) -> None:
        """Remove the rewritten functions and their kernels."""
        self._library.close()

    def __enter__(self) -> Measurer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def rewrite(live: LiveStep, library: dict[str, Any], reader: TapReader, keeper: Any) -> Rewritten:
    """The step with readers in it.

    Raises:
        StepError: a gradient stands in a call that takes no further output.
    """
    try:
        return rewrite_step(live.concrete.function_def, library, reader.site, unique_suffix(), keeper.name.decode())
    except UnsupportedError as reason:
        raise StepError(f"the step cannot be measured: {reason} takes no further output; leave measure out") from None


def read_scales(plan: StepPlan, table: VariableTable) -> dict[int, float]:
    """Loss scale of each variable whose loss is scaled."""
    scales = {}
    for point in plan.points:
        if point.scale_variable is not None:
            scales[point.variable] = float(table.objects[point.scale_variable].numpy())
        elif point.scale is not None:
            scales[point.variable] = point.scale
    return scales


def describe(
    point: GradientPoint, found: dict[Wanted, list[Statistics]], scales: dict[int, float], changes: dict[int, Change]
) -> MeasuredVariable:
    """The numbers of one variable."""
    index = point.variable
    gradient = next(iter(found.get(Wanted(index, "gradient"), ())), None)
    change = changes.get(index)
    return MeasuredVariable(
        variable=index,
        weight_norm=None if change is None else change.before.norm,
        update_norm=None if change is None else change.difference.norm,
        changed=None if change is None else change.changed,
        gradient_norm=None if gradient is None else gradient.norm / scales.get(index, 1.0),
        zero_fraction=None if gradient is None else gradient.zero_fraction,
        finite=None if gradient is None else gradient.finite,
        asked_norm=add_norms(found.get(Wanted(index, "asked"))) if point.asked else None,
    )


def calls_xla(library: dict[str, Any]) -> bool:
    """Whether XLA compiles a part of the step."""
    return any(
        "_XlaMustCompile" in node.attr for function in library.values() for node in (function, *function.node_def)
    )


def make_shadows(live: LiveStep, written: Iterable[tuple[int, int]], copier: Copier | None = None) -> Shadows:
    """Copies of what a step writes.

    tf_keras' loop of `steps_per_execution` gets a copy of its limit that is 1; Keras 3's ends with the data, of which
    there is one batch. Under a strategy the limit has a copy on each replica, and no handle of its own while `fit` runs.
    """
    import tensorflow as tf

    shadows = Shadows()
    shadows.make(live.table, written, copier)
    for steps in () if live.steps is None else list_copies(live.steps):
        if hasattr(steps, "handle"):
            shadows.replace(steps, tf.ones([], steps.dtype))
    return shadows


def collect_rows(
    wanted: Sequence[Wanted], rows: Iterable[int], numbers: Iterable[Sequence[float]]
) -> dict[Wanted, list[Statistics]]:
    """What each row says, by what it is about."""
    found: dict[Wanted, list[Statistics]] = {}
    for row, line in zip(rows, numbers, strict=True):
        statistics = read_row(line)
        if statistics is not None:
            found.setdefault(wanted[row], []).append(statistics)
    return found


def add_norms(parts: list[Statistics] | None) -> float:
    """At least this much is asked for, by one or several writes; 0 where none of them ran."""
    return max((part.norm for part in parts or ()), default=0.0)


@dataclass(frozen=True, slots=True)
class Change:
    """One variable before the step, and what the step changed."""

    before: Statistics
    difference: Statistics
    changed: bool


def compare(shadows: Shadows, variables: Iterable[int]) -> dict[int, Change]:
    """The first replica's copies against the originals; one transfer to the host for each device."""
    import tensorflow as tf

    found: dict[str, list[tuple[int, Any]]] = {}
    for index in variables:
        if (index, 0) in shadows.handles:
            before, after = shadows.read((index, 0))
            found.setdefault(before.device, []).append((index, comparer(before.dtype)(before, after)))
    changes = {}
    for device, rows in found.items():
        with tf.device(device):
            lines = tf.stack([line for _, line in rows]).numpy()
        for (index, _), line in zip(rows, lines, strict=True):
            before, difference = read_row(line[:WIDTH]), read_row(line[WIDTH : 2 * WIDTH])
            if before is not None and difference is not None:
                changes[index] = Change(before, difference, bool(line[-1]))
    return changes


def run_for_placement(
    live: LiveStep, inputs: Sequence[Any], written: Iterable[tuple[int, int]]
) -> CapturedPlacement | None:
    """Where the step's ops run: the step as it is, instantiated once more and run once on copies.

    None where TensorFlow kept no graph of it (`tf.summary.trace_on` is on).

    Raises:
        StepError: the step cannot be run on copies, or failed on this batch.
    """
    library = live.parse_library()
    require_isolated(live, library)
    made = rewrite_step(live.concrete.function_def, library, Site(), unique_suffix(), "")
    shadows = make_shadows(live, written)
    fed = shadows.substitute(live.table, [*inputs, *live.concrete.captured_inputs])
    with Library() as registered, GraphCollection() as collection:
        registered.add(made.functions)
        step = made.functions[0].signature
        call_by_name(step.name, fed, len(step.output_arg))
    return collection.read(live.trace)
