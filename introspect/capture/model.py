"""From a compiled Keras model to a `Capture`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from introspect.capture.assembly import Observer, Reading, assemble, pair_optimizers
from introspect.capture.framework import KerasName, list_model_variables, name_keras, require_model
from introspect.capture.live.flags import record_apart
from introspect.capture.record import Capture, SavedFile
from introspect.capture.slots import find_optimizers
from introspect.capture.trace.current import find_current
from introspect.capture.trace.cutoff import name_cutoff
from introspect.capture.trace.flagstate import keep_flags
from introspect.capture.trace.guard import preserve
from introspect.capture.trace.inputs import read_spec
from introspect.capture.trace.isolation import Attempt, Feed, trace_isolated
from introspect.capture.trace.ownfit import find_own_fit
from introspect.capture.trace.step import StepFunctions, add_inner, find_functions, list_traces
from introspect.capture.trace.tapes import note_tapes
from introspect.capture.trace.traces import LiveTrace
from introspect.capture.trace.tracing import enter_strategy, has_custom_step, make_iterator
from introspect.capture.trace.workers import retype_iterator, uses_coordinator
from introspect.capture.untracked import list_optimizers, read_books
from introspect.capture.variables import is_variable, read_number
from introspect.errors import NotBuiltError, NotCompiledError
from introspect.records import ModelSummary


def capture_model(
    model: Any,
    data: Any = None,
    *,
    batch_size: int | None = None,
    saved: SavedFile | None = None,
    observe: Observer | None = None,
    without_own: bool = False,
) -> Capture:
    """Read a compiled model and its step, changing nothing.

    Args:
        model: a compiled Keras 3 or tf_keras model, before or after `fit`.
        data: what `fit` will be given (a tf.data set, a PyDataset, `(x, y)` or `(x, y, sample_weight)`); only its type
            is read. Without it the latest trace counts as current, and a first trace is made from specs made up by the
            model's inputs, outputs and loss.
        batch_size: as `fit` is given it, for arrays and for batches that are made up.
        saved: what the file says that the model was loaded from.
        observe: asked for what only the live step can tell, before it is let go.
        without_own: whether a model that has no variables and no trace is read all the same.

    Raises:
        IntrospectError: `model` is no Keras model.
        BackendError: Keras runs on another backend than TensorFlow.
        NotCompiledError: the model was never compiled.
        NotBuiltError: the model has no variables yet.
        DataError: the data cannot be looked at.
        StepError: there is no trace, and the step cannot be traced.
    """
    started = time.perf_counter()
    keras = require_model(model)
    require_compiled(model, keras)
    spec = None if data is None else read_spec(model, data, keras, batch_size)
    reading = read_traces(model, keras, spec)
    if not (without_own or reading.lives):
        require_variables(model)
    reading.data, reading.data_given, reading.observe = data, data is not None, observe
    if saved is not None:
        reading.summary = replace(reading.summary, file=saved.path)
    reading.timings.append(("find", time.perf_counter() - started))
    reading.unread = find_own_fit(model) or ""
    if reading.unread:
        reading.fits = False
    if reading.unread or reading.current is not None:
        return replace(assemble(reading), saved=saved)
    eager = Feed(data, batch_size, runs_functions_eagerly()) if reading.source == "eager" else None
    with ExitStack() as stack:
        optimizers = list_optimizers()
        reading.books = read_books(optimizers)
        reading.kept = stack.enter_context(preserve(model, optimizers=optimizers))
        started = time.perf_counter()
        with (
            keep_flags(model, keras),
            record_apart() as reading.step_flags,
            note_tapes() as notes,
            name_cutoff(notes.questions),
        ):
            attempt = trace_isolated(model, keras, spec, bool(reading.lives), batch_size, eager)
        reading.notes = notes
        enter_attempt(reading, attempt)
        reading.timings.append(("trace", time.perf_counter() - started))
        return replace(assemble(reading), saved=saved)


def read_traces(model: Any, keras: KerasName, spec: Any | None) -> Reading:
    """The traces that exist, and which of them the next step uses; none where it will be traced anew."""
    eager = runs_eagerly(model)
    functions = StepFunctions() if eager else find_functions(model, keras)
    lives = list_traces(functions, uses_xla(model))
    current = choose_current(model, keras, functions, lives, spec)
    return Reading(
        model=model,
        keras=keras,
        lives=add_inner(lives, functions, current),
        current=current,
        source="eager" if eager else "compiled" if lives else "traced",
        summary=summarize_model(model, keras, eager),
        optimizers=pair_optimizers(find_optimizers(model), {}, model.optimizer),
    )


def choose_current(
    model: Any, keras: KerasName, functions: StepFunctions, lives: list[LiveTrace], spec: Any | None
) -> Any | None:
    """The latest trace, or the one that data of this type would use."""
    if not lives:
        return None
    if spec is None:
        return lives[-1].concrete
    strategy = model.distribute_strategy
    with enter_strategy(model, keras):
        coordinated = uses_coordinator(strategy)
        iterator = retype_iterator(lives[-1].concrete, spec) if coordinated else make_iterator(spec, strategy)
        return find_current(functions, iterator, strategy)


def enter_attempt(reading: Reading, attempt: Attempt) -> None:
    """Add what an isolated trace showed to what was read."""
    reading.retraces = bool(reading.lives)
    reading.failure, reading.unknown = attempt.failure, attempt.unknown
    reading.followed = attempt.followed
    reading.twins = [attempt.twin.model]
    reading.warnings += () if attempt.warning is None else (attempt.warning,)
    copies = {id(real): copy for real, copy in attempt.twin.optimizers}
    reading.optimizers = [replace(s, copy=copies.get(id(s.real), s.copy)) for s in reading.optimizers]
    reading.enter(attempt.concrete, "fit", uses_xla(reading.model))


def require_compiled(model: Any, keras: KerasName) -> None:
    compiled = model.compiled if keras == "keras" else getattr(model, "_is_compiled", False)
    if not compiled:
        raise NotCompiledError(f"model {model.name!r} was never compiled; call model.compile(optimizer, loss) first")


def require_variables(model: Any) -> None:
    if not model.built and not list_model_variables(model):
        raise NotBuiltError(
            f"model {model.name!r} has no variables yet; pass data=, one batch as (x, y), or call it once on a batch, model(x)"
        )


def runs_eagerly(model: Any) -> bool:
    """Whether the next step runs Python. Keras 3 asks `run_eagerly` only when it makes `train_function` (3.15)."""
    if runs_functions_eagerly():
        return True
    if name_keras(model) == "keras" and model.train_function is not None:
        return find_functions(model, "keras").outer is None
    return bool(model.run_eagerly)


def runs_functions_eagerly() -> bool:
    """TensorFlow's own switch."""
    import tensorflow as tf

    return bool(tf.config.functions_run_eagerly())


def uses_xla(model: Any) -> bool:
    """What `compile` resolved `jit_compile` to; reading the property would resolve it."""
    return bool(vars(model).get("_jit_compile"))


def summarize_model(model: Any, keras: KerasName, eager: bool) -> ModelSummary:
    steps = vars(model).get("steps_per_execution", vars(model).get("_steps_per_execution"))
    return ModelSummary(
        name=model.name,
        class_name=type(model).__name__,
        keras=keras,
        trainable=bool(model.trainable),
        compiled=True,
        run_eagerly=eager,
        jit_compile=uses_xla(model),
        steps_per_execution=int((read_number(steps) if is_variable(steps) else steps) or 1),
        custom_train_step=has_custom_step(model),
    )
