"""The step as it would be had the model been compiled again with new optimizers, traced on a twin."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from introspect.capture.assembly import Reading, assemble, pair_optimizers
from introspect.capture.frames import explain_error
from introspect.capture.framework import KerasName, require_model
from introspect.capture.guard import preserve
from introspect.capture.inputs import read_spec
from introspect.capture.invented import invent_specs
from introspect.capture.model import require_compiled, runs_eagerly, summarize_model
from introspect.capture.record import Capture
from introspect.capture.slots import find_optimizers
from introspect.capture.step import find_functions, list_traces
from introspect.capture.traces import LiveTrace
from introspect.capture.tracing import is_distributed, trace_twin
from introspect.capture.twin import Twin, twin_model
from introspect.errors import StepError


def capture_recompiled(model: Any, data: Any = None, batch_size: int | None = None) -> Capture:
    """What `capture_model` would find after `introspect.recompile(model)`; the model stays as it is, to the bit.

    Costs one trace of the step, and memory for the new optimizers' slots meanwhile.

    Raises:
        StepError: a step compiled again cannot be traced.
        IntrospectError: as `capture_model`.
    """
    keras = require_model(model)
    require_compiled(model, keras)
    eager = runs_eagerly(model)
    given = [] if data is None else [read_spec(model, data, keras, batch_size)]
    specs = iter(given) if given else chain(read_specs(model, keras), invent_specs(model, keras, batch_size))
    with preserve(model) as kept:
        twin, concrete = trace_fresh(model, keras, specs)
        reading = Reading(
            model=twin.model,
            keras=keras,
            lives=[LiveTrace(concrete, "fit", "eager" if eager else "traced")],
            current=concrete,
            source="eager" if eager else "traced",
            summary=summarize_model(model, keras, eager),
            optimizers=pair_optimizers(find_optimizers(twin.model), {}, twin.model.optimizer),
            data_given=True,
            kept=kept,
        )
        return assemble(reading)


def trace_fresh(model: Any, keras: KerasName, specs: Iterator[Any]) -> tuple[Twin, Any]:
    """A twin with the flags and settings of now and unbuilt optimizers, and its step's trace for the first spec that fits."""
    first: Exception | None = None
    for spec in specs:
        twin = twin_model(model, "fresh")
        if keras == "tf_keras":
            twin.model.__dict__["_compiled_trainable_state"] = twin.model._get_trainable_state()
        try:
            return twin, trace_twin(twin, spec)
        except Exception as error:
            first = first or error
    reason = explain_error(first) if first is not None else "its inputs are not known; pass data="
    raise StepError(f"a step of model {model.name!r} compiled again cannot be traced: {reason}") from first


def read_specs(model: Any, keras: KerasName) -> Iterator[Any]:
    """The batch types that the existing traces were made for, the latest first; none under a distribution strategy."""
    if is_distributed(model.distribute_strategy):
        return
    for live in reversed(list_traces(find_functions(model, keras))):
        positional = live.concrete.structured_input_signature[0]
        spec = positional[0] if positional else None
        spec = getattr(spec, "element_spec", getattr(spec, "_element_spec", spec))
        if spec is not None:
            yield spec
