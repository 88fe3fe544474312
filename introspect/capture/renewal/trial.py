"""The step as it would be after a fix, traced on a twin: compiled again, or with other flags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from introspect.capture.assembly import Reading, assemble, pair_optimizers
from introspect.capture.frames import explain_error
from introspect.capture.framework import KerasName, name_keras, require_model
from introspect.capture.layers import walk_layers
from introspect.capture.live.flags import record_apart
from introspect.capture.model import require_compiled, runs_eagerly, summarize_model
from introspect.capture.record import Capture
from introspect.capture.renewal.holding import find_unheld, hold_parts
from introspect.capture.renewal.rebuild import recompile_model
from introspect.capture.slots import find_optimizers
from introspect.capture.trace.guard import preserve
from introspect.capture.trace.inputs import read_spec
from introspect.capture.trace.invented import invent_specs
from introspect.capture.trace.step import find_functions, list_traces
from introspect.capture.trace.tapes import note_tapes
from introspect.capture.trace.tracing import is_distributed, trace_twin
from introspect.capture.trace.twin import Twin, twin_model
from introspect.capture.trace.workers import stay_alone
from introspect.errors import IntrospectError, StepError
from introspect.remedies import Action, Compile, Held, Hold, Recompile, SetFlag


def capture_trial(model: Any, actions: Sequence[Action], data: Any = None, batch_size: int | None = None) -> Capture:
    """What `capture_model` would find after the actions; the model stays as it is, to the bit.

    Costs one trace of the step, and memory for the new optimizers' slots meanwhile.

    Raises:
        StepError: the step cannot be traced then, or an action cannot be done.
        IntrospectError: as `capture_model`.
    """
    keras = require_model(model)
    require_compiled(model, keras)
    eager = runs_eagerly(model)
    given = [] if data is None else [read_spec(model, data, keras, batch_size)]
    specs = iter(given) if given else chain(read_specs(model, keras), invent_specs(model, keras, batch_size))
    with preserve(model) as kept, stay_alone(model.distribute_strategy):
        set_flags(model, actions)
        with record_apart() as step_flags, note_tapes() as notes:
            warnings, twin, concrete = trace_changed(model, keras, specs, actions)
        reading = Reading(
            model=twin.model,
            keras=keras,
            lives=[],
            current=None,
            source="eager" if eager else "traced",
            summary=summarize_model(model, keras, eager),
            optimizers=pair_optimizers(find_optimizers(twin.model), {}, twin.model.optimizer),
            data_given=True,
            kept=kept,
            warnings=warnings,
            step_flags=step_flags,
            notes=notes,
        )
        reading.enter(concrete, "fit")
        return assemble(reading)


def set_flags(model: Any, actions: Sequence[Action]) -> None:
    """Set flags of the model's own layers, as the user's code would; inside the guard only, which puts them back.

    Raises:
        StepError: there is no such layer.
    """
    for action in actions:
        if isinstance(action, SetFlag):
            find_layer(model, action).trainable = action.value


def find_layer(model: Any, action: SetFlag) -> Any:
    layer = model
    try:
        if action.path is not None:
            tree = walk_layers(model, name_keras(model))
            return next(one for one in tree.layers if tree.paths[id(one)] == f"{model.name}/{action.path}")
        for name in action.names:
            layer = layer.get_layer(name) if isinstance(name, str) else take_held(layer, name)
    except (StopIteration, ValueError, AttributeError, LookupError, TypeError) as error:
        said = action.describe()
        raise StepError(f"layer {said!r} cannot be found below model {model.name!r}") from error
    return layer


def take_held(holder: Any, step: Held) -> Any:
    return holder[step.key] if step.item else getattr(holder, str(step.key))


def trace_changed(
    model: Any, keras: KerasName, specs: Iterator[Any], actions: Sequence[Action]
) -> tuple[tuple[str, ...], Twin, Any]:
    """(what could not be kept, the twin, its step's trace) for the first spec that fits."""
    first: Exception | None = None
    for spec in specs:
        try:
            unheld = find_unheld(model, keras, spec) if any(isinstance(one, Hold) for one in actions) else []
            warnings, twin = compile_twin(model, keras, actions, unheld)
            return warnings, twin, trace_twin(twin, spec)
        except IntrospectError:
            raise
        except Exception as error:
            first = first or error
    reason = explain_error(first) if first is not None else "its inputs are not known; pass data="
    raise StepError(f"a step of model {model.name!r} compiled again cannot be traced: {reason}") from first


def compile_twin(
    model: Any, keras: KerasName, actions: Sequence[Action], unheld: Sequence[Any] = ()
) -> tuple[tuple[str, ...], Twin]:
    """A twin that holds `unheld` and was compiled again as the actions say; with unbuilt optimizers where the state cannot be kept."""
    warnings: tuple[str, ...] = ()
    twin = twin_model(model)
    hold_parts(twin, unheld)
    if any(isinstance(action, Recompile | Hold) for action in actions):
        try:
            recompile_model(twin.model, keep_state=True)
        except IntrospectError as error:
            warnings, twin = (str(error),), twin_model(model, "fresh")
            hold_parts(twin, unheld)
    elif any(isinstance(action, Compile) and action.renew for action in actions):
        twin = twin_model(model, "fresh")
    if keras == "tf_keras" and any(isinstance(action, Recompile | Compile | Hold) for action in actions):
        twin.model.__dict__["_compiled_trainable_state"] = twin.model._get_trainable_state()
    return warnings, twin


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
