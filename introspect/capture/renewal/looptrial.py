"""The step of a custom loop as it would be after a fix: its tf.function made anew, or with other flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from introspect.capture.assembly import assemble
from introspect.capture.below import as_new, reach_functions
from introspect.capture.framework import name_keras
from introspect.capture.function import choose_optimizers, find_strategy, read_function, trace_function, unwrap_function
from introspect.capture.record import Capture
from introspect.capture.renewal.rebuild import build_optimizer
from introspect.capture.renewal.trial import set_flags
from introspect.capture.trace.guard import preserve
from introspect.capture.trace.tapes import note_tapes
from introspect.capture.trace.twin import forget_build
from introspect.capture.trace.workers import stay_alone
from introspect.capture.untracked import list_optimizers, read_books
from introspect.errors import StepError
from introspect.remedies import Action, BuildOptimizer, Hold, RenewOptimizer, RetraceBelow


def capture_loop_trial(
    step: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    model: Any,
    optimizer: Any,
    actions: Sequence[Action],
) -> Capture:
    """What `capture_function` would find after the actions; function, model and optimizer stay as they are, to the bit.

    Raises:
        StepError: the step cannot be traced then, or an action cannot be done.
        IntrospectError: as `capture_function`.
    """
    reading = read_function(step, args, kwargs, model, name_keras(model) if model is not None else "none", optimizer)
    reading.lives, reading.current = [], None
    below = find_below(step, actions)
    reading.source = "eager" if reading.source == "eager" else "traced"
    optimizers = list_optimizers()
    reading.books = read_books(optimizers)
    guard = preserve(model, optimizer, unwrap_function(step), args, kwargs, optimizers=optimizers)
    with as_new(below), guard as kept, stay_alone(find_strategy(model, optimizer)):
        reading.kept = kept
        if any(isinstance(action, Hold) for action in actions):
            raise StepError("what the loop's own code would hold is not known to its model")
        set_flags(model, actions)
        if any(isinstance(action, RenewOptimizer) for action in actions):
            forget_optimizers(choose_optimizers(reading))
        if any(isinstance(action, BuildOptimizer) for action in actions):
            build_optimizers(choose_optimizers(reading), model)
        with note_tapes() as reading.notes:
            trace_function(reading, step, args, kwargs)
        return assemble(reading)


def find_below(step: Any, actions: Sequence[Action]) -> list[Any]:
    """The tf.functions that are to be made anew beside the step.

    Raises:
        StepError: a name leads to none.
    """
    names = [action.name for action in actions if isinstance(action, RetraceBelow)]
    reached = dict(reach_functions(unwrap_function(step))) if names else {}
    for name in names:
        if name not in reached:
            raise StepError(f"{name} cannot be found from the step")
    return [reached[name] for name in names]


def forget_optimizers(optimizers: Sequence[Any]) -> None:
    """Make the loop's optimizers as new ones; inside the guard only."""
    if not optimizers:
        raise StepError("a new optimizer cannot be tried: which one the loop has is not known; pass optimizer=")
    for optimizer in optimizers:
        forget_build(optimizer)


def build_optimizers(optimizers: Sequence[Any], model: Any) -> None:
    """Build the loop's optimizers in the strategy's scope; inside the guard only."""
    if model is None:
        raise StepError("a new optimizer cannot be built: which variables the loop trains is not known; pass model=")
    with model.distribute_strategy.scope():
        for optimizer in optimizers:
            build_optimizer(optimizer, list(model.trainable_variables), name_keras(model))
