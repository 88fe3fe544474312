"""Whether the optimizer state in a model file fits the model that was loaded from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from introspect.capture.files.modelfile import ModelFile
from introspect.capture.framework import is_weight_handler
from introspect.capture.record import SavedFile
from introspect.capture.slots import is_built, list_tracked
from introspect.capture.variables import Entry, VariableTable

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """How an optimizer's variables lie: some of its own first, then so many slots for each weight, weight by weight."""

    own: int
    slots: int


def compare_saved(file: ModelFile, model: Any) -> SavedFile:
    """Hold the arrays that the file has for the optimizer against those of the optimizer built from its flags.

    Keras loads them only where the count is the same, and else begins with fresh slots, with a warning at most. A file
    saved before the first step has no slots to lose: it fits.
    """
    optimizer = getattr(model, "optimizer", None)
    saved = file.arrays
    if saved is None or optimizer is None:
        return SavedFile(file.path, None if saved is None else len(saved), None, None, True)
    expected = list_shapes(optimizer)
    if not file.names_optimizer():
        return SavedFile(file.path, len(saved), len(expected), None, False, named=False)
    if file.kind == "keras" and overrides_compile(model) and not is_built(optimizer):
        return SavedFile(file.path, len(saved), len(expected), None, len(saved) <= len(expected), own_compile=True)
    table = VariableTable()
    paths = [
        table.rows[table.add(weight, Entry("model"))].path for weight in model.weights if not is_weight_handler(weight)
    ]
    layout = read_layout(optimizer, table)
    if layout is not None and len(saved) <= layout.own < len(expected):
        return SavedFile(file.path, len(saved), len(expected), (), True)
    names = [name for name, _ in saved]
    shapes: list[Shape] = [shape for _, shape in saved]
    ordered = file.kind == "keras" and len(list_groups(names)) == 1
    fits = shapes == expected if ordered else sorted(shapes) == sorted(expected)
    if file.kind == "h5":
        trained = match_names(names, paths)
    else:
        weights: list[Shape] = [tuple(row.shape) for row in table.rows]
        trained = pick_paths(match_slots(shapes, weights, layout) if ordered else None, paths)
    return SavedFile(file.path, len(saved), len(expected), trained, fits)


def overrides_compile(model: Any) -> bool:
    """Whether Keras 3 leaves compiling to the model's class when it loads its file. Seen on Keras 3.13 to 3.15."""
    owner = next((base for base in type(model).__mro__ if "compile" in vars(base)), object)
    return not owner.__module__.startswith("keras.src.")


def list_shapes(optimizer: Any) -> list[Shape]:
    owned = optimizer.variables
    return [tuple(variable.shape) for variable in (owned() if callable(owned) else owned)]


def list_groups(names: list[str]) -> set[str]:
    """Groups of a wrapped optimizer's arrays, whose order in the file is not that of `optimizer.variables`."""
    return {name.rpartition("vars/")[0] for name in names}


def read_layout(optimizer: Any, table: VariableTable) -> Layout | None:
    """The layout of a built optimizer; None where it is another (slots of other shapes, a wrapper)."""
    tracked = list_tracked(optimizer, table)
    shapes = list_shapes(optimizer)
    weights = [tuple(table.rows[index].shape) for index in tracked]
    for count in range(len(shapes) // max(len(tracked), 1), 0, -1):
        own = len(shapes) - count * len(tracked)
        if tracked and shapes[own:] == [shape for shape in weights for _ in range(count)]:
            return Layout(own, count)
    return None


def match_slots(shapes: list[Shape], weights: list[Shape], layout: Layout | None) -> list[int] | None:
    """Places of the weights that saved slots of these shapes belong to; None where shapes do not tell."""
    if layout is None or (len(shapes) - layout.own) % layout.slots:
        return None
    slots = shapes[layout.own :]
    groups = [slots[start : start + layout.slots] for start in range(0, len(slots), layout.slots)]
    if any(len(set(group)) != 1 for group in groups):
        return None
    return match_shapes([group[0] for group in groups], weights)


def pick_paths(places: list[int] | None, paths: list[str]) -> tuple[str, ...] | None:
    return None if places is None else tuple(paths[place] for place in places)


def match_names(names: list[str], paths: list[str]) -> tuple[str, ...] | None:
    """Weights whose path stands in the name of a saved slot (`adam/m_hid_kernel_momentum`, `Adam/m/hid/kernel:0`)."""
    flat = {path: path.removesuffix(":0").replace("/", "_") for path in paths}
    slots = [name.removesuffix(":0").replace("/", "_") for name in names]
    found = tuple(path for path in paths if any(contains(slot, flat[path]) for slot in slots))
    return found or None


def contains(slot: str, path: str) -> bool:
    """Whether a flattened path stands in a slot's name as whole words."""
    return f"_{path}_" in f"_{slot}_"


def match_shapes(slots: list[Shape], weights: list[Shape]) -> list[int] | None:
    """The one way to find the slots' shapes among the weights', in order; None where there is none, or several."""
    first, last = match_from_left(slots, weights), match_from_left(slots[::-1], weights[::-1])
    if first is None or last is None:
        return None
    mirrored = [len(weights) - 1 - place for place in reversed(last)]
    return first if first == mirrored else None


def match_from_left(slots: list[Shape], weights: list[Shape]) -> list[int] | None:
    """The leftmost places of a subsequence."""
    places, start = [], 0
    for slot in slots:
        while start < len(weights) and weights[start] != slot:
            start += 1
        if start == len(weights):
            return None
        places.append(start)
        start += 1
    return places
