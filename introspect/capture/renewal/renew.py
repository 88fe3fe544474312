"""New optimizers like old ones: the same class, settings and schedules, nothing built yet."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Any

from introspect.capture.frames import explain_error
from introspect.capture.slots import is_optimizer, open_optimizer
from introspect.capture.variables import is_variable
from introspect.errors import IntrospectError

BOOKS = frozenset(
    {
        "built",
        "_built",
        "_lock",
        "_tracker",
        "_variables",
        "_trainable_variables",
        "_trainable_variables_indices",
        "_index_dict",
        "_var_to_optimizer_idx",
        "_is_wrapped_by_loss_scale_optimizer",
    }
)
"""Attributes in which Keras 3 and tf_keras keep what an optimizer was built with, and what wraps it."""

ATOMS = (int, float, complex, str, bytes, bool, type(None), re.Pattern, types.FunctionType)


class Renewal:
    """Makes each optimizer anew once, so that what is shared among the old ones is shared among the new ones.

    Legacy optimizers of tf_keras take new variables at any time: with `keep_legacy` they stay as they are.
    """

    def __init__(self, keep_legacy: bool) -> None:
        self.keep_legacy = keep_legacy
        self.pairs: list[tuple[Any, Any]] = []
        """(old optimizer, new one), parts before wholes."""
        self.held: list[tuple[Any, Any]] = []
        """Of those: parts of an optimizer of the user's, which only that one can build."""
        self._new: dict[int, Any] = {}

    def renew(self, value: Any) -> Any:
        """The new optimizer, or a container of new ones; any other value as it is.

        Raises:
            IntrospectError: an optimizer cannot be made from its own settings.
        """
        if isinstance(value, dict) and any(is_optimizer(part) for part in value.values()):
            return {key: self.renew(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)) and any(is_optimizer(part) for part in value):
            return type(value)([self.renew(part) for part in value])
        if not is_optimizer(value) or (self.keep_legacy and is_legacy(value)):
            return value
        if id(value) not in self._new:
            new = self._make(value)
            self._pair_held(value, new)
            self._new[id(value)] = new
            self.pairs.append((value, new))
        return self._new[id(value)]

    def _pair_held(self, old: Any, new: Any) -> None:
        """Those that an optimizer of the user's holds, which its settings make anew with it."""
        held, made = open_optimizer(old)[1:], open_optimizer(new)[1:]
        if all(id(part) in self._new for part in held):
            return
        if list(map(type, held)) != list(map(type, made)):
            raise IntrospectError(
                f"optimizer {name_optimizer(old)} holds others than one that is made of its settings; "
                "call model.compile(...) with a new optimizer instead"
            )
        pairs = zip(held, made, strict=True)
        fresh = [(part, other) for part, other in pairs if part is not other and id(part) not in self._new]
        self._new |= {id(part): other for part, other in fresh}
        self.held += fresh
        self.pairs += fresh

    def _make(self, old: Any) -> Any:
        try:
            new = self._choose_maker(old)(old)
        except IntrospectError:
            raise
        except Exception as error:
            raise IntrospectError(
                f"optimizer {name_optimizer(old)} cannot be made anew from its own settings: {explain_error(error)}; "
                "call model.compile(...) with a new optimizer instead"
            ) from error
        return new

    def _choose_maker(self, old: Any) -> Callable[[Any], Any]:
        state = vars(old)
        if "inner_optimizer" in state:
            return self._make_scaled
        if "_inner_optimizers" in state:
            return self._make_several
        return self._make_scaled_tf if is_optimizer(state.get("_optimizer")) else make_plain

    def _make_scaled(self, old: Any) -> Any:
        """Keras 3's LossScaleOptimizer around a new inner one."""
        return type(old)(
            self.renew(old.inner_optimizer),
            initial_scale=old.initial_scale,
            dynamic_growth_steps=old.dynamic_growth_steps,
            name=old.name,
        )

    def _make_several(self, old: Any) -> Any:
        """Keras 3's MultiOptimizer around a map of new ones."""
        places = old._optimizer_map
        if not hasattr(places, "default_optimizer"):
            raise IntrospectError(
                f"optimizer {name_optimizer(old)} chooses by a function, which would go on giving the old optimizers; "
                "call model.compile(...) with a new one instead"
            )
        default = self.renew(places.default_optimizer)
        named = {pattern: self.renew(places._optimizer_map[pattern]) for pattern in places}
        return type(old)(type(places)(default, named), loss_scale_factor=old.loss_scale_factor, name=old.name)

    def _make_scaled_tf(self, old: Any) -> Any:
        """tf_keras' LossScaleOptimizer around a new inner one."""
        return type(old)(
            self.renew(vars(old)["_optimizer"]),
            dynamic=old.dynamic,
            initial_scale=float(old.initial_scale),
            dynamic_growth_steps=old.dynamic_growth_steps,
        )


def is_legacy(optimizer: Any) -> bool:
    """Whether the optimizer is of `tf_keras.optimizers.legacy`, which makes slots when it meets a variable."""
    return any(base.__name__ == "OptimizerV2" for base in type(optimizer).__mro__)


def make_plain(old: Any) -> Any:
    """A new optimizer of the same class and config, with attributes that were set since; a schedule stays the object."""
    rate = find_rate(old)
    readable = old if rate is None else with_attribute(old, "_learning_rate", None)
    config = readable.get_config()
    if rate is not None:
        config["learning_rate"] = rate
    new = type(old).from_config(config)
    carry_settings(old, new)
    return new


def find_rate(old: Any) -> Any | None:
    """A schedule or a function that gives the learning rate; None where it is a number in a variable."""
    rate = vars(old).get("_learning_rate")
    return rate if callable(rate) and not is_variable(rate) else None


def with_attribute(value: Any, name: str, attribute: Any) -> Any:
    """A shallow copy with one attribute replaced, made without calling any code of the object's class."""
    copy = object.__new__(type(value))
    copy.__dict__.update(vars(value))
    copy.__dict__[name] = attribute
    return copy


def carry_settings(old: Any, new: Any) -> None:
    """Plain attributes that no config holds: exclusions from weight decay, numbers set after construction."""
    for name, value in vars(old).items():
        if name in BOOKS or name.startswith("_self_") or not is_plain(value):
            continue
        if name not in vars(new) or vars(new)[name] != value:
            setattr(new, name, copy_plain(value))


def is_plain(value: Any, depth: int = 3) -> bool:
    """Whether the value is made of numbers, strings and functions alone."""
    if isinstance(value, ATOMS):
        return True
    if depth and isinstance(value, dict):
        return all(is_plain(part, depth - 1) for item in value.items() for part in item)
    if depth and isinstance(value, (list, tuple, set, frozenset)):
        return all(is_plain(part, depth - 1) for part in value)
    return False


def copy_plain(value: Any) -> Any:
    """A copy of a container; TensorFlow's own wrapped containers as Python's."""
    for kind in (dict, list, set):
        if isinstance(value, kind):
            return kind(value)
    return value


def name_optimizer(optimizer: Any) -> str:
    """`'adam' (Adam)`."""
    return f"{str(getattr(optimizer, 'name', None) or 'optimizer')!r} ({type(optimizer).__name__})"
