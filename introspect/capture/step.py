"""Where a model keeps its compiled step, and which of its traces a next step can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from introspect.capture.framework import KerasName
from introspect.capture.traces import LiveTrace, list_live
from introspect.errors import VersionError


@dataclass(frozen=True, slots=True)
class StepFunctions:
    """The tf.functions below `model.train_function`; None where the step runs eagerly.

    tf_keras has one function; there `inner` is None.
    """

    outer: Any | None
    inner: Any | None


def find_functions(train_function: Any, keras: KerasName) -> StepFunctions:
    """Find the tf.functions that `fit` and `train_on_batch` call. Seen on Keras 3.13 to 3.15 and tf_keras 2.21.

    Raises:
        VersionError: `train_function` is built in another way.
    """
    if train_function is None:
        return StepFunctions(None, None)
    if keras == "tf_keras":
        return StepFunctions(train_function if is_function(train_function) else None, None)
    cells = read_cells(train_function)
    try:
        outer, wrapper = cells["multi_step_on_iterator"], cells["one_step_on_data"]
        inner = read_cells(wrapper)["step_func"]
    except KeyError as missing:
        raise VersionError(
            f"the closure of model.train_function has no {missing}; tried on Keras 3.13 to 3.15"
        ) from None
    return StepFunctions(outer if is_function(outer) else None, inner if is_function(inner) else None)


def read_cells(function: Any) -> dict[str, Any]:
    """What a plain Python closure holds, by name; empty cells left out."""
    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:
            continue
    return cells


def is_function(value: Any) -> bool:
    """Whether `value` is a tf.function."""
    return hasattr(value, "_function_cache") and hasattr(value, "get_concrete_function")


def list_traces(functions: StepFunctions) -> list[LiveTrace]:
    """All traces that a next step can use, oldest first for each caller.

    The inner function's traces that an outer one calls belong to that one; the others were made by `train_on_batch`.
    """
    outer = list_live(functions.outer) if functions.outer is not None else []
    inner = list_live(functions.inner) if functions.inner is not None else []
    called = {name for concrete in outer for name in list_called(concrete)}
    batch = [concrete for concrete in inner if concrete.name.decode() not in called]
    return [LiveTrace(f, "fit") for f in outer] + [LiveTrace(f, "train_on_batch") for f in batch]


def list_called(concrete: Any) -> set[str]:
    """Names of the functions in a trace's library."""
    return {function.signature.name for function in concrete.graph.as_graph_def().library.function}
