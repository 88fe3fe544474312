"""A callback class that both Keras 3 and tf_keras take for one of theirs, without importing either too early."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from introspect.capture.framework import import_keras


def bind_callback(kind: type) -> Any:
    """A subclass of `kind` and of the `Callback` of each Keras that is loaded; of Keras 3's where none is."""
    loaded = [module for name in ("keras", "tf_keras") if (module := sys.modules.get(name)) is not None]
    if not loaded:
        loaded = [import_keras()]
    return make_bound(kind, tuple(module.callbacks.Callback for module in loaded))


@cache
def make_bound(kind: type, bases: tuple[type, ...]) -> Any:
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__, "unbound": kind}
    return type(kind.__name__, (kind, *bases), names)
