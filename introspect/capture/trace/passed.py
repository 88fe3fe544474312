"""Variables that a loop passes to its tf.function as arguments: the graph has a placeholder for each, and captures none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from introspect.capture.measurement.realstep import feed_arguments
from introspect.capture.trace.traces import LiveTrace


def bind_arguments(
    lives: Iterable[LiveTrace], current: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[LiveTrace]:
    """The traces with the variables of this call bound to the current one; without others that take variables.

    Which variables those were called with nobody has kept.
    """
    kept = []
    for live in lives:
        if not takes_variables(live.concrete):
            kept.append(live)
        elif live.concrete is current:
            kept.append(replace(live, passed=pair_arguments(live.concrete, args, kwargs)))
    return kept


def takes_variables(concrete: Any) -> bool:
    """Whether an argument of the function is a tf.Variable. Seen on TensorFlow 2.19 to 2.21."""
    import tensorflow as tf

    specs = tf.nest.flatten(concrete.structured_input_signature)
    return any(type(spec).__name__ == "VariableSpec" for spec in specs)


def pair_arguments(concrete: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, Any], ...]:
    """(resource handle, placeholder) of each resource among the arguments of a call.

    Raises:
        DataError: an iterator is among them, too.
    """
    inputs, _ = feed_arguments(concrete, args, kwargs)
    pairs = zip(inputs, concrete.graph.inputs, strict=False)  # captures come behind the arguments
    return tuple((outside, inside) for outside, inside in pairs if inside.dtype.name == "resource")
