"""A train step of the user's that sets flags itself: it is traced once more, to see it do so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.framework import KerasName
from introspect.capture.slots import find_optimizers, is_built
from introspect.capture.trace.isolation import trace_isolated
from introspect.capture.trace.step import find_functions, list_traces
from introspect.capture.trace.tracing import has_custom_step, is_distributed
from introspect.errors import IntrospectError


def may_set_flags(model: Any) -> bool:
    """Whether a look is worth a trace: the step is the user's, and an optimizer was built with other variables than the
    flags now let train."""
    if not has_custom_step(model):
        return False
    built = [optimizer for optimizer in find_optimizers(model) if is_built(optimizer)]
    known = {id(variable) for optimizer in built for variable in vars(optimizer).get("_trainable_variables") or ()}
    known.update(key for optimizer in built for key in vars(optimizer).get("_index_dict") or ())
    flags = {id(variable) for variable in model.trainable_variables}
    held = {id(v) for v in model.variables if id(v) in known or getattr(v, "_unique_id", None) in known}
    return bool(built) and held != flags


def trace_again(model: Any, keras: KerasName, spec: Any | None) -> None:
    """Trace the step as it would be traced now, for what its Python does; inside `guard.preserve` only."""
    given = [spec] if spec is not None else list(read_specs(model, keras))
    try:
        trace_isolated(model, keras, given[0] if given else None, traced_before=True)
    except IntrospectError:
        return


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
