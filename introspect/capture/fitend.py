"""What `fit` does in Python after its steps: it asks metrics for their results, and writes averages over weights (`use_ema`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from introspect.capture.frames import explain_error
from introspect.capture.framework import KerasName
from introspect.capture.record import FitEndWrite, StepFailure
from introspect.capture.slots import list_tracked, open_optimizer, unwrap_optimizer
from introspect.capture.trace.snapshot import take_snapshot
from introspect.capture.trace.tracing import has_custom_step
from introspect.capture.variables import VariableTable


def find_fit_end(
    model: Any, optimizer: Any, keras: KerasName, table: VariableTable
) -> tuple[tuple[FitEndWrite, ...], StepFailure | None]:
    """The writes of `finalize_variable_values` as the next `fit` will make them, and the error where it will raise.

    Keras 3 pairs `model.trainable_weights` of that moment with the averages of the variables that the optimizer was
    built with, by position, without looking at length or name; tf_keras looks each up. `optimizer` is the twin's copy
    where the real one is not built yet.
    """
    if optimizer is None:
        return (), None
    if keras == "tf_keras" and (unbuilt := find_unbuilt_layer(model, optimizer)) is not None:
        return (), unbuilt
    optimizer = unwrap_optimizer(optimizer)
    looked_up = "_inner_optimizers" in vars(optimizer) or any(uses_average(part) for part in open_optimizer(optimizer))
    trained = list_trained(model, keras) if looked_up else []
    writes: list[FitEndWrite] = []
    failure = check_places(optimizer, trained, table)
    for part, variables in split_parts(optimizer, trained):
        if uses_average(part):
            writes += pair_averages(part, variables, table) if keras == "keras" else find_averages(part, trained, table)
            failure = failure or check_averages(part, variables, keras, table)
    return tuple(writes), failure or check_shapes(writes, table)


def find_unbuilt_layer(model: Any, optimizer: Any) -> StepFailure | None:
    """What tf_keras raises where it hands all weights to an optimizer at the end of `fit`, and no step has built a Sequential."""
    from tf_keras.src.optimizers.optimizer import Optimizer

    try:
        if isinstance(optimizer, Optimizer):  # legacy ones are handed nothing
            list_trained(model, "tf_keras")
    except ValueError as error:
        return StepFailure("unbuilt-layer", explain_error(error))
    return None


def find_unbuilt_metrics(model: Any, twins: Sequence[Any], keras: KerasName) -> StepFailure | None:
    """What Keras 3 raises at the end of an epoch where no step has updated the metrics of `compile`, which are built by that.

    It asks all that `model.metrics` lists for their results, though it may not use them. Under a strategy `fit` calls
    `compute_metrics` by itself to build them, and so does a twin's trace; so did the step, if it is Keras' own. Seen on
    3.13 to 3.15.
    """
    compiled = [vars(one).get("_compile_metrics") for one in (model, *twins)]
    if keras != "keras" or compiled[0] is None or any(one.built for one in compiled if one is not None):
        return None
    told = vars(model).get("_distribute_strategy") is None or twins or not has_custom_step(model)
    if not told or asks_otherwise(model):
        return None
    if all(metric is not compiled[0] for metric in model.metrics):
        return None
    return StepFailure("unbuilt-metrics", "ValueError: Cannot get result() since the metric has not yet been built")


def asks_otherwise(model: Any) -> bool:
    """Whether a method of the user's own gives the results that an epoch ends with."""
    import keras

    names = ("get_metrics_result", "_get_metrics_result_or_logs")
    return any(getattr(getattr(model, name), "__func__", None) is not getattr(keras.Model, name) for name in names)


def uses_average(optimizer: Any) -> bool:
    return bool(vars(optimizer).get("use_ema"))


def find_places(optimizer: Any) -> dict[Any, int]:
    """Which of MultiOptimizer's parts has which variable; none before it is built, or of another. Seen on Keras 3.15."""
    return vars(optimizer).get("_var_to_optimizer_idx") or {}


def check_places(optimizer: Any, trained: list[Any], table: VariableTable) -> StepFailure | None:
    """MultiOptimizer looks up each weight that it is handed, though none of its parts keeps averages."""
    if "_inner_optimizers" not in vars(optimizer) or not trained:
        return None
    places = find_places(optimizer)
    if not places:
        lost = "holds no variables: the step never applied a gradient with it"
        return StepFailure("unused-optimizer", f"{type(optimizer).__name__} {lost}", (), optimizer.name)
    unknown = [v for v in trained if optimizer._var_key(v) not in places]
    rows = tuple(index for variable in unknown if (index := table.find(variable)) is not None)
    if not rows:
        return None
    said = f"{type(optimizer).__name__} has no optimizer for {table.rows[rows[0]].path}"
    return StepFailure("fit-end", said, rows, optimizer.name)


def list_trained(model: Any, keras: KerasName) -> list[Any]:
    """The weights that `fit` hands over at its end; tf_keras takes them by the flags of `compile()`."""
    if keras == "keras":
        return list(model.trainable_weights)
    from tf_keras.src.engine.training_utils import RespectCompiledTrainableState

    flags = take_snapshot(vars(layer) for layer in model._flatten_layers())
    try:
        with RespectCompiledTrainableState(model):
            return list(model.trainable_variables)
    finally:
        flags.restore()


def split_parts(optimizer: Any, trained: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """(optimizer, the weights it gets), as Keras hands them on."""
    parts = vars(optimizer).get("_inner_optimizers")
    if parts is None:
        yield optimizer, trained
        return
    places = find_places(optimizer)
    for number, part in enumerate(parts):
        yield part, [variable for variable in trained if places.get(optimizer._var_key(variable)) == number]


def pair_averages(optimizer: Any, trained: list[Any], table: VariableTable) -> list[FitEndWrite]:
    """Keras 3: `zip(trainable weights now, averages)`."""
    averages = list(vars(optimizer).get("_model_variables_moving_average") or ())
    built = list(vars(optimizer).get("_trainable_variables") or ())
    writes = []
    for target, average, averaged in zip(trained, averages, built, strict=False):
        places = (table.find(target), None if average is None else table.find(average), table.find(averaged))
        if None not in places:
            writes.append(FitEndWrite(places[0], places[1], optimizer.name, places[2]))  # type: ignore[arg-type]
    return writes


def find_averages(optimizer: Any, trained: list[Any], table: VariableTable) -> list[FitEndWrite]:
    """tf_keras: each variable's own average."""
    averages = list(vars(optimizer).get("_model_variables_moving_average") or ())
    tracked = dict(zip(list_tracked(optimizer, table), averages, strict=False))
    targets = [index for variable in trained if (index := table.find(variable)) in tracked and index is not None]
    sources = {index: table.find(tracked[index]) for index in targets}
    return [FitEndWrite(i, s, optimizer.name, i) for i, s in sources.items() if s is not None]


def check_averages(optimizer: Any, trained: list[Any], keras: KerasName, table: VariableTable) -> StepFailure | None:
    """Whether an average is missed.

    An optimizer that the step never uses keeps none. tf_keras' must know each weight that it is handed, and looks for none
    where it is handed none; Keras 3 keeps none of what overwrites itself (the scales of float8), and stumbles over that.
    """
    if keras == "tf_keras" and not trained:
        return None
    tracked = list_tracked(optimizer, table)
    if "_model_variables_moving_average" not in vars(optimizer):
        lost = "keeps no averages: the step never applied a gradient with it"
        return StepFailure("unused-optimizer", f"{type(optimizer).__name__} {lost}", (), optimizer.name)
    if keras == "tf_keras":
        lacking = [variable for variable in trained if table.find(variable) not in tracked]
    else:
        averages = vars(optimizer)["_model_variables_moving_average"]
        lacking = [variable for variable, average in zip(trained, averages, strict=False) if average is None]
    unknown = tuple(index for variable in lacking if (index := table.find(variable)) is not None)
    if not unknown:
        return None
    said = f"{type(optimizer).__name__} keeps no average of {table.rows[unknown[0]].path}"
    return StepFailure("fit-end" if keras == "tf_keras" else "no-average", said, unknown, optimizer.name)


def check_shapes(writes: list[FitEndWrite], table: VariableTable) -> StepFailure | None:
    """The first pair whose shapes differ ends the fit with an error."""
    for write in writes:
        target, average = table.rows[write.target], table.rows[write.source]
        if target.shape != average.shape:
            return StepFailure(
                kind="fit-end",
                message=f"the average of {table.rows[write.averaged].path} {average.shape} does not fit "
                f"{target.path} {target.shape}",
                variables=(write.target, write.averaged),
                optimizer=write.optimizer,
            )
    return None
