"""Variables as plain rows, and the way from a graph's captured handle back to its row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

from introspect.capture.framework import class_descends
from introspect.capture.record import Binding, CapturedVariable, Role

RAW_NAMES = ("Variable", "DistributedVariable", "ShardedVariable")


def is_variable(value: Any) -> bool:
    """Whether the object is a variable of Keras 3, TensorFlow or a distribution strategy."""
    return is_variable_class(cast(Hashable, type(value)))


@cache
def is_variable_class(kind: Hashable) -> bool:
    """The same of a class."""
    raw = class_descends(kind, ("tensorflow", "tf_keras"), RAW_NAMES)
    return raw or is_keras_class(kind)


def is_keras_variable(value: Any) -> bool:
    """Whether the object is Keras 3's variable, which wraps a tf.Variable."""
    return is_keras_class(cast(Hashable, type(value)))


@cache
def is_keras_class(kind: Hashable) -> bool:
    """The same of a class."""
    return class_descends(kind, ("keras",), ("Variable", "KerasVariable"))


def unwrap_variable(variable: Any) -> Any:
    """The tf.Variable behind a Keras 3 variable; a tf.Variable itself as it is."""
    return variable._value if is_keras_variable(variable) else variable


@cache
def is_plain_class(kind: Hashable) -> bool:
    """Whether it is the class of tf.Variables that stand for themselves alone. Seen on TensorFlow 2.19 to 2.21."""
    module, name = getattr(kind, "__module__", ""), getattr(kind, "__name__", "")
    return module == "tensorflow.python.ops.resource_variable_ops" and name == "ResourceVariable"


def list_copies(raw: Any) -> tuple[Any, ...]:
    """Each replica's own tf.Variable, in the order of replicas; the variable itself where there is one."""
    if is_plain_class(cast(Hashable, type(raw))):
        return (raw,)
    for attribute in ("_values", "_variables"):
        copies = getattr(raw, attribute, None)
        if isinstance(copies, (tuple, list)) and copies:
            return tuple(copies)
    inner = getattr(raw, "_v", None)
    return list_copies(inner) if inner is not None and hasattr(inner, "handle") else (raw,)


def read_handle(copy: Any) -> Any | None:
    """The resource tensor of one tf.Variable, None where it has none."""
    try:
        return copy.handle
    except (AttributeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the caller knows of a variable that the variable itself does not say."""

    role: Role
    expected: bool = False
    owners: tuple[str, ...] = ()
    seed: bool = False
    compiled: bool | None = None
    asked: bool | None = None
    metric: bool = False


@dataclass
class VariableTable:
    """Rows in order of entry, found again by the identity of a variable or of a resource handle."""

    rows: list[CapturedVariable] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    _by_variable: dict[int, int] = field(default_factory=dict)
    _by_handle: dict[int, tuple[int, int]] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)

    def add(self, variable: Any, entry: Entry) -> int:
        """Index of the variable's row; an object that is already there keeps its first row."""
        known = self._by_variable.get(id(variable))
        if known is not None:
            return known
        raw = unwrap_variable(variable)
        copies = list_copies(raw)
        handles = [read_handle(copy) for copy in copies]
        known = self._look_up(raw, handles[0])
        if known is not None:
            return known
        index = len(self.rows)
        face = find_face(variable)
        self.rows.append(describe_variable(face, copies, self._name(face), entry))
        self.objects.append(variable)
        self._alive.append((raw, copies, handles))
        for one in (variable, raw, *copies):
            self._by_variable.setdefault(id(one), index)
        for replica, handle in enumerate(handles):
            if handle is not None:
                self._by_handle.setdefault(id(handle), (index, replica))
        return index

    def find(self, variable: Any) -> int | None:
        """Index of a variable that is in the table, by identity."""
        index = self._by_variable.get(id(variable))
        if index is not None:
            return index
        raw = unwrap_variable(variable)
        return self._look_up(raw, read_handle(list_copies(raw)[0]))

    def _look_up(self, raw: Any, handle: Any | None) -> int | None:
        """The same of a tf.Variable and the handle of its first copy."""
        index = self._by_variable.get(id(raw))
        if index is not None:
            return index
        found = self._by_handle.get(id(handle))
        return None if found is None else found[0]

    def find_handle(self, handle: Any) -> tuple[int, int] | None:
        """(index, replica) of the variable that a resource tensor belongs to."""
        return self._by_handle.get(id(handle))

    def name_rows(self) -> dict[int, str]:
        """Path of each variable by its identity, and by that of the tf.Variable behind it."""
        return {key: self.rows[index].path for key, index in self._by_variable.items()}

    def _name(self, face: Any) -> str:
        path = str(getattr(face, "path", None) or getattr(face, "name", None) or "variable")
        if path == "ShardedVariable":  # the name of the class, and of each
            path = str(list_copies(face)[0].name).replace("/part_0", "")
        count = self._taken[path] = self._taken.get(path, 0) + 1
        while count > 1 and f"{path}#{count}" in self._taken:
            count += 1
        unique = path if count == 1 else f"{path}#{count}"
        self._taken.setdefault(unique, 1)
        return unique


def read_number(variable: Any) -> Any | None:
    """Value of a scalar variable by its first copy here; None where it has none.

    Read as a whole, a distributed variable may ask the other workers, and wait for them.
    """
    copy = list_copies(unwrap_variable(variable))[0]
    try:
        return copy.numpy().item()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None


def find_face(variable: Any) -> Any:
    """The object to ask about a variable: itself, or the first copy of a distributed one.

    A distributed variable passes on what it does not know after a read of its value, which may wait for other workers.
    """
    distributed = not is_keras_variable(variable) and isinstance(getattr(variable, "_values", None), tuple)
    return list_copies(variable)[0] if distributed else variable


def describe_variable(face: Any, copies: tuple[Any, ...], path: str, entry: Entry) -> CapturedVariable:
    """The row of a variable by its face, as `find_face` gives it, and its copies."""
    return CapturedVariable(
        path=path,
        shape=tuple(copies[0].shape),
        dtype=str(copies[0].dtype.name),
        role=entry.role,
        trainable=bool(getattr(face, "trainable", False)),
        expected=entry.expected,
        watched=bool(getattr(copies[0], "trainable", False)),
        device=read_device(copies[0]),
        replicas=tuple(read_device(copy) or "" for copy in copies) if len(copies) > 1 else (),
        layer=entry.owners[0] if entry.owners else None,
        owners=entry.owners,
        seed=entry.seed,
        overwrite=bool(getattr(face, "overwrite_with_gradient", False)),
        compiled=entry.compiled,
        asked=entry.asked,
        metric=entry.metric,
    )


def read_device(copy: Any) -> str | None:
    return getattr(copy, "device", None) or None


def bind_resources(resources: Iterable[tuple[Any, Any]], table: VariableTable) -> tuple[Binding, ...]:
    """Of (outside, inside) of what a trace takes: the resources that belong to rows of the table, in their order."""
    places = ((inside, table.find_handle(outside)) for outside, inside in resources)
    return tuple(Binding(inside.name.partition(":")[0], *place) for inside, place in places if place is not None)


def list_strange(resources: Iterable[tuple[Any, Any]], table: VariableTable) -> Iterator[tuple[Any, Any]]:
    """(tensor outside, placeholder inside) of what a trace takes and that is no variable of the table."""
    return ((outside, inside) for outside, inside in resources if table.find_handle(outside) is None)
