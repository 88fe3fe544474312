"""What TensorFlow would keep of a trace for as long as the process lives, let go."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

CUSTOM = "CustomGradient-"
"""How TensorFlow names the gradient of one call of a `tf.custom_gradient` in a graph, which it registers for good."""


def bind_graph(function: Any) -> None:
    """Let a concrete function take its graph with it when it goes: ops hold theirs where Python's collector is blind.

    TensorFlow does so itself but for traces that a `tf.function` keeps, whose graphs might outlive them. Seen on 2.19
    to 2.21; elsewhere the graph stays in memory.
    """
    collector: Any = getattr(function, "_garbage_collector", None)
    if hasattr(collector, "_func_graph"):
        collector._func_graph = function.graph


@contextmanager
def forget_gradients() -> Iterator[None]:
    """Take back the custom gradients that graphs of this thread register meanwhile: each holds its graph's tensors.

    Enter it around a trace from which no gradient is taken later.
    """
    thread, added = threading.get_ident(), list[str]()

    def note(name: str, gradient: Any) -> Any:
        if threading.get_ident() == thread:
            added.append(name)
        return gradient

    try:
        with watch_registry(note):
            yield
    finally:
        names = find_registered() or {}
        for name in added:
            names.pop(name, None)


@contextmanager
def watch_registry(change: Callable[[str, Any], Any]) -> Iterator[bool]:
    """Have custom gradients registered meanwhile as `change` returns them, of (name, gradient).

    False where the registry is none of those seen: TensorFlow 2.19 to 2.21; nothing is watched then.
    """
    from tensorflow.python.framework import ops

    if find_registered() is None:
        yield False
        return
    registry: Any = ops.gradient_registry
    kind, register = type(registry), type(registry).register

    def register_changed(self: Any, candidate: Any, name: Any = None) -> Any:
        if self is registry and str(name).startswith(CUSTOM) and callable(candidate):
            candidate = change(str(name), candidate)
        return register(self, candidate, name)

    kind.register = register_changed
    try:
        yield True
    finally:
        kind.register = register


def find_registered() -> dict[str, Any] | None:
    """All gradients that are registered, by name; None where TensorFlow keeps them otherwise."""
    from tensorflow.python.framework import ops

    names = getattr(getattr(ops, "gradient_registry", None), "_registry", None)
    return names if isinstance(names, dict) else None
