"""Attempts to trace the next step, and what it means when one fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.frames import explain_error, locate_error
from introspect.capture.framework import (
    KerasName,
    list_model_variables,
    list_trained_variables,
    name_keras,
    name_strategy,
)
from introspect.capture.record import Followed, StepFailure
from introspect.capture.slots import COPY_MARK, find_optimizers, is_built, is_optimizer
from introspect.capture.trace.batch import invent_batch, take_batch
from introspect.capture.trace.cutoff import tell_no_gradients
from introspect.capture.trace.eagerness import noted
from introspect.capture.trace.followed import follow_step
from introspect.capture.trace.invented import invent_specs
from introspect.capture.trace.late import find_late_optimizer
from introspect.capture.trace.snapshot import take_snapshot
from introspect.capture.trace.tracing import has_custom_step, is_distributed, trace_twin
from introspect.capture.trace.twin import Twin, forget_built, twin_model
from introspect.capture.trace.unknown import Unknown, find_unknown, read_known
from introspect.capture.trace.workers import spans_workers, uses_coordinator
from introspect.errors import DataError, IntrospectError, NotBuiltError, StepError


@dataclass
class Attempt:
    """A trace of the next step in isolation, or why there will be none.

    Where an optimizer does not know the variables that the flags let train, `failure` is set and the trace is of the
    step with a fresh optimizer: what a recompiled model would do, so that the rest of the report can be written. So is
    it where an optimizer comes too late to make its variables.
    """

    twin: Twin
    concrete: Any | None
    failure: StepFailure | None = None
    unknown: tuple[Unknown, ...] = ()
    """What the failure is about."""
    kept: list[Any] = field(default_factory=list)
    """Python objects that the graphs need alive."""
    warning: str | None = None
    followed: Followed | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """What an eager step is followed on."""

    data: Any = None
    batch_size: int | None = None
    switched: bool = False
    """Whether the user runs all functions eagerly."""


class FormAskedError(StepError):
    """The step asks whether it runs eagerly, so that its trace may go another way."""


def trace_isolated(
    model: Any,
    keras: KerasName,
    spec: Any | None,
    traced_before: bool,
    batch_size: int | None = None,
    eager: Feed | None = None,
) -> Attempt:
    """Trace the step on a twin; inside `guard.preserve` only.

    Args:
        model, keras: the model.
        spec: of the batches; made up where it is None.
        traced_before: whether traces exist.
        batch_size: of batches that are made up.
        eager: given where the step runs eagerly: Python may then ask for values, and is followed on one batch.

    Raises:
        NotBuiltError: the trace made variables in the user's layers.
        StepError: no trace exists (`traced_before` is False), and none can be made.
    """
    require_trainable(model, keras)
    before = {id(variable) for variable in list_model_variables(model)}
    specs = invent_specs(model, keras, batch_size) if spec is None else iter([spec])
    kept = list(specs) if eager else []
    attempt = try_specs(
        model,
        iter(kept) if eager else specs,
        spec is not None,
        traced_before,
        lambda: follow(model, kept, eager),
        trace_eager if eager else trace_whole,
    )
    if any(id(variable) not in before for variable in list_model_variables(attempt.twin.model)):
        raise NotBuiltError(
            f"model {model.name!r} makes variables when it is first called; pass data=, one batch as (x, y), or call it once on a "
            "batch, model(x)"
        )
    if eager is None and attempt.failure is None and attempt.concrete is not None:
        attempt.failure = find_late_optimizer(model, attempt.twin, traced_before)
    return attempt


def trace_whole(twin: Twin, spec: Any) -> Any:
    """The trace of a compiled step, which `fit` can call.

    Raises:
        ValueError: it takes a tensor of another trace, that an attribute keeps; TensorFlow refuses the call.
    """
    import tensorflow as tf

    concrete = trace_twin(twin, spec)
    lost = next((outside for outside, _ in concrete.graph.captures if tf.is_symbolic_tensor(outside)), None)
    if lost is not None:
        raise ValueError(f"tensor {lost.name!r}, of another trace, {LOST}")
    return concrete


def trace_eager(twin: Twin, spec: Any) -> Any:
    """The trace of an eager step, which holds for all batches.

    Raises:
        FormAskedError: the step would perhaps go another way where it runs eagerly.
    """
    with noted(twin.model) as asked:
        concrete = trace_twin(twin, spec)
    if asked:
        place = next((f" ({place})" for place in asked if place is not None), "")
        raise FormAskedError(
            f"the step asks whether it runs eagerly{place}, and cannot be followed on a batch; pass data=, or leave the "
            "question out"
        )
    return concrete


def require_trainable(model: Any, keras: KerasName) -> None:
    """Raise StepError where Keras itself trains no model under the strategy. Seen on Keras 3.13 to 3.15."""
    strategy = model.distribute_strategy
    if keras == "keras" and uses_coordinator(strategy):
        raise StepError(
            f"model {model.name!r} stands under {name_strategy(strategy)}, where fit() of Keras 3 raises; train it with "
            "tf_keras, or in a tf.function of your own and inspect that one: introspect.inspect(step, args=..., model=model)"
        )


def follow(model: Any, specs: list[Any], eager: Feed | None) -> Attempt | Exception | None:
    """The eager step traced along the way of one batch, or why that cannot be; None where the step is none such."""
    if eager is None or is_distributed(model.distribute_strategy):
        return None
    first: Exception | None = None
    for batch, given in list_batches(model, specs, eager):
        asked: list[Any] = []

        def trace(twin: Twin, batch: Any = batch, asked: list[Any] = asked) -> Any:
            concrete, asked[:] = follow_step(twin, batch, eager.switched)
            return concrete

        try:
            attempt = try_optimizers(model, trace)
        except Exception as error:
            first = first or error
            continue
        if asked:
            attempt.followed = Followed("given" if given else "invented", tuple(asked))
        return attempt
    return first


def list_batches(model: Any, specs: list[Any], eager: Feed) -> Iterator[tuple[Any, bool]]:
    """(batch, whether it is of the user's data), as far as they can be had."""
    if eager.data is not None:
        try:
            yield take_batch(model, eager.data, name_keras(model), eager.batch_size), True
            return
        except DataError:
            pass
    for spec in specs:
        try:
            yield invent_batch(spec), False
        except DataError:
            continue


def try_specs(
    model: Any,
    specs: Iterator[Any],
    given: bool,
    traced_before: bool,
    otherwise: Callable[[], Attempt | Exception | None] = lambda: None,
    trace: Callable[[Twin, Any], Any] = trace_twin,
) -> Attempt:
    """The first attempt that gives a trace; made-up specs are tried in turn, then what else there is."""
    first: Exception | None = None
    for spec in specs:
        try:
            return try_optimizers(model, lambda twin, spec=spec: trace(twin, spec))  # type: ignore[misc]
        except FormAskedError as error:
            first = error
            break
        except StepError as refusal:
            if not traced_before:
                raise
            return Attempt(twin_model(model), None, warning=f"{refusal}; the latest trace is told instead")
        except IntrospectError:
            raise
        except Exception as error:
            first = first or error
    found = otherwise() if first is not None else None
    if isinstance(found, Attempt):
        return found
    first = found or first
    if first is None:
        raise NotBuiltError(f"the inputs of model {model.name!r} are not known; pass data=, one batch as (x, y)")
    if traced_before:
        failure = StepFailure("retrace", explain_error(first), location=locate_error(first))
        return Attempt(twin_model(model), None, failure)
    several = spans_workers(model.distribute_strategy)
    place = locate_error(first)
    at = f", at {place}" if place is not None and has_custom_step(model) else ""
    raise StepError(
        f"the train step of model {model.name!r} cannot be traced{at}: {advise(first, given, several)}"
    ) from first


OWN_FUNCTION = ("variables which have been deleted", "on a non-first call", "singleton tf.Variables")
"""What TensorFlow says where a tf.function meets an optimizer other than that of its first call."""
ENDPOINT = ("Method requires being in cross-replica context", "Detected a call to `Model.")
"""What Keras 3 and tf_keras say where a step calls a method that runs steps. Seen on Keras 3.15 and tf_keras 2.21."""
NOT_BUILT = "have not yet been created. Weights are created when the model is first called"
"""What tf_keras says of a Sequential that was never built. Seen on 2.19 to 2.21."""
NOTHING_GIVEN = "not enough values to unpack (expected 2, got 0)"
"""What Keras 3 says where `apply_gradients` is given an empty list. Seen on Keras 3.13 to 3.15."""
LOST = "is out of scope and cannot be used here"
"""What TensorFlow says of a tensor of another trace. Seen on TensorFlow 2.19 to 2.21."""
REDUCTION = re.compile(r"Invalid reduction dimension \S+ for input with 0 dimensions")


def advise(error: Exception, given: bool, several: bool = False) -> str:
    """What the framework said, and what to do."""
    if isinstance(error, StepError):
        return str(error)
    if told := tell_no_gradients(error):
        return told
    if several and (found := REDUCTION.search(str(error))):
        return (
            f"{type(error).__name__}: {found.group()}, as in fit(), for Keras 3 cannot average numbers among workers; train "
            "with tf_keras, or in a tf.function of your own and inspect that one"
        )
    if any(text in str(error) for text in OWN_FUNCTION):
        hint = "take @tf.function from the step, which Keras compiles itself, or make that function anew for a new optimizer"
    elif any(text in str(error) for text in ENDPOINT):
        hint = (
            "a step of Keras', eager or not, can call no predict, fit or evaluate of any model: call the model itself there, "
            "model(x, training=False)"
        )
    elif NOT_BUILT in str(error):
        hint = (
            "a part of the model was never built and is asked for its weights: give it an Input, or call it once before"
        )
    elif LOST in str(error):
        hint = (
            "a layer keeps a tensor that it made while it was traced, as in build(): keep a NumPy array or a weight there, make "
            "it in call(), or build the model before it is looked at where its own fit does that"
        )
    elif NOTHING_GIVEN in str(error):
        hint = "an optimizer is given no gradient at all: all that it trains is frozen, or given as an empty list; leave it out then"
    elif "SymbolicTensor" in str(error) or "numpy()" in str(error):
        hint = (
            "the step needs values of tensors in Python, which no graph holds: keep float() and numpy() out of it, or "
            "compile with run_eagerly=True"
        )
    else:
        hint = "mend the step or the data" if given else "compile it with a loss that fits its output, or pass data="
    return f"{explain_error(error)}; {hint}"


def try_optimizers(model: Any, trace: Callable[[Twin], Any]) -> Attempt:
    """Trace with the optimizers as they are; where that fails and a fresh one would not, the optimizer is the cause."""
    twin = twin_model(model)
    try:
        return Attempt(twin, trace(twin))
    except IntrospectError:
        raise
    except Exception as error:
        built = list_built(model)
        if not built:
            raise
        known = {id(real): read_known(real) for real in built}
        fresh = twin_model(model, "fresh")
        try:
            with forget_built(built):
                concrete = trace(fresh)
                trained = list_trained_variables(model, "trainable_weights")
                unknown = find_unknown(built, fresh.optimizers, known, trained, str(error))
        except Exception:
            raise error from None
        failure = StepFailure("unknown-variable", explain_error(error), location=locate_error(error))
        return Attempt(fresh, concrete, failure, unknown)


def list_built(*roots: Any) -> list[Any]:
    """The built optimizers that a step can reach: a model's own, then those of whatever else it can name."""
    own = [optimizer for root in roots if hasattr(root, "train_step") for optimizer in find_optimizers(root)]
    reached = [owner for owner, _ in take_snapshot(roots).attributes if is_optimizer(owner)]
    found = {id(optimizer): optimizer for optimizer in (*own, *reached) if COPY_MARK not in vars(optimizer)}
    return [optimizer for optimizer in found.values() if is_built(optimizer)]
