"""Variables as plain rows, and the way from a graph's captured handle back to its row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.record import Binding, CapturedVariable, Role


def unwrap_variable(variable: Any) -> Any:
    """The tf.Variable behind a Keras 3 variable; a tf.Variable itself as it is."""
    if type(variable).__module__.startswith("keras.") and hasattr(variable, "_value"):
        return variable._value
    return variable


def list_copies(raw: Any) -> tuple[Any, ...]:
    """Each replica's own tf.Variable, in the order of replicas; the variable itself where there is one."""
    for attribute in ("values", "variables"):
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


@dataclass
class VariableTable:
    """Rows in order of entry, found again by the identity of a variable or of a resource handle."""

    rows: list[CapturedVariable] = field(default_factory=list)
    objects: list[Any] = field(default_factory=list)
    _by_variable: dict[int, int] = field(default_factory=dict)
    _by_handle: dict[int, tuple[int, int]] = field(default_factory=dict)
    _taken: dict[str, int] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)

    def add(self, variable: Any, role: Role, expected: bool, owners: tuple[str, ...] = (), seed: bool = False) -> int:
        """Index of the variable's row; an object that is already there keeps its first row."""
        raw = unwrap_variable(variable)
        known = self.find(variable)
        if known is not None:
            return known
        index = len(self.rows)
        self.rows.append(self._describe(variable, raw, role, expected, owners, seed))
        self.objects.append(variable)
        self._by_variable[id(variable)] = self._by_variable[id(raw)] = index
        self._alive.append(raw)
        for replica, copy in enumerate(list_copies(raw)):
            handle = read_handle(copy)
            self._alive.append(handle)
            self._by_handle.setdefault(id(handle), (index, replica))
            self._by_variable.setdefault(id(copy), index)
        return index

    def find(self, variable: Any) -> int | None:
        """Index of a variable that is in the table, by identity."""
        index = self._by_variable.get(id(variable))
        return self._by_variable.get(id(unwrap_variable(variable))) if index is None else index

    def find_handle(self, handle: Any) -> tuple[int, int] | None:
        """(index, replica) of the variable that a resource tensor belongs to."""
        return self._by_handle.get(id(handle))

    def _describe(
        self, variable: Any, raw: Any, role: Role, expected: bool, owners: tuple[str, ...], seed: bool
    ) -> CapturedVariable:
        copies = list_copies(raw)
        return CapturedVariable(
            path=self._name(variable),
            shape=tuple(variable.shape),
            dtype=name_dtype(variable),
            role=role,
            trainable=bool(getattr(variable, "trainable", False)),
            expected=expected,
            watched=bool(getattr(raw, "trainable", False)),
            device=read_device(copies[0]),
            replicas=tuple(read_device(copy) or "" for copy in copies) if len(copies) > 1 else (),
            layer=owners[0] if owners else None,
            owners=owners,
            seed=seed,
            overwrite=bool(getattr(variable, "overwrite_with_gradient", False)),
        )

    def _name(self, variable: Any) -> str:
        path = str(getattr(variable, "path", None) or getattr(variable, "name", None) or "variable")
        count = self._taken[path] = self._taken.get(path, 0) + 1
        if count == 1:
            return path
        unique = f"{path}#{count}"
        self._taken[unique] = 1
        return unique


def name_dtype(variable: Any) -> str:
    dtype = variable.dtype
    return dtype if isinstance(dtype, str) else str(dtype.name)


def read_device(copy: Any) -> str | None:
    return getattr(copy, "device", None) or None


def bind_captures(graph: Any, table: VariableTable) -> tuple[Binding, ...]:
    """The trace's captured resources that belong to rows of the table, in the order of capture."""
    bindings = []
    for outside, inside in list_captures(graph):
        found = table.find_handle(outside)
        if found is not None:
            bindings.append(Binding(inside.name.partition(":")[0], *found))
    return tuple(bindings)


def list_captures(graph: Any) -> Iterator[tuple[Any, Any]]:
    """(tensor outside, placeholder inside) of the captures that are resources."""
    for outside, inside in graph.captures:
        if inside.dtype.name == "resource":
            yield outside, inside


def find_unknown(graphs: Iterable[Any], table: VariableTable) -> list[Any]:
    """tf.Variables that the graphs read or write and that no row holds, in the order of the graphs."""
    found: dict[int, Any] = {}
    for graph in graphs:
        by_handle = {id(read_handle(variable)): variable for variable in list_accessed(graph)}
        for outside, _ in list_captures(graph):
            if table.find_handle(outside) is None and id(outside) in by_handle:
                found.setdefault(id(outside), by_handle[id(outside)])
    return list(found.values())


def list_accessed(graph: Any) -> list[Any]:
    """The tf.Variables that a graph touched while it was traced, those that are gone left out."""
    alive = (reference() for reference in getattr(graph, "_weak_variables", ()))
    return [variable for variable in alive if variable is not None]
