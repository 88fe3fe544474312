"""From a compiled Keras model to a `Capture`."""

from __future__ import annotations

import time
from typing import Any

from introspect.capture.framework import KerasName, describe_environment, require_model
from introspect.capture.layers import LayerTree, describe_layers, walk_layers
from introspect.capture.record import Capture, CapturedTrace
from introspect.capture.slots import describe_optimizer, find_optimizers, list_variables
from introspect.capture.step import find_functions, list_traces
from introspect.capture.traces import LiveTrace, freeze_trace
from introspect.capture.variables import VariableTable, bind_captures, find_unknown
from introspect.errors import NotCompiledError
from introspect.records import ModelSummary


def capture_model(model: Any, data: Any = None) -> Capture:
    """Read a compiled model and its step, changing nothing.

    Raises:
        NotCompiledError: the model was never compiled.
        BackendError: Keras runs on another backend than TensorFlow.
    """
    started = time.perf_counter()
    keras = require_model(model)
    if not getattr(model, "compiled", True):
        raise NotCompiledError(f"model {model.name!r} was never compiled; call model.compile(optimizer, loss) first")
    lives = list_traces(find_functions(model.train_function, keras))
    tree = walk_layers(model, keras)
    table = fill_table(model, tree, lives)
    optimizers = find_optimizers(model)
    traces = freeze_traces(lives, table)
    return Capture(
        model=summarize_model(model, keras),
        environment=describe_environment(keras, getattr(model, "distribute_strategy", None)),
        variables=tuple(table.rows),
        layers=describe_layers(tree, keras, {id(v): row.path for v, row in zip(table.objects, table.rows, strict=True)}),
        optimizers=tuple(describe_optimizer(o, table, o is model.optimizer) for o in optimizers),
        traces=traces,
        source="compiled",
        data_given=data is not None,
        timings=(("capture", time.perf_counter() - started),),
        probes=(None,) * len(traces),
    )


def fill_table(model: Any, tree: LayerTree, lives: list[LiveTrace]) -> VariableTable:
    """Rows in the order of the contract: the model's, untracked ones, optimizers', metrics'."""
    table = VariableTable()
    trained = {id(variable) for variable in model.trainable_variables}
    for variable in model.variables:
        table.add(variable, "model", id(variable) in trained, tuple(tree.owners.get(id(variable), ())))
    ours = VariableTable()
    for optimizer in find_optimizers(model):
        for variable in list_variables(optimizer):
            ours.add(variable, "optimizer", False)
    for metric in model.metrics:
        for variable in metric.variables:
            ours.add(variable, "metric", False)
    for variable in find_unknown([live.concrete.graph for live in lives], table):
        if ours.find(variable) is None:
            table.add(variable, "untracked", bool(variable.trainable))
    for variable, row in zip(ours.objects, ours.rows, strict=True):
        table.add(variable, row.role, False)
    return table


def freeze_traces(lives: list[LiveTrace], table: VariableTable) -> tuple[CapturedTrace, ...]:
    counts: dict[str, int] = {}
    frozen = []
    for number, live in enumerate(lives):
        counts[live.caller] = counts.get(live.caller, 0) + 1
        bindings = bind_captures(live.concrete.graph, table)
        frozen.append(freeze_trace(live, f"{live.caller}/{counts[live.caller]}", bindings, number == len(lives) - 1))
    return tuple(frozen)


def summarize_model(model: Any, keras: KerasName) -> ModelSummary:
    steps = getattr(model, "steps_per_execution", None) or getattr(model, "_steps_per_execution", None)
    return ModelSummary(
        name=model.name,
        class_name=type(model).__name__,
        keras=keras,
        trainable=bool(model.trainable),
        compiled=True,
        run_eagerly=bool(model.run_eagerly),
        jit_compile=bool(getattr(model, "jit_compile", False) or getattr(model, "_jit_compile", False)),
        steps_per_execution=int(steps) if steps is not None else 1,
    )
