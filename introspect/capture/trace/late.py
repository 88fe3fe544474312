"""An optimizer that would make its variables in a trace that is not its tf.function's first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.framework import KerasName
from introspect.capture.record import StepFailure
from introspect.capture.slots import list_variables
from introspect.capture.trace.step import find_functions
from introspect.capture.trace.twin import Twin
from introspect.capture.variables import list_copies, unwrap_variable

SAID = "ValueError: tf.function only supports singleton tf.Variables created on the first call"
SAID_UNTRACED = "ValueError: Creating variables on a non-first call to a function decorated with tf.function"
"""Where the first call has raised, so that there is no trace."""


def find_late_optimizer(model: Any, twin: Twin, traced: bool) -> StepFailure | None:
    """What the next trace raises where the twin's has made an optimizer's variables, and the model's own may not.

    `traced`: whether there is a trace of the model's own: its first call may have raised as well. Only what a tf.function
    itself notes counts: variables made outside of the trace, in an init_scope, it allows.
    """
    pairs = zip(list_functions(model, twin.keras), list_functions(twin.model, twin.keras), strict=True)
    made = {id(variable) for own, copy in pairs if is_started(own) for variable in list_made(copy)}
    for real, copy in twin.optimizers:
        if has_any(copy, made):
            return tell_late(real, traced)
    return None


def find_late_variables(step: Any, copy: Any, optimizers: list[Any], traced: bool) -> StepFailure | None:
    """What the next trace of a loop's tf.function raises where its copy has made variables in the first call of its own."""
    made = {id(variable) for variable in list_made(copy)} if is_started(step) else set()
    if not made:
        return None
    late = next((optimizer for optimizer in optimizers if has_any(optimizer, made)), None)
    return tell_late(late, traced)


def has_any(optimizer: Any, made: set[int]) -> bool:
    """Whether an optimizer owns one of these tf.Variables, given by identity; each replica's is one."""
    parts = (part for variable in list_variables(optimizer) for part in list_copies(unwrap_variable(variable)))
    return any(id(part) in made for part in parts)


def tell_late(optimizer: Any | None, traced: bool) -> StepFailure:
    """What TensorFlow says of variables that are made too late: of this optimizer, or of the step itself."""
    said = SAID if traced else SAID_UNTRACED
    if optimizer is None:
        return StepFailure("late-variables", f"{said}; the step makes some in this one")
    return StepFailure("late-optimizer", f"{said}; {type(optimizer).__name__} has variables still to make")


def list_functions(model: Any, keras: KerasName) -> tuple[Any | None, Any | None]:
    functions = find_functions(model, keras)
    return functions.outer, functions.inner


def is_started(function: Any | None) -> bool:
    """Whether a tf.function has had its first call. Seen on TensorFlow 2.19 to 2.21."""
    return function is not None and getattr(function, "_variable_creation_config", None) is not None


def has_started(model: Any, keras: KerasName) -> bool:
    """Whether the model's step has had its first call."""
    return any(is_started(function) for function in list_functions(model, keras))


def list_made(function: Any | None) -> Iterator[Any]:
    """The variables that a tf.function made in its first call. Seen on TensorFlow 2.19 to 2.21."""
    found = (reference() for reference in getattr(function, "_created_variables", None) or ())
    return (variable for variable in found if variable is not None)
