"""Optimizers as plain rows: what each tracks, and which of its variables belong to which weight."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from introspect.capture.frames import rank_module
from introspect.capture.framework import PLAIN, class_descends
from introspect.capture.record import CapturedOptimizer, CapturedSlot
from introspect.capture.variables import VariableTable, find_face, is_variable, read_number

SETTINGS = (
    "use_ema",
    "ema_momentum",
    "ema_overwrite_frequency",
    "weight_decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "loss_scale_factor",
    "gradient_accumulation_steps",
    "dynamic_growth_steps",
)
COPY_MARK = "_introspect_copy"
"""Attribute of every copy, which holds the original: a search among all live objects passes over those that an earlier
look has left behind."""
WRAPPED = ("inner_optimizer", "_optimizer", "_inner_optimizers")


def find_optimizers(model: Any) -> list[Any]:
    """The model's optimizer, every other that it holds, that of `compile`; each once, parts after wholes."""
    config = getattr(getattr(model, "_compile_config", None), "config", None) or {}
    found: dict[int, Any] = {}
    for value in (getattr(model, "optimizer", None), *vars(model).values(), config.get("optimizer")):
        note_optimizers(value, found)
    return list(found.values())


def open_optimizer(value: Any) -> list[Any]:
    """An optimizer and those that it holds, those in a container, each once; nothing for any other object."""
    found: dict[int, Any] = {}
    note_optimizers(value, found)
    return list(found.values())


def note_optimizers(value: Any, found: dict[int, Any]) -> None:
    """Note an optimizer by its identity, then what it wraps, then what else it holds: a user's may hold others anywhere."""
    if issubclass(type(value), PLAIN):
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        if value and not is_variable(value[0]):  # long lists of slots hold no optimizer
            for part in value:
                note_optimizers(part, found)
    elif is_optimizer(value) and id(value) not in found:
        found[id(value)] = value
        state = vars(value)
        for name in (*WRAPPED, *state):
            note_optimizers(state.get(name) if name != COPY_MARK else None, found)


def unwrap_optimizer(optimizer: Any) -> Any:
    """The optimizer below loss scaling. Seen on Keras 3.13 to 3.15, tf_keras 2.19 to 2.21."""
    while (inner := vars(optimizer).get("inner_optimizer") or vars(optimizer).get("_optimizer")) is not None:
        optimizer = inner
    return optimizer


def is_optimizer(value: Any) -> bool:
    """Whether the object is an optimizer of Keras 3 or tf_keras, new or legacy."""
    return is_optimizer_class(cast(Hashable, type(value)))


@cache
def is_optimizer_class(kind: Hashable) -> bool:
    """The same of a class."""
    return class_descends(kind, ("keras", "tf_keras"), ("BaseOptimizer", "_BaseOptimizer", "OptimizerV2"))


def list_variables(optimizer: Any) -> list[Any]:
    """All variables that the optimizer owns: those it names, and those in its attributes (tf_keras' learning rate)."""
    found = {id(variable): variable for variable in list_named(optimizer)}
    tracked = {id(variable) for variable in getattr(optimizer, "_trainable_variables", None) or ()}
    inside: dict[int, Any] = {}
    for value in vars(optimizer).values():
        find_variables(value, inside)
    return [*found.values(), *(v for key, v in inside.items() if key not in tracked and key not in found)]


def list_named(optimizer: Any) -> list[Any]:
    """Those that it names; none where that raises, as of a user's optimizer over some that have no list of that kind."""
    try:
        named = optimizer.variables
        return list(named() if callable(named) else named)
    except Exception:  # a property of the user's, which no step may ever ask
        return []


def find_variables(value: Any, found: dict[int, Any], depth: int = 3) -> None:
    """Note variables in an attribute: itself, in a list, in a legacy optimizer's dicts, in a loss scale's state."""
    if issubclass(type(value), PLAIN):
        return
    if is_variable(value):
        found.setdefault(id(value), value)
    elif depth and isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            find_variables(part, found, depth - 1)
    elif depth and type(value).__name__ == "_DynamicLossScaleState":
        find_variables(vars(value), found, depth - 1)


@dataclass(frozen=True, slots=True)
class Books:
    """Which variables an optimizer was built with; the attributes are named as its own."""

    _trainable_variables: list[Any] | None
    _index_dict: dict[Any, int] | None


def copy_books(optimizer: Any) -> Books:
    """The books as they are now."""
    variables = getattr(optimizer, "_trainable_variables", None)
    order = getattr(optimizer, "_index_dict", None)
    return Books(None if variables is None else list(variables), None if order is None else dict(order))


def list_tracked(optimizer: Any, table: VariableTable) -> tuple[int, ...]:
    """Rows of the variables that the optimizer was built with, in that order; a legacy one builds lazily and has none."""
    return tuple(index for index in find_tracked(optimizer, table) if index is not None)


def find_tracked(optimizer: Any, table: VariableTable) -> list[int | None]:
    """The same, with None for a variable that is not in the table."""
    variables = getattr(optimizer, "_trainable_variables", None)
    if variables is not None:
        return [table.find(variable) for variable in variables]
    order = dict(getattr(optimizer, "_index_dict", None) or {})
    by_id = {getattr(variable, "_unique_id", None): index for index, variable in enumerate(table.objects)}
    return [by_id.get(key) for key in sorted(order, key=order.__getitem__)]


def describe_optimizer(
    real: Any, copy: Any, owned: Iterable[Any], table: VariableTable, current: bool, books: Any | None
) -> CapturedOptimizer:
    """One row; the variables that both own must be in the table.

    `copy` is the twin's stand-in for it in a trace that introspect made, else the optimizer itself: what it built
    there is told in place of what the real one has not built yet. `books` tell what the real one was built with; None
    where it was not built.
    """
    tracked = find_tracked(copy if books is None else books, table)
    return CapturedOptimizer(
        name=str(getattr(real, "name", None) or getattr(real, "_name", "optimizer")),
        class_name=type(real).__name__,
        learning_rate=read_rate(real),
        built=books is not None,
        tracks=tuple(index for index in tracked if index is not None),
        foreign=tracked.count(None),
        variables=tuple(dict.fromkeys(i for v in owned if (i := table.find(v)) is not None)),
        slots=find_slots(copy, table),
        current=current,
        settings=read_settings(real),
        own=rank_module(str(type(real).__module__)) > 0,
    )


def count_iterations(optimizers: Sequence[Any]) -> int | None:
    """Steps that the first of these optimizers has made; where it has made none, as in a GAN, the most of any."""
    found = [number for part in optimizers if (number := read_iterations(part)) is not None]
    return (found[0] or max(found)) if found else None


def read_iterations(optimizer: Any) -> int | None:
    """`iterations` now; asked for by its public name, a legacy optimizer would make it."""
    iterations = vars(optimizer).get("_iterations")
    number = read_number(iterations) if is_variable(iterations) else None
    return None if number is None else int(number)


def is_built(optimizer: Any) -> bool:
    """Whether the optimizer knows its variables; never so for a legacy one."""
    return bool(vars(optimizer).get("built", vars(optimizer).get("_built", False)))


def read_rate(optimizer: Any) -> float | str | None:
    """The learning rate as a number, or the class name of its schedule."""
    state = vars(optimizer)
    inner = state.get("inner_optimizer", state.get("_optimizer"))
    if is_optimizer(inner):
        return read_rate(inner)
    if len(open_optimizer(optimizer)) > 1:  # those have rates of their own; MultiOptimizer's is 0 and never used
        return None
    rate = state.get("_learning_rate", (state.get("_hyper") or {}).get("learning_rate"))
    if is_variable(rate):
        number = read_number(rate)
        return None if number is None else float(number)
    if rate is None or isinstance(rate, (int, float)):
        return rate
    return str(getattr(rate, "__name__", type(rate).__name__))


def read_settings(optimizer: Any) -> tuple[tuple[str, str], ...]:
    """The settings that change what a step writes, where they are set."""
    state = vars(optimizer)
    averaging = bool(state.get("use_ema"))
    values = ((name, state.get(name)) for name in SETTINGS if averaging or not name.startswith("ema_"))
    return tuple((name, str(value)) for name, value in values if value is not None and value is not False)


def find_slots(optimizer: Any, table: VariableTable) -> tuple[CapturedSlot, ...]:
    """Slots by the optimizer's own books: lists that run parallel to the tracked variables, a legacy one's dicts."""
    legacy = vars(optimizer).get("_slots")
    if isinstance(legacy, dict):
        return tuple(find_legacy_slots(legacy, table))
    tracked = list_tracked(optimizer, table)
    slots: list[CapturedSlot] = []
    for attribute, value in vars(optimizer).items():
        if attribute in ("_variables", "_trainable_variables") or not isinstance(value, (list, tuple)):
            continue
        if len(value) == len(tracked) and all(part is None or is_variable(part) for part in value):
            slots.extend(link_slots(tracked, value, attribute, table))
    return tuple(slots)


def link_slots(
    tracked: tuple[int, ...], value: list[Any] | tuple[Any, ...], attribute: str, table: VariableTable
) -> Iterator[CapturedSlot]:
    for owner, slot in zip(tracked, value, strict=True):
        index = None if slot is None else table.find(slot)
        if index is not None and index != owner:
            yield CapturedSlot(owner, index, name_slot(table.objects[owner], slot, attribute))


def find_legacy_slots(slots: dict[Any, dict[str, Any]], table: VariableTable) -> Iterator[CapturedSlot]:
    """Slots of `tf_keras.optimizers.legacy`, kept as `{key of the variable: {name: slot}}`."""
    owners = {legacy_key(variable): index for index, variable in enumerate(table.objects)}
    for key, named in slots.items():
        for name, slot in named.items():
            owner, index = owners.get(key), table.find(slot)
            if owner is not None and index is not None:
                yield CapturedSlot(owner, index, name)


def legacy_key(variable: Any) -> Any:
    """How a legacy optimizer keys a variable: `_var_key` of optimizer_v2."""
    container = getattr(variable, "_distributed_container", None)
    whole = container() if callable(container) else None
    whole = variable if whole is None else whole
    if getattr(whole, "_in_graph_mode", False):
        return whole._shared_name
    return getattr(whole, "_unique_id", None)


def name_slot(variable: Any, slot: Any, attribute: str) -> str:
    """`momentum` of `m_hid_kernel_momentum` (Keras 3), `m` of `Adam/m/hid/kernel` (tf_keras), else the attribute."""
    name = str(slot.name).removesuffix(":0")
    prefix = str(getattr(find_face(variable), "path", "")).replace("/", "_") + "_"
    if name.startswith(prefix):
        return name.removeprefix(prefix)
    suffix = "/" + str(getattr(variable, "_shared_name", ""))
    if len(suffix) > 1 and name.endswith(suffix):
        return name.removesuffix(suffix).rpartition("/")[2]
    return attribute.strip("_").removesuffix("s")
