"""What TensorFlow would keep of a trace for as long as the process lives, let go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
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

    Enter it around a trace from which no gradient is taken later. Seen on TensorFlow 2.19 to 2.21; elsewhere they stay.
    """
    from tensorflow.python.framework import ops

    registry: Any = getattr(ops, "gradient_registry", None)
    names: dict[str, Any] | None = getattr(registry, "_registry", None)
    if not isinstance(names, dict):
        yield
        return
    thread, kind, added = threading.get_ident(), type(registry), []
    register = kind.register

    def register_and_record(self: Any, candidate: Any, name: Any = None) -> Any:
        if self is registry and str(name).startswith(CUSTOM) and threading.get_ident() == thread:
            added.append(name)
        return register(self, candidate, name)

    kind.register = register_and_record
    try:
        yield
    finally:
        kind.register = register
        for name in added:
            names.pop(name, None)
