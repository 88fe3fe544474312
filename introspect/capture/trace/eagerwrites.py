"""Variables that a traced step writes at once, past its graph: in Python under `tf.init_scope`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from introspect.capture.trace.replaced import replaced

SCATTERS = ("add", "sub", "mul", "div", "min", "max", "update")
WRITERS = {
    "gen_resource_variable_ops": (
        *("assign_variable_op", "assign_add_variable_op", "assign_sub_variable_op"),
        *(f"resource_scatter_{kind}" for kind in SCATTERS),
    ),
    "gen_stateful_random_ops": ("rng_read_and_skip", "rng_skip"),
}
"""TensorFlow's functions that make one op each, by their modules: methods of variables and of `tf.random.Generator` call them."""


@contextmanager
def keep_values() -> Iterator[None]:
    """Give variables that are written eagerly meanwhile, on this thread, back the values that they had.

    A value is read before its first write, and shares the variable's buffer until then, so that it costs no copy. Seen
    on TensorFlow 2.19 to 2.21; elsewhere what has no such function is not watched.
    """
    thread, kept = threading.get_ident(), dict[int, tuple[Any, Any]]()

    def watch(write: Callable[..., Any]) -> Callable[..., Any]:
        def write_and_keep(resource: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == thread and id(resource) not in kept:
                value = read_value(resource)
                if value is not None:
                    kept[id(resource)] = resource, value
            return write(resource, *args, **kwargs)

        return write_and_keep

    with ExitStack() as undo:
        undo.enter_context(replaced([(module, name, watch(write)) for module, name, write in list_writers()]))
        undo.callback(write_back, kept)
        yield


def write_back(kept: dict[int, tuple[Any, Any]]) -> None:
    """Assign each variable, of (resource handle, value), its value."""
    import tensorflow as tf

    for resource, value in kept.values():
        tf.raw_ops.AssignVariableOp(resource=resource, value=value)


def list_writers() -> list[tuple[Any, str, Callable[..., Any]]]:
    modules = ((sys.modules.get(f"tensorflow.python.ops.{module}"), names) for module, names in WRITERS.items())
    return [
        (module, name, getattr(module, name)) for module, names in modules for name in names if hasattr(module, name)
    ]


def read_value(resource: Any) -> Any | None:
    """What a variable holds that is written at once; None where the write is an op of a graph, or the variable's first."""
    import tensorflow as tf

    parts = getattr(getattr(resource, "_handle_data", None), "shape_and_type", ())
    if not tf.executing_eagerly() or not isinstance(resource, tf.Tensor) or not parts:
        return None
    if not bool(tf.raw_ops.VarIsInitializedOp(resource=resource)):
        return None
    return tf.raw_ops.ReadVariableOp(resource=resource, dtype=tf.dtypes.as_dtype(parts[0].dtype))
