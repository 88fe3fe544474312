"""From a measurement's plan to what is read where: the live graphs tell types and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from introspect.capture.measurement.instrument import Reader, Site
from introspect.capture.measurement.statistics import make_dense_reader, make_sparse_reader
from introspect.capture.outputs import name_output, output_lists
from introspect.capture.probe import LiveProbe
from introspect.capture.record import GradientPoint, StepPlan, Tap


@dataclass(frozen=True, slots=True)
class Value:
    """One tapped value."""

    tap: Tap
    tensor: Any
    """The symbolic tensor in its FuncGraph."""

    @property
    def shape(self) -> Any:
        return self.tensor.shape


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row of numbers is about."""

    variable: int
    kind: str
    """gradient or asked."""


class TapReader:
    """Chooses readers for all points of a plan and keeps their functions alive."""

    def __init__(self, probe: LiveProbe, shapes: dict[int, tuple[int | None, ...]], jit: bool) -> None:
        self.probe = probe
        self.shapes = shapes
        self.jit = jit
        self.wanted: list[Wanted] = []
        self.functions: dict[Any, Any] = {}
        self.site = Site()

    def read_plan(self, plan: StepPlan) -> None:
        """Fill `site` and `wanted`."""
        for point in plan.points:
            values = self.choose(point)
            if values:
                self.add(Wanted(point.variable, "gradient"), values)
            for tap in point.asked:
                for value in self.find([tap]):
                    self.add(Wanted(point.variable, "asked"), (value,))

    def choose(self, point: GradientPoint) -> tuple[Value, ...]:
        """The tensor that is the variable's gradient, or the two of a sparse one; none where it cannot be told."""
        ends, joined = self.find(point.ends), self.find(point.joined)
        indices = [*self.find(point.indices), *self.find(point.joined_indices)]
        shape = self.shapes[point.variable]
        alone = len(ends) == 1 and not point.reduced
        if point.indices:
            return pick_sparse(ends[:1] if alone else joined, indices[:1] if alone else indices, shape)
        if alone and ends[0].shape.is_compatible_with(shape):
            return (ends[0],)
        whole = [value for value in joined if value.shape.is_fully_defined() and tuple(value.shape) == shape]
        return tuple(whole[-1:])

    def find(self, taps: Iterable[Tap]) -> list[Value]:
        return [value for tap in taps for value in self.find_value(tap)]

    def find_value(self, tap: Tap) -> Iterator[Value]:
        graph = self.probe.graph(tap.function)
        if graph is None:
            return
        try:
            operation = graph.get_operation_by_name(tap.node)
        except KeyError:
            return
        output = flat_output(operation, tap.argument, tap.index)
        if output < len(operation.outputs):
            yield Value(tap, operation.outputs[output])

    def add(self, wanted: Wanted, values: tuple[Value, ...]) -> None:
        """One more row."""
        tap = values[0].tap
        function = self.function_for(wanted, values)
        inputs = tuple(name_in_function(value.tensor) for value in values)
        types = tuple(value.tensor.dtype.as_datatype_enum for value in values)
        name = function.name.decode()
        self.site.below(tap.calls).readers.append(Reader(len(self.wanted), name, inputs, types))
        self.wanted.append(wanted)

    def function_for(self, wanted: Wanted, values: tuple[Value, ...]) -> Any:
        dtypes = tuple(value.tensor.dtype for value in values)
        shape = self.shapes[wanted.variable] if len(values) > 1 else ()
        zeros = wanted.kind == "gradient"
        key = (zeros, *dtypes, *shape)
        if key not in self.functions:
            if len(values) == 1:
                self.functions[key] = make_dense_reader(dtypes[0], zeros)
            else:
                rows, width = int(shape[0] or 1), count_elements(shape[1:])
                self.functions[key] = make_sparse_reader(dtypes[0], dtypes[1], rows, width, self.jit)
        return self.functions[key]


def pick_sparse(values: list[Value], indices: list[Value], shape: tuple[int | None, ...]) -> tuple[Value, ...]:
    """Values and indices of IndexedSlices of this shape; the last that fit, which are those of all replicas."""
    rows = [value for value in values if value.shape.is_compatible_with((None, *shape[1:]))]
    places = [value for value in indices if value.shape.is_compatible_with((None,))]
    same = bool(rows and places) and rows[-1].tap.calls == places[-1].tap.calls
    return (rows[-1], places[-1]) if same else ()


def count_elements(shape: tuple[int | None, ...]) -> int:
    total = 1
    for size in shape:
        total *= size or 1
    return total


def flat_output(operation: Any, argument: str, index: int) -> int:
    """Number of an output among all outputs of an op, from its list's name and its place there."""
    if not argument:
        return index
    start = 0
    for name, size in output_lists(operation):
        if name == argument:
            return start + index
        start += size
    return index


def name_in_function(tensor: Any) -> str:
    """How a FunctionDef's nodes name a tensor: `node:list:index`."""
    argument, index = name_output(tensor.op, int(tensor.value_index))
    return f"{tensor.op.name}:{argument}:{index}" if argument else str(tensor.name)
