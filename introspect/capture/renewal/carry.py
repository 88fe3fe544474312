"""The state of an old optimizer in a new one: slots of the variables that stay, iterations, rates, scales, averages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.renewal.renew import BOOKS, name_optimizer
from introspect.capture.slots import is_built, is_optimizer, list_variables
from introspect.capture.variables import is_variable, list_copies, unwrap_variable
from introspect.errors import IntrospectError, VersionError

HOLDERS = ("_DynamicLossScaleState",)
"""Classes of objects in which tf_keras keeps variables of an optimizer."""


@dataclass
class StateMatch:
    """Which variable of an old optimizer holds what one of the new optimizer will hold."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    """(old, new)."""
    dropped: list[Any] = field(default_factory=list)
    """Old slots of variables that do not train any more."""
    fresh: list[Any] = field(default_factory=list)
    """New slots of variables that did not train before."""

    def add(self, old: Any | None, new: Any | None) -> None:
        if old is None:
            self.fresh.append(new)
        elif new is None:
            self.dropped.append(old)
        else:
            self.pairs.append((old, new))


def match_state(pairs: Iterable[tuple[Any, Any]]) -> StateMatch:
    """Match the variables of (old optimizer, new one), wrapped ones included; both built, or neither.

    Raises:
        IntrospectError: a variable of an optimizer of the user's own cannot be told.
    """
    match = StateMatch()
    pairs = list(pairs)
    for old, new in pairs:
        places = match_places(old, new)
        for name, value in vars(new).items():
            if name not in BOOKS and not name.startswith("_self_"):  # TensorFlow's own lists hold the books once more
                match_value(vars(old).get(name), value, places, match)
    for old, new in pairs:
        match_rest(old, new, match)
    for before, after in match.pairs:
        if tuple(before.shape) != tuple(after.shape):
            raise IntrospectError(f"optimizer variable {name_of(before)} changed its shape; its state cannot be kept")
    return match


@dataclass(frozen=True, slots=True)
class Places:
    """Places in lists that run parallel to the variables that an optimizer was built with."""

    both: tuple[tuple[int, int], ...]
    """(old place, new place) of variables that both know."""
    dropped: tuple[int, ...]
    fresh: tuple[int, ...]
    old_size: int
    new_size: int


def match_places(old: Any, new: Any) -> Places:
    before, after = read_places(old), read_places(new)
    both = tuple((before[key], place) for key, place in after.items() if key in before)
    dropped = tuple(place for key, place in before.items() if key not in after)
    fresh = tuple(place for key, place in after.items() if key not in before)
    return Places(both, dropped, fresh, len(before), len(after))


def read_places(optimizer: Any) -> Mapping[Any, int]:
    """Place of each variable that the optimizer was built with, by Keras' own key. Seen on Keras 3.13 to 3.15, tf_keras 2.21.

    Raises:
        VersionError: the optimizer keeps them elsewhere.
    """
    state = vars(optimizer)
    for name in ("_trainable_variables_indices", "_index_dict"):
        if name in state:
            return dict(state[name])
    if is_built(optimizer):
        raise VersionError(
            f"cannot read which variables optimizer {name_optimizer(optimizer)} was built with; "
            "tried on Keras 3.13 to 3.15 and tf_keras 2.21"
        )
    return {}


def match_value(old: Any, new: Any, places: Places, match: StateMatch, depth: int = 3) -> None:
    """Match one attribute: a variable, a list parallel to the tracked ones, a list or dict of its own order."""
    if is_variable(new):
        match.add(old if is_variable(old) else None, new)
    elif isinstance(new, (list, tuple)) and isinstance(old, (list, tuple)):
        match_lists(old, new, places, match, depth)
    elif depth and isinstance(new, dict) and isinstance(old, dict):
        for key in new:
            if key in old:
                match_value(old[key], new[key], places, match, depth - 1)
    elif depth and type(new).__name__ in HOLDERS:
        for name, value in vars(new).items():
            match_value(vars(old).get(name), value, places, match, depth - 1)


def match_lists(old: Any, new: Any, places: Places, match: StateMatch, depth: int) -> None:
    if is_parallel(old, places.old_size) and is_parallel(new, places.new_size):
        for before, after in places.both:
            if is_variable(new[after]):
                match.add(old[before], new[after])
        for place in places.dropped:
            if is_variable(old[place]):
                match.add(old[place], None)
        for place in places.fresh:
            if is_variable(new[place]):
                match.add(None, new[place])
    elif depth and len(old) == len(new) and not any(is_optimizer(part) for part in new):
        for before, after in zip(old, new, strict=True):
            match_value(before, after, places, match, depth - 1)


def is_parallel(values: Any, size: int) -> bool:
    return len(values) == size and all(part is None or is_variable(part) for part in values)


def match_rest(old: Any, new: Any, match: StateMatch) -> None:
    """Variables that no attribute led to, by their names; without a doubt, or not at all."""
    seen = {id(unwrap_variable(v)) for pair in match.pairs for v in pair}
    seen |= {id(unwrap_variable(v)) for v in (*match.dropped, *match.fresh)}
    named = index_names(v for v in list_variables(old) if id(unwrap_variable(v)) not in seen)
    missing = []
    for variable in list_variables(new):
        if id(unwrap_variable(variable)) in seen:
            continue
        if len(named.get(name_of(variable), ())) == 1:
            match.add(named.pop(name_of(variable))[0], variable)
        else:
            missing.append(variable)
    if missing and named:
        raise IntrospectError(
            f"optimizer {name_optimizer(old)} keeps {name_of(missing[0])} in a way that cannot be told; "
            "pass keep_optimizer_state=False, or compile with a new optimizer"
        )
    match.fresh.extend(missing)


def index_names(variables: Iterable[Any]) -> dict[str, list[Any]]:
    named: dict[str, list[Any]] = {}
    for variable in variables:
        named.setdefault(name_of(variable), []).append(variable)
    return named


def name_of(variable: Any) -> str:
    return str(getattr(variable, "path", None) or variable.name)


def assign_state(match: StateMatch) -> None:
    """Give each new variable the value of its old one, replica by replica."""
    for old, new in match.pairs:
        copy_value(old, new)


def start_averages(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Averages (use_ema) of variables that join late begin at the variables' values.

    Keras 3 begins them at zero and takes the first value at iteration 0 alone; with iterations carried over, `fit`
    would write nearly zero into the weights at its end.
    """
    for old, new in pairs:
        averages = vars(new).get("_model_variables_moving_average") or ()
        tracked = vars(new).get("_trainable_variables") or ()
        known = read_places(old)
        for variable, average in zip(tracked, averages, strict=False):
            if average is not None and new._var_key(variable) not in known:
                copy_value(variable, average)


def copy_value(source: Any, target: Any) -> None:
    """Assign one variable to another, replica by replica; one that a step made which then raised holds nothing."""
    copies = zip(list_copies(unwrap_variable(source)), list_copies(unwrap_variable(target)), strict=True)
    for value, copy in copies:
        if bool(value.is_initialized()):
            copy.assign(value.read_value())
