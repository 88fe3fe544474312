"""The batches that a running `fit` feeds, found on its stack: which of several traces it uses."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from introspect.capture.framework import descends, name_keras
from introspect.capture.model import read_traces
from introspect.capture.trace.batch import take_batch
from introspect.errors import DataError

CALLERS = ("keras/src/callbacks/callback_list.py", "tf_keras/src/callbacks.py")
TRAINERS = ("keras/src/backend/tensorflow/trainer.py", "tf_keras/src/engine/training.py")


@dataclass(frozen=True, slots=True)
class Running:
    """What a `fit` under way runs."""

    concrete: Any
    """The trace that it uses."""
    spec: Any
    """The type of its batches."""
    data: Any
    """What it was given, as `inspect` takes it."""
    batch_size: int | None

    def describe_batches(self) -> Any:
        """A tf.data set that holds nothing and has the type of the batches, for `inspect(data=…)`."""
        batches = object.__new__(batch_type())
        batches.element_spec = self.spec
        return batches

    def copy_batch(self, model: Any) -> Any | None:
        """A tf.data set of the first batch, of that type too; None where a look would take from the data."""
        import tensorflow as tf

        try:
            batch = take_batch(model, self.data, name_keras(model), self.batch_size)
            tf.nest.assert_same_structure(batch, self.spec, expand_composites=True)
            dataset = tf.data.Dataset.from_tensors(batch)
        except (DataError, TypeError, ValueError):
            return None
        pairs = zip(tf.nest.flatten(dataset.element_spec), tf.nest.flatten(self.spec), strict=True)
        fits = all(wanted.is_compatible_with(given) for given, wanted in pairs)
        return tf.data.experimental.from_variant(tf.data.experimental.to_variant(dataset), self.spec) if fits else None


def find_running(model: Any) -> Running | None:
    """The trace that the model's running `fit` uses.

    None where no `fit` of the model is on the stack, where it runs on a distributed iterator, and where the type leads
    to no trace. Reads local variables of `fit`; seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21.
    """
    local = find_fit(model)
    return None if local is None else describe_running(model, local)


def find_fit(model: Any) -> dict[str, Any] | None:
    """Local variables of the innermost `fit` on the stack; None where there is none, or it is another model's."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit" and frame.f_code.co_filename.replace("\\", "/").endswith(TRAINERS):
            return frame.f_locals if frame.f_locals.get("self") is model else None
        frame = frame.f_back
    return None


def find_callers() -> Iterator[Any]:
    """The lists of callbacks whose hooks are being called, or whose `fit` runs, on this thread; innermost first.

    Of frames of Keras' own alone: one whose local variables are asked for holds them until it is left.
    """
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.replace("\\", "/").endswith((*TRAINERS, *CALLERS)):
            yield from filter(is_callback_list, tuple(frame.f_locals.values()))
        frame = frame.f_back


def is_callback_list(value: object) -> bool:
    """Whether it is what Keras calls its callbacks by. Seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21."""
    return descends(value, ("keras", "tf_keras"), ("CallbackList",))


def call_after_fit(model: Any, act: Callable[[], object]) -> None:
    """Call `act` once the running `fit` is left for good, also where it raises: when its list of callbacks goes."""
    callbacks = (find_fit(model) or {}).get("callbacks")
    if is_callback_list(callbacks):
        weakref.finalize(callbacks, act).atexit = False


def describe_running(model: Any, local: dict[str, Any]) -> Running | None:
    import tensorflow as tf

    iterator = local.get("iterator")
    if not isinstance(iterator, tf.data.Iterator):
        return None
    concrete = read_traces(model, name_keras(model), iterator.element_spec).current
    if concrete is None:
        return None
    x, y, weights = (local.get(name) for name in ("x", "y", "sample_weight"))
    data = x if y is None and weights is None else (x, y) if weights is None else (x, y, weights)
    return Running(concrete, iterator.element_spec, data, local.get("batch_size"))


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
