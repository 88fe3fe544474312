"""Variables that a trace uses and that the model does not hold: who they are and who owns them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from introspect.capture.framework import descends, list_bases
from introspect.capture.slots import (
    COPY_MARK,
    Books,
    copy_books,
    is_built,
    is_optimizer,
    is_optimizer_class,
    list_variables,
)
from introspect.capture.trace.traces import LiveTrace
from introspect.capture.variables import (
    VariableTable,
    list_copies,
    list_strange,
    read_handle,
    unwrap_variable,
)
from introspect.collector import list_alive
from introspect.errors import VersionError

GONE = "gone_variable"
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


@dataclass
class Claims:
    """Owners of variables, found among all live Python objects, by the identity of the tf.Variable."""

    wrappers: dict[int, Any] = field(default_factory=dict)
    """Keras 3 variables around them."""
    optimizers: dict[int, Any] = field(default_factory=dict)
    metrics: dict[int, Any] = field(default_factory=dict)
    seeds: dict[int, Any] = field(default_factory=dict)
    layers: dict[int, Any] = field(default_factory=dict)

    def has(self, variable: Any) -> bool:
        """Whether an optimizer, a metric, a seed generator or a layer owns a tf.Variable."""
        return any(id(variable) in owned for owned in (self.optimizers, self.metrics, self.seeds, self.layers))


def find_unknown(lives: Iterable[LiveTrace], table: VariableTable) -> list[Any]:
    """tf.Variables that the traces use and that the table has no row for, in the order of the traces; each once.

    A graph notes the variables that it reads. One that it only writes is searched for among all live objects. A graph
    keeps the values of variables whose objects are gone, of an optimizer that another took the place of: those are
    revived. What else is not found is no variable but a table, an iterator, or a token by which TensorFlow orders
    collectives.
    """
    missing: dict[int, Any] = {}
    found: dict[int, Any] = {}
    for live in lives:
        strange = list_strange(live.resources, table)
        unknown = [outside for outside, inside in strange if inside.dtype.name == "resource"]
        touched = index_handles(live.concrete.graph) if unknown else {}
        for outside in unknown:
            if id(outside) not in missing:
                missing[id(outside)] = outside
                found[id(outside)] = touched.get(id(outside))
    lost = {key for key, variable in found.items() if variable is None and is_variable_handle(missing[key])}
    found.update(search_handles(lost))
    tokens = list_tokens() if lost else set()
    for key in lost:
        if found[key] is None:
            found[key] = revive_variable(missing[key])
    known = {id(variable): variable for variable in found.values() if variable is not None}
    return [variable for key, variable in known.items() if key not in tokens]


def search_handles(wanted: set[int]) -> dict[int, Any]:
    """Live tf.Variables by the identity of their handles; one pass over the garbage collector's objects."""
    if not wanted:
        return {}
    found = {}
    for value, _ in list_alive(is_resource_variable):
        if id(read_handle(value)) in wanted:
            found[id(read_handle(value))] = find_container(value)
    return found


def is_resource_variable(kind: type) -> bool:
    """Whether it is a class of tf.Variables that have a handle."""
    return ("tensorflow", "BaseResourceVariable") in list_bases(cast(Hashable, kind))


def revive_variable(handle: Any) -> Any:
    """A tf.Variable around the handle of one whose object, and with it its name, is gone. Seen on TensorFlow 2.19 to 2.21.

    Raises:
        VersionError: TensorFlow makes none around a handle as it was seen to.
    """
    try:
        from tensorflow.python.framework.dtypes import as_dtype
        from tensorflow.python.framework.tensor_shape import TensorShape
        from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

        told = handle._handle_data.shape_and_type[0]
        return BaseResourceVariable(
            trainable=False,
            shape=TensorShape(told.shape),
            dtype=as_dtype(told.dtype),
            handle=handle,
            name=GONE,
            handle_name=GONE,
            unique_id=f"{GONE}_{id(handle)}",
            in_graph_mode=False,
        )
    except (ImportError, AttributeError, TypeError) as error:
        raise VersionError(
            f"cannot reach a variable whose object is gone ({error}); tried on TensorFlow 2.19 to 2.21"
        ) from None


def list_tokens() -> set[int]:
    """Identities of the variables by which TensorFlow orders collectives. Seen on TensorFlow 2.19 to 2.21."""
    launchers = list_alive(lambda kind: kind.__name__ == "CollectiveReplicaLauncher")
    return {id(vars(launcher).get("_ordering_token")) for launcher, _ in launchers}


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


def is_variable_handle(handle: Any) -> bool:
    """Whether a resource says of what shape and dtype its value is, as those of variables do."""
    data = getattr(handle, "_handle_data", None)
    return bool(data is not None and getattr(data, "is_set", False) and len(data.shape_and_type) == 1)


def claim_variables(variables: Iterable[Any]) -> Claims:
    """Search all live objects for those that hold the given tf.Variables.

    One pass over the garbage collector's objects, some hundred milliseconds on a large heap: only where it is needed.
    """
    wanted = {id(variable) for variable in variables}
    claims = Claims()
    if not wanted:
        return claims
    for value, label in list_alive(classify):
        if COPY_MARK not in vars(value):
            for raw in held_variables(value, label):
                if id(raw) in wanted:
                    getattr(claims, label).setdefault(id(raw), value)
    return claims


def read_books(optimizers: Iterable[Any]) -> dict[int, Books]:
    """The books of those that are built, by identity: a trace may build others, and these anew."""
    return {id(optimizer): copy_books(optimizer) for optimizer in optimizers if is_built(optimizer)}


def list_optimizers() -> list[Any]:
    """All live optimizers but the copies that introspect made; one pass over the garbage collector's objects."""
    return [value for value, _ in list_alive(is_optimizer_class) if COPY_MARK not in vars(value)]


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
    # Code that was written for the other Keras may set the other's names on a layer, which has no effect.
    kind = "variables" if descends(value, ("keras",), ("Layer",)) else "weights"
    own = vars(value)
    return [variable for way in ("trainable", "non_trainable") for variable in own.get(f"_{way}_{kind}") or ()]
