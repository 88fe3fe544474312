"""What a step would train and the model does not see, held by a copy of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from introspect.capture.framework import KerasName, name_keras
from introspect.capture.layers import refuse_layers, walk_layers
from introspect.capture.rows import fill_rows
from introspect.capture.slots import find_optimizers
from introspect.capture.trace.step import find_functions, list_traces
from introspect.capture.trace.traces import LiveTrace
from introspect.capture.trace.tracing import trace_twin
from introspect.capture.trace.twin import Twin, twin_model
from introspect.capture.untracked import claim_variables
from introspect.capture.variables import is_keras_variable, unwrap_variable
from introspect.errors import StepError


def find_unheld(model: Any, keras: KerasName, spec: Any) -> list[Any]:
    """The layers, and the variables of no layer, that the step uses, that are to train, and that the model does not hold.

    Costs one trace of the step where it has none. Call it inside the guard only.

    Raises:
        StepError: one is nothing that a layer can hold, or the model has its layer already.
    """
    twin = twin_model(model)
    lives = list_traces(find_functions(model, keras))
    live = lives[-1] if lives else LiveTrace(trace_twin(twin, spec), "fit")
    optimizers = [*find_optimizers(model), *find_optimizers(twin.model)]
    table = fill_rows(model, [model, twin.model], optimizers, [live]).table
    pairs = zip(table.rows, table.objects, strict=True)
    variables = [one for row, one in pairs if row.role == "untracked" and row.expected]
    owners = claim_variables(map(unwrap_variable, variables)).layers
    inside = {id(layer) for layer in walk_layers(model, keras).layers}
    found: dict[int, Any] = {}
    for variable in variables:
        layer = owners.get(id(unwrap_variable(variable)))
        require_holdable(variable, layer, layer is not None and id(layer) in inside, keras)
        part = variable if layer is None else layer
        found[id(part)] = part
    return list(found.values())


def require_holdable(variable: Any, layer: Any, inside: bool, keras: KerasName) -> None:
    """Refuse what an attribute alone does not mend."""
    if inside:
        raise StepError(f"layer {layer.name!r} is held, and does not give its weights")
    if layer is not None and name_keras(layer) != keras:
        raise StepError(f"layer {layer.name!r} is of {name_keras(layer)}, which a model of {keras} does not hold")
    if layer is None and keras == "keras" and not is_keras_variable(variable):
        raise StepError(
            f"{variable.name} is a tf.Variable, which no layer of Keras 3 holds: add_weight makes another variable, and "
            "call() has to use that one"
        )


def find_holder(twin: Twin) -> Any:
    """The twin, or where its own attributes do not count the first of its layers whose do, and which is not frozen.

    Raises:
        StepError: it has no such layer.
    """
    refused = refuse_layers(twin.model)
    if not refused:
        return twin.model
    layers = walk_layers(twin.model, twin.keras).layers
    found = next((layer for layer in layers if layer.trainable and not refuse_layers(layer)), None)
    if found is None:
        raise StepError(f"{refused} takes no layer from an attribute, and no layer in it that trains does")
    return found


def hold_parts(twin: Twin, parts: Sequence[Any]) -> None:
    """Make layers and variables attributes of the twin, or of a layer in it, as its `__init__` would."""
    if not parts:
        return
    holder = find_holder(twin)
    tracker: Any = vars(holder).get("_tracker") if twin.keras == "keras" else None
    locked = tracker is not None and tracker.locked
    if locked:
        tracker.unlock()
    for number, part in enumerate(parts):
        setattr(holder, f"introspect_held_{number}", part)
    if locked:
        tracker.lock()
