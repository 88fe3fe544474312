"""From a custom training loop's tf.function to a `Capture`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from introspect.capture.assembly import Observer, Reading, assemble, pair_optimizers
from introspect.capture.below import name_traces, reach_functions
from introspect.capture.frames import explain_error, locate_error
from introspect.capture.framework import KerasName, list_trained_variables, name_keras, require_backend
from introspect.capture.naming import name_in_caller
from introspect.capture.reached import open_reached, reach_optimizers
from introspect.capture.record import Capture, Followed, StepCode, StepFailure
from introspect.capture.slots import open_optimizer
from introspect.capture.trace.current import look_up
from introspect.capture.trace.cutoff import name_cutoff, tell_no_gradients
from introspect.capture.trace.flagstate import keep_flags
from introspect.capture.trace.followed import follow_function, list_valued
from introspect.capture.trace.guard import preserve
from introspect.capture.trace.isolation import list_built
from introspect.capture.trace.late import find_late_variables
from introspect.capture.trace.passed import bind_arguments
from introspect.capture.trace.snapshot import take_snapshot
from introspect.capture.trace.step import is_function, trace_number
from introspect.capture.trace.tapes import note_tapes
from introspect.capture.trace.traces import LiveTrace, list_live
from introspect.capture.trace.tracing import is_distributed
from introspect.capture.trace.twin import forget_built
from introspect.capture.trace.unknown import Unknown, find_unknown, read_known
from introspect.capture.trace.workers import name_types, stay_alone
from introspect.capture.untracked import list_optimizers, read_books
from introspect.errors import DataError, IntrospectError, StepError
from introspect.records import ModelSummary


def capture_function(
    step: Any,
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    model: Any = None,
    optimizer: Any = None,
    observe: Observer | None = None,
) -> Capture:
    """Read the traces of a tf.function that trains, changing nothing.

    Args:
        step: a tf.function; a plain function that runs eagerly is traced in isolation.
        args, kwargs: what it is called with, values or TensorSpecs; the trace that such a call uses is the current one,
            and where there is none, a copy of the function is traced in isolation.
        model: whose variables and flags to report; without it, all variables that the graph uses.
        optimizer: the one that the loop is meant to use; without it, those that the graph uses.
        observe: as of `capture_model`.

    Raises:
        IntrospectError: `step` cannot be called, or `model` has no variables.
        BackendError: Keras runs on another backend than TensorFlow.
        DataError: the arguments do not fit the function's signature.
        StepError: there is no trace for the arguments, and none can be made.
    """
    started = time.perf_counter()
    if not callable(step):
        raise IntrospectError(f"{type(step).__name__} is no function; pass the tf.function that runs one step")
    keras = name_keras(model) if model is not None else "none"
    if model is not None and (keras == "none" or not hasattr(type(model), "variables")):
        raise IntrospectError(
            f"model= is a {type(model).__name__}; pass the Keras model that the function trains, or leave it out"
        )
    if keras == "keras":
        require_backend()
    strategy = find_strategy(model, optimizer)
    (args, given), remote = name_types((args, kwargs or {}))
    scope = strategy.scope if remote and strategy is not None else nullcontext
    with scope():
        reading = read_function(step, args, given, model, keras, optimizer)
    reading.observe = observe
    reading.timings.append(("find", time.perf_counter() - started))
    if reading.current is not None:
        reading.lives = bind_arguments(reading.lives, reading.current, args, given)
        return assemble(reading)
    optimizers = list_optimizers()
    reading.books = read_books(optimizers)
    with (
        preserve(model, optimizer, unwrap_function(step), args, given, optimizers=optimizers) as kept,
        stay_alone(strategy),
    ):
        reading.kept = kept
        started = time.perf_counter()
        kept_flags = keep_flags(model, keras) if model is not None else nullcontext()
        with scope(), kept_flags, note_tapes() as reading.notes, name_cutoff(reading.notes.questions):
            trace_function(reading, step, args, given)
        reading.timings.append(("trace", time.perf_counter() - started))
        reading.lives = bind_arguments(reading.lives, reading.current, args, given)
        return assemble(reading)


def read_function(
    step: Any, args: tuple[Any, ...], kwargs: dict[str, Any], model: Any, keras: KerasName, optimizer: Any
) -> Reading:
    """The traces that exist, and which of them the call would use."""
    import tensorflow as tf

    eager = not is_function(step) or tf.config.functions_run_eagerly()
    name = name_function(step)
    reached = () if optimizer is not None else reach_optimizers(unwrap_function(step))
    concretes = [] if eager else sorted(list_live(step), key=trace_number)
    return Reading(
        model=model,
        keras=keras,
        lives=[LiveTrace(concrete, name) for concrete in concretes],
        current=find_called(step, args, kwargs) if concretes else None,
        source="eager" if eager else "compiled" if concretes else "traced",
        code=name_code(step, optimizer, reached, reach_functions(unwrap_function(step))),
        named=optimizer,
        reached=reached,
        summary=summarize_function(name, model, keras, eager, bool(getattr(step, "_jit_compile", False))),
        optimizers=pair_optimizers(open_optimizer(optimizer), {}, optimizer),
        data_given=bool(args or kwargs),
        fits=False,
    )


def find_strategy(model: Any, optimizer: Any) -> Any | None:
    """The strategy that the model or the optimizer was made under, else that of now."""
    import tensorflow as tf

    own = (getattr(model, "distribute_strategy", None), getattr(optimizer, "_distribution_strategy", None))
    known = (strategy for strategy in (*own, tf.distribute.get_strategy()) if strategy is not None)
    return next((strategy for strategy in known if is_distributed(strategy)), None)


def find_called(step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any | None:
    try:
        return look_up(step, args, kwargs)[0]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name_function(step)} cannot be called with these arguments: {explain_error(error)}; "
            "pass args= and kwargs= as the loop does"
        ) from error


def trace_function(reading: Reading, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Trace a copy of the function and add it as the current trace; inside the guard only.

    Where the loop's optimizer is built and the trace fails, one that was never built is tried: the guard puts the real
    one back.
    """
    reading.retraces = bool(reading.lives)
    try:
        concrete = trace_or_follow(reading, step, args, kwargs)
    except Exception as error:
        concrete = trace_otherwise(reading, step, args, kwargs, error)
    reading.enter(concrete, name_function(step))


def trace_or_follow(reading: Reading, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The trace of the function; where it runs eagerly and Python asks for values, along the way of these arguments."""
    if reading.source != "eager":
        copy, concrete = trace_copy(step, args, kwargs)
        handed = [part for value in (*args, *kwargs.values()) for part in open_optimizer(value)]
        known = [*choose_optimizers(reading), *handed]
        reading.failure = find_late_variables(step, copy, known, bool(reading.lives))
        return concrete
    snapshot = take_snapshot([unwrap_function(step), args, kwargs])
    try:
        return trace_copy(step, args, kwargs)[1]
    except Exception:
        snapshot.restore()
    try:
        concrete, asked = follow_function(unwrap_function(step), args, kwargs)
    except AttributeError as error:
        place = locate_error(error)
        if place is None or NO_ARRAY not in str(error):
            raise
        snapshot.restore()
        concrete, asked = follow_function(unwrap_function(step), args, kwargs, as_arrays=True)
        asked = asked or (place,)
    reading.apart = True
    if asked:
        reading.followed = Followed("given" if list_valued(args, kwargs) else "none", asked)
    return concrete


NO_ARRAY = "SymbolicTensor object has no attribute"
"""What TensorFlow says where a method of an array is asked of a tensor. Seen on 2.19 to 2.21."""


def trace_otherwise(
    reading: Reading, step: Any, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception
) -> Any | None:
    """The trace with optimizers that were never built, after one with those of the loop failed; notes why it did.

    Raises:
        StepError: it fails too, and there is no older trace.
    """
    named = [stand_in.real for stand_in in reading.optimizers]
    built = list_built(*named, unwrap_function(step), args, kwargs)
    trained = [] if reading.model is None else list_trained_variables(reading.model, "trainable_weights")
    concrete, reading.unknown = trace_unbuilt(
        built, lambda: trace_or_follow(reading, step, args, kwargs), trained, str(error)
    )
    if concrete is None and not reading.lives:
        told = tell_no_gradients(error) or explain_error(error)
        told += "" if isinstance(error, StepError) else "; mend the step or its arguments"
        raise StepError(f"{name_function(step)} cannot be traced: {told}") from error
    kind = "retrace" if concrete is None else "unknown-variable"
    reading.failure = StepFailure(kind, explain_error(error), location=locate_error(error))  # type: ignore[arg-type]
    return concrete


def choose_optimizers(reading: Reading) -> list[Any]:
    """The loop's optimizers: the one that was named, else those in what the function closes over or names."""
    named = [stand_in.real for stand_in in reading.optimizers]
    return named or open_reached(reading.reached)


def trace_unbuilt(
    built: list[Any], trace: Callable[[], Any], trained: list[Any], said: str
) -> tuple[Any | None, tuple[Unknown, ...]]:
    """The trace with optimizers that forgot what they were built with, and what they did not know; no trace where that fails too."""
    if not built:
        return None, ()
    known = {id(real): read_known(real) for real in built}
    try:
        with forget_built(built):
            concrete = trace()
            return concrete, find_unknown(built, (), known, trained, said)
    except Exception:
        return None, ()


def trace_copy(step: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """A copy of a function, never called before, and its trace.

    Where it makes variables of values that are known in its first call alone, TensorFlow has no one trace of it, and runs
    it as two branches; a function around it holds both. Seen on TensorFlow 2.19 to 2.21.
    """
    import tensorflow as tf
    from tensorflow.python.eager.lift_to_graph import UnliftableError

    snapshot = take_snapshot([unwrap_function(step), args, kwargs])
    try:
        copy = copy_function(step)
        return copy, copy.get_concrete_function(*args, **kwargs)
    except UnliftableError:
        snapshot.restore()
    copy = copy_function(step)
    return copy, tf.function(lambda *given, **named: copy(*given, **named)).get_concrete_function(*args, **kwargs)


def copy_function(step: Any) -> Any:
    """A tf.function of the same Python function and options, with no trace. Seen on TensorFlow 2.19 to 2.21."""
    import tensorflow as tf

    if not is_function(step):
        return tf.function(step)
    clone: Callable[[Any], Any] | None = getattr(step, "_clone", None)
    return clone(None) if clone is not None else tf.function(step.python_function)


def unwrap_function(step: Any) -> Any:
    """The Python function behind a tf.function, whose closure and globals the guard preserves."""
    return getattr(step, "python_function", step)


def name_function(step: Any) -> str:
    """The name that the user gave the function; the class of what has none."""
    plain = unwrap_function(step)
    name = getattr(step, "__name__", None) or getattr(plain, "__name__", None)
    while name is None and isinstance(plain, functools.partial):
        plain = plain.func
        name = getattr(plain, "__name__", None)
    return str(name or type(plain).__name__)


def name_code(
    step: Any, optimizer: Any, reached: Sequence[tuple[str, Any]], below: Sequence[tuple[str, Any]]
) -> StepCode:
    """How the caller of introspect reaches them; of an optimizer that was not named, how the function does, where it has one."""
    owned = getattr(unwrap_function(step), "__self__", None) is not None
    name = name_in_caller(step, owned)
    owned = owned or (name is not None and "." in name)
    alone = reached[0][0] if len({id(value) for _, value in reached}) == 1 else None
    return StepCode(name, alone if optimizer is None else name_in_caller(optimizer, owned), name_traces(below))


def summarize_function(name: str, model: Any, keras: KerasName, eager: bool, jit: bool) -> ModelSummary:
    return ModelSummary(
        name=name if model is None else model.name,
        class_name="tf.function" if model is None else type(model).__name__,
        keras=keras,
        trainable=True if model is None else bool(model.trainable),
        compiled=False,
        run_eagerly=eager,
        jit_compile=jit,
        steps_per_execution=1,
        custom_train_step=True,
    )
