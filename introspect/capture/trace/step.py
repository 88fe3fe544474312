"""Where a model keeps its compiled step, and which of its traces a next step can use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from introspect.capture.framework import KerasName
from introspect.capture.trace.traces import LiveTrace, find_begin, list_live, parse_suffix


@dataclass(frozen=True, slots=True)
class StepFunctions:
    """The tf.functions below `model.train_function`.

    `outer` is what `fit` calls, `inner` what `train_on_batch` calls by itself in Keras 3 (tf_keras has one for both);
    None where the step runs eagerly or does not exist yet. `others` stand below a `make_train_function` of the user's.
    """

    outer: Any | None = None
    inner: Any | None = None
    others: tuple[Any, ...] = ()


def find_functions(model: Any, keras: KerasName) -> StepFunctions:
    """Find the tf.functions of the step. Seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21."""
    train_function = model.train_function
    if train_function is None:
        return StepFunctions()
    if is_function(train_function):
        return StepFunctions(outer=train_function)
    if keras == "tf_keras":  # a coordinator's lambda around it, or a plain function that runs eagerly
        compiled = getattr(model, "train_tf_function", None)
        return StepFunctions(outer=compiled if is_function(compiled) else None)
    cells = read_cells(train_function)
    outer, wrapper = cells.get("multi_step_on_iterator"), cells.get("one_step_on_data")
    if outer is None or wrapper is None:
        found = tuple(walk_functions(train_function))
        return StepFunctions(outer=found[0] if found else None, others=found[1:])
    inner = read_cells(wrapper).get("step_func")
    return StepFunctions(outer if is_function(outer) else None, inner if is_function(inner) else None)


def read_cells(function: Any) -> dict[str, Any]:
    """What a plain Python closure holds, by name; empty cells left out."""
    cells = {}
    names = getattr(getattr(function, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(function, "__closure__", None) or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:
            continue
    return cells


def walk_functions(function: Any, depth: int = 4) -> Iterator[Any]:
    """tf.functions in the closures below a plain function."""
    for value in read_cells(function).values():
        if is_function(value):
            yield value
        elif depth and hasattr(value, "__closure__"):
            yield from walk_functions(value, depth - 1)


def is_function(value: Any) -> bool:
    """Whether `value` is a tf.function."""
    return hasattr(value, "_function_cache") and hasattr(value, "get_concrete_function")


def is_tensorflow_function(value: Any) -> bool:
    """The same of any object: only TensorFlow's own is asked for attributes, another one might run code."""
    return type(value).__module__.startswith("tensorflow.") and is_function(value)


def list_traces(functions: StepFunctions, jit: bool = False) -> list[LiveTrace]:
    """All traces that a next step can use, in the order they were traced; `jit` says that the model is set to use XLA.

    The inner function's traces that an outer one calls belong to that one; the others were made by `train_on_batch`.
    """
    jit = bool(functions.inner._jit_compile) if functions.inner is not None else jit
    holders = [function for function in (functions.outer, *functions.others) if function is not None]
    inner = [read_inner(functions.inner, part) for part in live_traces(functions.inner)]
    outer = []
    for holder in holders:
        for concrete in list_live(holder):
            called = [live.begun for live in inner if calls_function(concrete, live.concrete)]
            outer.append(LiveTrace(concrete, "fit", jit=jit, begun=min([find_begin(holder, concrete), *called])))
    batch = [live for live in inner if not any(calls_function(other.concrete, live.concrete) for other in outer)]
    return sorted(outer + batch, key=lambda live: trace_number(live.concrete))


def add_inner(lives: list[LiveTrace], functions: StepFunctions, current: Any | None) -> list[LiveTrace]:
    """The traces with the current one among them.

    For batches of a new type the outer function is traced anew and may call an inner trace that another one calls too.
    """
    if current is None or any(live.concrete is current for live in lives):
        return lives
    return [*lives, read_inner(functions.inner, current)]


def read_inner(function: Any, concrete: Any) -> LiveTrace:
    """A trace of the inner function."""
    return LiveTrace(concrete, "train_on_batch", jit=bool(function._jit_compile), begun=find_begin(function, concrete))


def live_traces(function: Any | None) -> list[Any]:
    return [] if function is None else list_live(function)


def calls_function(caller: Any, called: Any) -> bool:
    """Whether a trace's library holds the other trace. Seen on TensorFlow 2.19 to 2.21."""
    return bool(caller.graph._is_function(called.name))


def trace_number(concrete: Any) -> int:
    """The running number that TensorFlow puts behind a function's name; later traces have greater ones."""
    return parse_suffix(concrete.name.decode(), "_")
