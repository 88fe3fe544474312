"""Attempts to trace the next step, and what it means when one fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.frames import explain_error, locate_error
from introspect.capture.framework import KerasName, name_strategy
from introspect.capture.invented import invent_specs
from introspect.capture.record import StepFailure
from introspect.capture.slots import is_built
from introspect.capture.tracing import trace_twin
from introspect.capture.twin import Twin, twin_model
from introspect.capture.workers import spans_workers, uses_coordinator
from introspect.errors import IntrospectError, NotBuiltError, StepError


@dataclass
class Attempt:
    """A trace of the next step in isolation, or why there will be none.

    Where an optimizer does not know the variables that the flags let train, `failure` is set and the trace is of the
    step with a fresh optimizer: what a recompiled model would do, so that the rest of the report can be written.
    """

    twin: Twin
    concrete: Any | None
    failure: StepFailure | None = None
    unknown: tuple[Any, ...] = ()
    """Variables that the failure is about."""
    kept: list[Any] = field(default_factory=list)
    """Python objects that the graphs need alive."""
    warning: str | None = None


def trace_isolated(
    model: Any, keras: KerasName, spec: Any | None, traced_before: bool, batch_size: int | None = None
) -> Attempt:
    """Trace the step on a twin; inside `guard.preserve` only.

    Raises:
        NotBuiltError: the trace made variables in the user's layers.
        StepError: no trace exists (`traced_before` is False), and none can be made.
    """
    require_trainable(model, keras)
    before = {id(variable) for variable in model.variables}
    specs = invent_specs(model, keras, batch_size) if spec is None else iter([spec])
    attempt = try_specs(model, specs, spec is not None, traced_before)
    if any(id(variable) not in before for variable in attempt.twin.model.variables):
        raise NotBuiltError(
            f"model {model.name!r} makes variables when it is first called; call it once on a batch, model(x), first"
        )
    return attempt


def require_trainable(model: Any, keras: KerasName) -> None:
    """Raise StepError where Keras itself trains no model under the strategy. Seen on Keras 3.13 to 3.15."""
    strategy = model.distribute_strategy
    if keras == "keras" and uses_coordinator(strategy):
        raise StepError(
            f"model {model.name!r} stands under {name_strategy(strategy)}, where fit() of Keras 3 raises; train it with "
            "tf_keras, or in a tf.function of your own and inspect that one: introspect.inspect(step, args=..., model=model)"
        )


def try_specs(model: Any, specs: Iterator[Any], given: bool, traced_before: bool) -> Attempt:
    """The first attempt that gives a trace; made-up specs are tried in turn."""
    first: Exception | None = None
    for spec in specs:
        try:
            return try_optimizers(model, spec)
        except StepError as refusal:
            if not traced_before:
                raise
            return Attempt(twin_model(model), None, warning=f"{refusal}; the latest trace is told instead")
        except IntrospectError:
            raise
        except Exception as error:
            first = first or error
    if first is None:
        raise NotBuiltError(f"the inputs of model {model.name!r} are not known; pass data=, one batch as (x, y)")
    if traced_before:
        failure = StepFailure("retrace", explain_error(first), location=locate_error(first))
        return Attempt(twin_model(model), None, failure)
    several = spans_workers(model.distribute_strategy)
    raise StepError(
        f"the train step of model {model.name!r} cannot be traced: {advise(first, given, several)}"
    ) from first


NO_GRADIENTS = "No gradients provided for any variable"
OWN_FUNCTION = ("variables which have been deleted", "on a non-first call", "singleton tf.Variables")
"""What TensorFlow says where a tf.function meets an optimizer other than that of its first call."""
REDUCTION = re.compile(r"Invalid reduction dimension \S+ for input with 0 dimensions")


def advise(error: Exception, given: bool, several: bool = False) -> str:
    """What the framework said, and what to do."""
    if NO_GRADIENTS in str(error):
        return (
            f"{type(error).__name__}: {NO_GRADIENTS}; keep the forward pass inside the GradientTape, and let the loss depend "
            "on what it gives"
        )
    if several and (found := REDUCTION.search(str(error))):
        return (
            f"{type(error).__name__}: {found.group()}, as in fit(), for Keras 3 cannot average numbers among workers; train "
            "with tf_keras, or in a tf.function of your own and inspect that one"
        )
    if any(text in str(error) for text in OWN_FUNCTION):
        hint = "take @tf.function from the step, which Keras compiles itself, or make that function anew for a new optimizer"
    elif "SymbolicTensor" in str(error) or "numpy()" in str(error):
        hint = "the step needs values of tensors in Python, which no graph holds: keep float() and numpy() out of it"
    else:
        hint = "mend the step or the data" if given else "compile it with a loss that fits its output, or pass data="
    return f"{explain_error(error)}; {hint}"


def try_optimizers(model: Any, spec: Any) -> Attempt:
    """Trace with the optimizers as they are; where that fails and a fresh one would not, the optimizer is the cause."""
    twin = twin_model(model)
    try:
        return Attempt(twin, trace_twin(twin, spec))
    except IntrospectError:
        raise
    except Exception as error:
        if not any(is_built(real) for real, _ in twin.optimizers):
            raise
        fresh = twin_model(model, "fresh")
        try:
            concrete = trace_twin(fresh, spec)
        except Exception:
            raise error from None
        failure = StepFailure(
            "unknown-variable", explain_error(error), optimizer=name_blamed(twin), location=locate_error(error)
        )
        unknown = find_unknown_variables(model.trainable_weights, [real for real, _ in twin.optimizers])
        return Attempt(fresh, concrete, failure, unknown)


def name_blamed(twin: Twin) -> str | None:
    return next((str(real.name) for real, _ in twin.optimizers if is_built(real)), None)


def find_unknown_variables(trained: Iterable[Any], optimizers: Iterable[Any]) -> tuple[Any, ...]:
    """Variables that the flags let train and that no built optimizer knows; else those it knows and that are frozen."""
    known: dict[Any, Any] = {}
    for real in optimizers:
        known.update((id(variable), variable) for variable in vars(real).get("_trainable_variables") or ())
        known.update(dict.fromkeys(vars(real).get("_index_dict") or {}))
    trained = list(trained)
    unknown = [v for v in trained if id(v) not in known and getattr(v, "_unique_id", None) not in known]
    wanted = {id(variable) for variable in trained}
    return tuple(unknown or (v for key, v in known.items() if v is not None and key not in wanted))
