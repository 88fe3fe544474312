"""All that an inspection must leave as it was, as plain values that can be compared."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context


def observe(model: Any, *others: Any) -> dict[str, Any]:
    """Values, flags, Python state, random state, name counters and traces of a model and all that hangs on it."""
    objects = list(reach([model, *others]))
    return {
        "values": {name: digest(v) for name, v in variables(objects)},
        "attributes": [describe(value) for value in objects],
        "functions": [function_state(value) for value in objects if hasattr(value, "_function_cache")],
        "random": random.getstate(),
        "numpy": repr(np.random.get_state()),
        "op seeds": getattr(getattr(context.context(), "_rng", None), "getstate", lambda: None)(),
        "keras": keras_state(),
        "tf_keras": tf_keras_state(),
        "eagerly": tf.config.functions_run_eagerly(),
        "train_function": id(model.train_function),
    }


def reach(roots: list[Any]) -> Iterator[Any]:
    """Objects below the roots: containers, and what Keras, TensorFlow's wrappers or the tests define."""
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type, type(sys), np.ndarray, type(None))):
            continue
        seen.add(id(value))
        children = list(parts(value))
        if children or hasattr(value, "_function_cache"):
            yield value
        stack.extend(children)


def parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for pair in value.items() for item in pair]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value) + ([value._storage] if hasattr(value, "_storage") else [])
    if isinstance(value, threading.local):
        return list(vars(value).values())
    kind = type(value).__module__.partition(".")[0]
    name = type(value).__name__
    found: list[Any] = []
    if callable(value) and getattr(value, "__closure__", None):
        found += [cell.cell_contents for cell in value.__closure__ if cell_is_full(cell)]
    if (
        kind not in ("tensorflow", "numpy", "builtins")
        and name not in ("KerasTensor", "Node")
        and hasattr(value, "__dict__")
    ):
        found += list(vars(value).values())
        cache = getattr(type(value), "__dict__", {})
        found += [member for member in cache.values() if hasattr(member, "_descriptor_cache")]
    return found


def cell_is_full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def describe(value: Any) -> Any:
    """Identity of an object and of its parts, in order."""
    items = [(id(part), part if isinstance(part, (int, str, float, bool)) else None) for part in parts(value)]
    return id(value), type(value).__name__, sorted(items, key=repr) if isinstance(value, set) else items


def function_state(function: Any) -> Any:
    started = (function._created_variables is None, function._variable_creation_config is None)
    cache = function._function_cache
    traces = [id(trace) for trace in cache.values()] if cache else []
    bound = getattr(function, "_descriptor_cache", {})
    return id(function), started, traces, [function_state(part) for part in list(bound.values())]


def variables(objects: list[Any]) -> Iterator[tuple[str, Any]]:
    for value in objects:
        for part in [value, *parts(value)]:
            kinds = {base.__name__ for base in type(part).__mro__}
            if "Variable" in kinds and hasattr(part, "numpy"):
                yield f"{id(part)} {part.name}", part


def digest(variable: Any) -> Any:
    value = np.asarray(variable.numpy())
    return value.dtype.name, value.shape, value.tobytes(), bool(getattr(variable, "trainable", False))


def keras_state() -> Any:
    module: Any = sys.modules.get("keras.src.backend.common.global_state")
    if module is None:
        return None
    state = vars(module.GLOBAL_STATE_TRACKER)
    return {name: dict(value) if isinstance(value, dict) else repr(value) for name, value in state.items()}


def tf_keras_state() -> Any:
    backend: Any = sys.modules.get("tf_keras.src.backend")
    if backend is None:
        return None
    return {id(graph): dict(names) for graph, names in backend.PER_GRAPH_OBJECT_NAME_UIDS.items()}
