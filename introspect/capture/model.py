"""From a compiled Keras model to a `Capture`."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from introspect.capture.current import find_current
from introspect.capture.fitend import find_fit_end
from introspect.capture.framework import KerasName, describe_environment, require_model
from introspect.capture.guard import preserve
from introspect.capture.inputs import read_spec
from introspect.capture.isolation import Attempt, trace_isolated
from introspect.capture.layers import describe_layers
from introspect.capture.probe import LiveProbe
from introspect.capture.record import Capture, CapturedOptimizer, CapturedTrace, StepFailure
from introspect.capture.rows import Rows, fill_rows
from introspect.capture.slots import describe_optimizer, find_optimizers, open_optimizer
from introspect.capture.step import StepFunctions, find_functions, list_traces
from introspect.capture.traces import LiveTrace, freeze_trace
from introspect.capture.tracing import enter_fit, has_custom_step, make_iterator
from introspect.capture.variables import VariableTable, bind_captures
from introspect.errors import NotBuiltError, NotCompiledError
from introspect.records import ModelSummary, Source


@dataclass
class Plan:
    """What was found before anything is traced."""

    model: Any
    keras: KerasName
    functions: StepFunctions
    lives: list[LiveTrace]
    spec: Any | None
    eager: bool
    current: Any | None = None
    """The existing concrete function that the next step uses."""
    timings: list[tuple[str, float]] = field(default_factory=list)

    @property
    def source(self) -> Source:
        return "eager" if self.eager else "compiled" if self.lives else "traced"


def capture_model(model: Any, data: Any = None) -> Capture:
    """Read a compiled model and its step, changing nothing.

    Args:
        model: a compiled Keras 3 or tf_keras model, before or after `fit`.
        data: what `fit` will be given (a tf.data set, a PyDataset, `(x, y)` or `(x, y, sample_weight)`); only its type
            is read. Without it the latest trace counts as current, and a first trace is made from specs made up by the
            model's inputs, outputs and loss.

    Raises:
        IntrospectError: `model` is no Keras model.
        BackendError: Keras runs on another backend than TensorFlow.
        NotCompiledError: the model was never compiled.
        NotBuiltError: the model has no variables yet.
        DataError: the data cannot be looked at.
        StepError: there is no trace, and the step cannot be traced.
    """
    started = time.perf_counter()
    plan = make_plan(model, data)
    plan.timings.append(("find", time.perf_counter() - started))
    if plan.current is not None:
        return assemble(plan, None, data is not None)
    with ExitStack() as stack:
        kept = stack.enter_context(preserve(model))
        started = time.perf_counter()
        attempt = trace_isolated(model, plan.keras, plan.spec, bool(plan.lives))
        attempt.kept.extend(kept)
        plan.timings.append(("trace", time.perf_counter() - started))
        return assemble(plan, attempt, data is not None)


def make_plan(model: Any, data: Any) -> Plan:
    """Find the step's functions, its traces, and the one that the data would use."""
    keras = require_model(model)
    require_compiled(model, keras)
    require_variables(model)
    eager = runs_eagerly(model)
    functions = StepFunctions() if eager else find_functions(model, keras)
    lives = list_traces(functions)
    spec = None if data is None else read_spec(model, data, keras)
    plan = Plan(model, keras, functions, lives, spec, eager)
    if lives and spec is None:
        plan.current = lives[-1].concrete
    elif lives:
        with enter_fit(model, keras):
            iterator = make_iterator(spec, model.distribute_strategy)
            plan.current = find_current(functions, iterator, model.distribute_strategy)
    return plan


def require_compiled(model: Any, keras: KerasName) -> None:
    compiled = model.compiled if keras == "keras" else getattr(model, "_is_compiled", False)
    if not compiled:
        raise NotCompiledError(f"model {model.name!r} was never compiled; call model.compile(optimizer, loss) first")


def require_variables(model: Any) -> None:
    if not model.built and not model.variables:
        raise NotBuiltError(
            f"model {model.name!r} has no variables yet; call it once on a batch, model(x), so that they are made"
        )


def runs_eagerly(model: Any) -> bool:
    import tensorflow as tf

    return bool(model.run_eagerly) or tf.config.functions_run_eagerly()


def assemble(plan: Plan, attempt: Attempt | None, data_given: bool) -> Capture:
    """Put the record together; inside the guard where something was traced, as the twin's books are read here."""
    started = time.perf_counter()
    lives, current = list(plan.lives), plan.current
    if attempt is not None and attempt.concrete is not None:
        lives.append(LiveTrace(attempt.concrete, "fit", "eager" if plan.eager else "traced"))
        current = attempt.concrete
    elif current is None:
        current = lives[-1].concrete
    pairs = pair_optimizers(plan.model, attempt)
    twins = [] if attempt is None else [attempt.twin.model]
    parts = [part for pair in pairs for part in pair]
    rows = fill_rows(plan.model, [plan.model, *twins], parts, [live.concrete.graph for live in lives])
    traces = freeze_traces(lives, rows.table, current)
    optimizers = describe_optimizers(plan.model, pairs, rows)
    fit_end, end_failure = find_fit_end(plan.model, pick_stand_in(plan.model, pairs), plan.keras, rows.table)
    failure = name_failure(attempt, rows.table) or end_failure
    names = rows.table.name_rows()
    plan.timings.append(("export", time.perf_counter() - started))
    return Capture(
        model=summarize_model(plan.model, plan.keras),
        environment=describe_environment(plan.keras, plan.model.distribute_strategy),
        variables=tuple(rows.table.rows),
        layers=describe_layers(rows.tree, plan.keras, names),
        optimizers=optimizers,
        traces=traces,
        source=plan.source,
        retraces=bool(plan.lives) and attempt is not None,
        failure=failure,
        fit_end=fit_end,
        data_given=data_given,
        timings=tuple(plan.timings),
        probes=tuple(LiveProbe(live.concrete.graph, attempt.kept if attempt else ()) for live in lives),
        step=read_step(plan.model),
    )


def pair_optimizers(model: Any, attempt: Attempt | None) -> list[tuple[Any, Any]]:
    """Each optimizer with its stand-in: the twin's where the step was traced on a twin, else itself."""
    copies = {} if attempt is None else {id(real): copy for real, copy in attempt.twin.optimizers}
    return [(optimizer, copies.get(id(optimizer), optimizer)) for optimizer in find_optimizers(model)]


def pick_stand_in(model: Any, pairs: list[tuple[Any, Any]]) -> Any | None:
    """What stands for `model.optimizer` in the next fit's end: itself once it is built."""
    for real, copy in pairs:
        if real is model.optimizer:
            return real if vars(real).get("built", vars(real).get("_built")) else copy
    return None


def describe_optimizers(model: Any, pairs: list[tuple[Any, Any]], rows: Rows) -> tuple[CapturedOptimizer, ...]:
    current = {id(part) for part in open_optimizer(model.optimizer)}
    known = [describe_optimizer(real, copy, rows.table, id(real) in current) for real, copy in pairs]
    return (*known, *(describe_optimizer(part, part, rows.table, False) for part in rows.optimizers))


def freeze_traces(lives: list[LiveTrace], table: VariableTable, current: Any) -> tuple[CapturedTrace, ...]:
    """Saved forms with ids that count each caller's traces."""
    counts: dict[str, int] = {}
    frozen = []
    for live in lives:
        counts[live.caller] = counts.get(live.caller, 0) + 1
        bindings = bind_captures(live.concrete.graph, table)
        frozen.append(freeze_trace(live, f"{live.caller}/{counts[live.caller]}", bindings, live.concrete is current))
    return tuple(frozen)


def name_failure(attempt: Attempt | None, table: VariableTable) -> StepFailure | None:
    """The attempt's failure with its variables as rows."""
    if attempt is None or attempt.failure is None:
        return None
    places = [table.find(variable) for variable in attempt.unknown]
    return replace(attempt.failure, variables=tuple(place for place in places if place is not None))


def read_step(model: Any) -> int | None:
    """`optimizer.iterations` now."""
    iterations = getattr(getattr(model, "optimizer", None), "_iterations", None)
    try:
        return int(iterations.numpy()) if iterations is not None else None
    except (AttributeError, TypeError, ValueError):
        return None


def summarize_model(model: Any, keras: KerasName) -> ModelSummary:
    steps = vars(model).get("steps_per_execution", vars(model).get("_steps_per_execution"))
    return ModelSummary(
        name=model.name,
        class_name=type(model).__name__,
        keras=keras,
        trainable=bool(model.trainable),
        compiled=True,
        run_eagerly=runs_eagerly(model),
        jit_compile=bool(vars(model).get("_jit_compile")),
        steps_per_execution=int(steps.numpy() if hasattr(steps, "numpy") else steps or 1),
        custom_train_step=has_custom_step(model),
    )
