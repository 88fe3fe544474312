"""What a layer of the user's own reaches through an object that Keras does not look into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.frames import rank_module
from introspect.capture.framework import KerasName, descends, name_keras
from introspect.capture.handles import list_attributes, open_items
from introspect.capture.layers import LayerTree, refuse_layers, walk_layers
from introspect.capture.record import HelperPart
from introspect.capture.variables import VariableTable, is_keras_variable, is_variable

MOST_DEEP = 3
"""Objects in objects that are looked through."""


def find_helper_parts(tree: LayerTree, table: VariableTable, keras: KerasName) -> tuple[HelperPart, ...]:
    """The parts of helper objects by which the user's layers reach variables that are to train and that nobody tracks."""
    wanted = {index for index, row in enumerate(table.rows) if row.role == "untracked" and row.expected}
    found: list[HelperPart] = []
    for layer in tree.layers if wanted else ():
        if not rank_module(type(layer).__module__) or refuse_layers(layer):
            continue
        taken = {*vars(layer), *dir(type(layer))}
        for code, part, kind, value in list_parts(layer):
            indices = wanted.intersection(list_indices(value, table, keras))
            if indices:
                name = make_free(part, taken)
                found.append(HelperPart(tree.paths[id(layer)], name, code, kind, tuple(sorted(indices))))
                wanted -= indices
    return tuple(found)


def list_parts(layer: Any) -> Iterator[tuple[str, str, str, Any]]:
    """(Python that reaches it, name of the attribute, class of the object, what that attribute holds), nearest objects first."""
    stack = [(f"self.{name}", value) for name, value in list_attributes(layer)]
    seen: set[int] = set()
    for _ in range(MOST_DEEP):
        objects = [(code, item) for code, value in stack for code, item in open_items(value, code)]
        stack = []
        for code, item in objects:
            if not is_helper(item) or id(item) in seen:
                continue
            seen.add(id(item))
            for name, value in list_attributes(item):
                yield f"{code}.{name}", name, type(item).__name__, value
                stack.append((f"{code}.{name}", value))


def is_helper(value: Any) -> bool:
    """Whether it is an object of the user's own, no layer and no function."""
    if not rank_module(str(type(value).__module__)) or isinstance(value, type) or not hasattr(value, "__dict__"):
        return False
    function = hasattr(value, "__code__") or hasattr(value, "__func__")
    return name_keras(value) == "none" and not function


def list_indices(value: Any, table: VariableTable, keras: KerasName) -> Iterator[int]:
    """Rows of the variables of a layer, of what a list or dict holds, or of a variable, where a layer would hold it."""
    for _, item in open_items(value, ""):
        if is_variable(item):
            variables = [item] if keras == "tf_keras" or is_keras_variable(item) else []
        elif descends(item, (keras,), ("Layer",)):
            variables = [variable for own in walk_layers(item, keras).own.values() for variable in own]
        else:
            continue
        yield from (index for variable in variables if (index := table.find(variable)) is not None)


def make_free(name: str, taken: set[str]) -> str:
    """A name that stands for no attribute yet, from now on taken."""
    names = (name if number == 1 else f"{name}_{number}" for number in range(1, len(taken) + 2))
    free = next(one for one in names if one not in taken)
    taken.add(free)
    return free
