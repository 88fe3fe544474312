"""Variables that a trace uses and that the model does not hold: who they are and who owns them."""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from introspect.capture.framework import list_bases
from introspect.capture.slots import is_optimizer, list_variables
from introspect.capture.variables import (
    VariableTable,
    list_captures,
    list_copies,
    read_handle,
    unwrap_variable,
)

KINDS = (
    ("Variable", "wrappers"),
    ("KerasVariable", "wrappers"),
    ("BaseOptimizer", "optimizers"),
    ("_BaseOptimizer", "optimizers"),
    ("OptimizerV2", "optimizers"),
    ("SeedGenerator", "seeds"),
    ("Layer", "layers"),
)
"""Class names of Keras 3 and tf_keras, and the field of `Claims` for each; a tf_keras metric is a layer too."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A variable whose Python object is gone; only its handle is left in the graph."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    handle: Any
    device: str | None
    trainable: bool = False


@dataclass
class Claims:
    """Owners of variables, found among all live Python objects, by the identity of the tf.Variable."""

    wrappers: dict[int, Any] = field(default_factory=dict)
    """Keras 3 variables around them."""
    optimizers: dict[int, Any] = field(default_factory=dict)
    metrics: dict[int, Any] = field(default_factory=dict)
    seeds: dict[int, Any] = field(default_factory=dict)
    layers: dict[int, Any] = field(default_factory=dict)


def find_unknown(graphs: Iterable[Any], tables: tuple[VariableTable, ...]) -> list[Any]:
    """tf.Variables that the graphs capture and that no table has a row for, in the order of the graphs; each once."""
    found: dict[int, Any] = {}
    for graph in graphs:
        missing = [
            (outside, inside)
            for outside, inside in list_captures(graph)
            if all(table.find_handle(outside) is None for table in tables)
        ]
        touched = index_handles(graph) if missing else {}
        for outside, inside in missing:
            variable = touched[id(outside)] if id(outside) in touched else describe_lost(outside, inside)
            if variable is not None:
                found.setdefault(id(outside) if isinstance(variable, Lost) else id(variable), variable)
    return list(found.values())


def index_handles(graph: Any) -> dict[int, Any]:
    """The tf.Variables that a graph touched while it was traced, by the identity of each copy's handle."""
    alive = (reference() for reference in getattr(graph, "_weak_variables", ()))
    by_handle: dict[int, Any] = {}
    for variable in alive:
        if variable is None:
            continue
        whole = find_container(variable)
        for copy in list_copies(whole):
            by_handle[id(read_handle(copy))] = whole
    return by_handle


def find_container(variable: Any) -> Any:
    """The distributed variable that a replica's copy belongs to; the variable itself where there is none."""
    container = getattr(variable, "_distributed_container", None)
    whole = container() if callable(container) else None
    return variable if whole is None else whole


def describe_lost(outside: Any, inside: Any) -> Lost | None:
    """What a handle says of its variable; None where the resource is no variable (a table, an iterator)."""
    data = getattr(outside, "_handle_data", None)
    if data is None or not getattr(data, "is_set", False) or not data.shape_and_type:
        return None
    import tensorflow as tf

    shape = tf.TensorShape(data.shape_and_type[0].shape)
    sizes = tuple(shape) if shape.rank is not None else ()
    dtype = tf.dtypes.as_dtype(data.shape_and_type[0].dtype).name
    name = inside.name.partition(":")[0].removesuffix("/resource")
    return Lost(name, sizes, dtype, outside, getattr(outside, "device", None))


def claim_variables(variables: Iterable[Any]) -> Claims:
    """Search all live objects for those that hold the given tf.Variables.

    One pass over the garbage collector's objects, some hundred milliseconds on a large heap: only where it is needed.
    """
    wanted = {id(variable) for variable in variables if not isinstance(variable, Lost)}
    claims = Claims()
    if not wanted:
        return claims
    kinds: dict[type, str | None] = {}
    for value in gc.get_objects():
        kind = type(value)
        if kind not in kinds:
            kinds[kind] = classify(kind)
        label = kinds[kind]
        if label is not None:
            for raw in held_variables(value, label):
                if id(raw) in wanted:
                    getattr(claims, label).setdefault(id(raw), value)
    return claims


def classify(kind: type) -> str | None:
    """The field of `Claims` that objects of a class belong to."""
    names = {name for package, name in list_bases(cast(Hashable, kind)) if package in ("keras", "tf_keras")}
    if "Metric" in names:
        return "metrics"
    for name, label in KINDS:
        if name in names:
            return label
    return None


def held_variables(value: Any, label: str) -> Iterator[Any]:
    """The tf.Variables that one object holds directly; nothing where it is half made."""
    try:
        yield from [unwrap_variable(variable) for variable in read_held(value, label)]
    except (AttributeError, TypeError, ValueError):
        return


def read_held(value: Any, label: str) -> list[Any]:
    if label == "wrappers":
        return [value]
    if label == "seeds":
        return [value.state]
    if label == "optimizers":
        return list_variables(value) if is_optimizer(value) else []
    if label == "metrics":
        return list(value.variables)
    own = vars(value)
    names = ("_trainable_variables", "_non_trainable_variables", "_trainable_weights", "_non_trainable_weights")
    return [variable for name in names for variable in own.get(name) or ()]
