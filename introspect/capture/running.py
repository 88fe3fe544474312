"""The batches that a running `fit` feeds, found on its stack: which of several traces it uses."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any

from introspect.capture.framework import name_keras
from introspect.capture.model import read_traces

TRAINERS = ("keras/src/backend/tensorflow/trainer.py", "tf_keras/src/engine/training.py")


@dataclass(frozen=True, slots=True)
class Running:
    """What a `fit` under way runs."""

    concrete: Any
    """The trace that it uses."""
    batches: Any
    """A tf.data set that holds nothing and has the type of its batches, for `inspect(data=…)`."""


def find_running(model: Any) -> Running | None:
    """The trace that the model's running `fit` uses.

    None where no `fit` of the model is on the stack, where it runs on a distributed iterator, and where the type leads
    to no trace. Looks for the local variable `iterator` of `fit`; seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_code.co_filename.replace("\\", "/").endswith(TRAINERS):
            local = frame.f_locals
            return describe_running(model, local.get("iterator")) if local.get("self") is model else None
        frame = frame.f_back
    return None


def describe_running(model: Any, iterator: Any) -> Running | None:
    import tensorflow as tf

    if not isinstance(iterator, tf.data.Iterator):
        return None
    concrete = read_traces(model, name_keras(model), iterator.element_spec).current
    if concrete is None:
        return None
    batches = object.__new__(batch_type())
    batches.element_spec = iterator.element_spec
    return Running(concrete, batches)


@cache
def batch_type() -> Any:
    """A class of tf.data sets that have a type and nothing else."""
    import tensorflow as tf

    class BatchType(tf.data.Dataset):  # type: ignore[misc]
        """Has `element_spec`, and cannot be iterated."""

        element_spec = None

        def _inputs(self) -> list[Any]:
            return []

    return BatchType
