"""Optimizers as plain rows: what each tracks, and which of its variables belong to which weight."""

from __future__ import annotations

from typing import Any

from introspect.capture.record import CapturedOptimizer, CapturedSlot
from introspect.capture.variables import VariableTable

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
    "dynamic",
    "dynamic_growth_steps",
)


def find_optimizers(model: Any) -> list[Any]:
    """The model's optimizer first, then every other that it holds, then those inside wrappers; each once."""
    found: dict[int, Any] = {}
    queue = [getattr(model, "optimizer", None), *vars(model).values()]
    for value in queue:
        for optimizer in open_optimizer(value):
            found.setdefault(id(optimizer), optimizer)
    return list(found.values())


def open_optimizer(value: Any) -> list[Any]:
    """An optimizer and those that it wraps; nothing for any other object."""
    if isinstance(value, (list, tuple)):
        return [inner for part in value for inner in open_optimizer(part)]
    if not is_optimizer(value):
        return []
    inside = [getattr(value, name, None) for name in ("inner_optimizer", "_optimizer", "optimizers", "_optimizers")]
    return [value, *(inner for part in inside for inner in open_optimizer(part))]


def is_optimizer(value: Any) -> bool:
    """Whether the object is an optimizer of Keras 3 or tf_keras, new or legacy."""
    return any(
        base.__name__ in ("BaseOptimizer", "_BaseOptimizer", "OptimizerV2")
        and base.__module__.partition(".")[0] in ("keras", "tf_keras")
        for base in type(value).__mro__
    )


def list_variables(optimizer: Any) -> list[Any]:
    """All variables that the optimizer owns."""
    variables = optimizer.variables
    return list(variables() if callable(variables) else variables)


def list_tracked(optimizer: Any) -> list[Any]:
    """Variables that the optimizer was built with, in that order."""
    return list(getattr(optimizer, "_trainable_variables", None) or ())


def describe_optimizer(optimizer: Any, table: VariableTable, current: bool) -> CapturedOptimizer:
    """One row; the optimizer's variables must be in the table."""
    tracks = [table.find(variable) for variable in list_tracked(optimizer)]
    return CapturedOptimizer(
        name=str(getattr(optimizer, "name", None) or getattr(optimizer, "_name", "optimizer")),
        class_name=type(optimizer).__name__,
        learning_rate=read_rate(optimizer),
        built=is_built(optimizer),
        tracks=tuple(index for index in tracks if index is not None),
        variables=tuple(index for v in list_variables(optimizer) if (index := table.find(v)) is not None),
        slots=find_slots(optimizer, table),
        current=current,
        settings=read_settings(optimizer),
    )


def is_built(optimizer: Any) -> bool:
    return bool(getattr(optimizer, "built", getattr(optimizer, "_built", False)))


def read_rate(optimizer: Any) -> float | str | None:
    """The learning rate as a number, or the class name of its schedule."""
    rate = getattr(optimizer, "_learning_rate", None)
    if rate is None:
        return None
    if hasattr(rate, "get_config") and callable(rate):
        return type(rate).__name__
    try:
        return float(rate)
    except (TypeError, ValueError):
        return getattr(rate, "__name__", type(rate).__name__)


def read_settings(optimizer: Any) -> tuple[tuple[str, str], ...]:
    """The settings that change what a step writes, where they are set."""
    values = ((name, getattr(optimizer, name, None)) for name in SETTINGS)
    return tuple((name, str(value)) for name, value in values if value not in (None, False))


def find_slots(optimizer: Any, table: VariableTable) -> tuple[CapturedSlot, ...]:
    """Slots by the optimizer's own books: lists that run parallel to the tracked variables."""
    tracked = list_tracked(optimizer)
    owned = {id(variable) for variable in list_variables(optimizer)}
    slots = []
    for attribute, value in vars(optimizer).items():
        if attribute == "_variables" or not isinstance(value, list) or len(value) != len(tracked):
            continue
        for variable, slot in zip(tracked, value, strict=True):
            if slot is not None and id(slot) in owned:
                slots.append(link_slot(variable, slot, attribute, table))
    return tuple(slot for slot in slots if slot is not None)


def link_slot(variable: Any, slot: Any, attribute: str, table: VariableTable) -> CapturedSlot | None:
    owner, index = table.find(variable), table.find(slot)
    if owner is None or index is None:
        return None
    return CapturedSlot(owner, index, name_slot(variable, slot, attribute))


def name_slot(variable: Any, slot: Any, attribute: str) -> str:
    """`momentum` from `m_hid_kernel_momentum`: what the optimizer put behind the variable's own path."""
    prefix = str(getattr(variable, "path", "")).replace("/", "_") + "_"
    name = str(slot.name)
    return name.removeprefix(prefix) if name.startswith(prefix) else attribute.strip("_")
