"""Copies of optimizers and metrics that share variables with the originals and own everything else.

A copy of a built optimizer writes the very slots of the original, so a graph traced with it binds to the user's own
variables; what the copy builds, adds or counts stays with the copy. Not `from_config`: a user's optimizer, schedule or
metric may have none, and the copy would forget which variables it was built with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from introspect.capture.slots import COPY_MARK, is_optimizer

OWNED = (
    "keras.src.optimizers",
    "keras.src.metrics",
    "keras.src.trainers.compile_utils",
    "keras.src.utils.tracking",
    "tf_keras.src.optimizers",
    "tf_keras.src.mixed_precision.loss_scale_optimizer",
    "tf_keras.src.engine.compile_utils",
)
SCHEDULES = ("keras.src.optimizers.schedules", "tf_keras.src.optimizers.schedules")


class Detacher:
    """Copies each object once, so that what is shared among the originals is shared among the copies."""

    def __init__(self) -> None:
        self._copies: dict[int, Any] = {}
        self._originals: list[Any] = []

    def detach(self, value: Any) -> Any:
        """The copy of an optimizer, a metric, Keras' trackers or a container of such; any other object as it is."""
        if id(value) in self._copies:
            return self._copies[id(value)]
        copier = choose_copier(value)
        return value if copier is None else copier(self, value)

    def note(self, original: Any, copy: Any) -> Any:
        """Remember a copy before its parts are copied; circles end here."""
        self._copies[id(original)] = copy
        self._originals.append(original)
        return copy

    def find_copy(self, original: Any) -> Any | None:
        """The copy that was made of an object, None where none was."""
        return self._copies.get(id(original))

    def copy_object(self, value: Any) -> Any:
        copy = self.note(value, object.__new__(type(value)))
        for name, attribute in vars(value).items():
            copy.__dict__[name] = self.detach(attribute)
        copy.__dict__[COPY_MARK] = value
        return copy

    def copy_list(self, value: list[Any]) -> Any:
        copy = self.note(value, new_empty(value))
        list.extend(copy, (self.detach(item) for item in value))
        return self._copy_tracker(value, copy)

    def copy_dict(self, value: dict[Any, Any]) -> Any:
        copy = self.note(value, new_empty(value))
        if hasattr(value, "default_factory"):
            copy.default_factory = value.default_factory
        dict.update(copy, {key: self.detach(item) for key, item in value.items()})
        return self._copy_tracker(value, copy)

    def copy_set(self, value: set[Any]) -> Any:
        copy = self.note(value, new_empty(value))
        set.update(copy, value)
        return self._copy_tracker(value, copy)

    def copy_tuple(self, value: tuple[Any, ...]) -> Any:
        return self.note(value, tuple(self.detach(item) for item in value))

    def copy_wrapped(self, value: Any) -> Any:
        """TensorFlow's tracked list: optimizers append to the plain list inside, which others hold as well."""
        copy = self.note(value, new_empty(value))
        for name, attribute in vars(value).items():
            copy.__dict__[name] = self.detach(attribute)
        list.extend(copy, copy._storage)
        return copy

    def copy_proxy(self, value: Any) -> Any:
        """TensorFlow's tracked dict or tuple, a proxy of the plain one."""
        import copy

        return self.note(value, copy.copy(value))

    def copy_identities(self, value: Any) -> Any:
        """TensorFlow's dict keyed by identity, in which tf_keras counts references to attributes."""
        copy = self.note(value, new_empty(value))
        copy._storage = dict(value._storage)
        return copy

    def _copy_tracker(self, value: Any, copy: Any) -> Any:
        if hasattr(value, "__dict__") and "tracker" in vars(value):
            copy.tracker = self.detach(value.tracker)
        return copy


def new_empty(value: Any) -> Any:
    """An object of the same class, `__init__` not called."""
    kind: Any = type(value)
    return kind.__new__(kind)


def choose_copier(value: Any) -> Callable[[Detacher, Any], Any] | None:
    """How a value is copied; None for what stays shared: variables, layers, functions, numbers."""
    kind = type(value)
    if kind.__module__ == "tensorflow.python.trackable.data_structures":
        return Detacher.copy_wrapped if isinstance(value, list) else Detacher.copy_proxy
    if kind.__name__ == "ObjectIdentityDictionary":
        return Detacher.copy_identities
    for base, copier in (
        (list, Detacher.copy_list),
        (dict, Detacher.copy_dict),
        (set, Detacher.copy_set),
    ):
        if issubclass(kind, base):
            return copier
    if kind is tuple:
        return Detacher.copy_tuple
    return Detacher.copy_object if is_owned(value) else None


def is_owned(value: Any) -> bool:
    """Whether the object is an optimizer, a Keras 3 metric, or Keras' bookkeeping for these.

    A tf_keras metric is not: its methods are bound to the original; the guard restores what it builds late.
    """
    if issubclass(type(value), (type, tuple)):
        return False
    if is_optimizer(value):
        return True
    modules = [base.__module__ for base in type(value).__mro__]
    if any(module.startswith(SCHEDULES) for module in modules):
        return False
    return any(module.startswith(OWNED) for module in modules)
