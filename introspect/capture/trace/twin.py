"""A second model object over the same layers and variables, with trainer state and optimizers of its own.

Tracing the twin's step builds what `fit` would build and leaves the user's model out of it: its `train_function`, its
optimizers' slots, its metrics. Enter `guard.preserve` around every trace all the same: layers are shared.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from introspect.capture.framework import KerasName, name_keras
from introspect.capture.slots import COPY_MARK, find_optimizers, is_built
from introspect.capture.trace.detach import Detacher
from introspect.capture.trace.keyed import share_keys
from introspect.capture.trace.methods import bind_methods
from introspect.capture.trace.snapshot import take_snapshot

OptimizerState = Literal["carried", "fresh"]


@dataclass(frozen=True, slots=True)
class Twin:
    """The twin of a model, and which of its optimizers stands for which of the model's."""

    model: Any
    keras: KerasName
    optimizers: tuple[tuple[Any, Any], ...]
    """(the user's optimizer, the twin's) in the order of `find_optimizers`."""


def twin_model(model: Any, optimizers: OptimizerState = "carried") -> Twin:
    """Build the twin of a compiled model.

    "carried" optimizers know the variables that the real ones were built with and share their slots; "fresh" ones have
    the same settings and were never built, as after a `compile` with a new instance.
    """
    keras = name_keras(model)
    detacher = Detacher()
    twin = object.__new__(type(model))
    detacher.note(model, twin)
    for name, value in vars(model).items():
        twin.__dict__[name] = detacher.detach(value)
    for name in ("train_function", "train_tf_function", "test_function", "predict_function"):
        if name in twin.__dict__:
            twin.__dict__[name] = None
    pairs = tuple((real, copy) for real in find_optimizers(model) if (copy := detacher.find_copy(real)) is not None)
    if optimizers == "fresh":
        for _, copy in pairs:
            forget_build(copy)
    twin.__dict__["_run_eagerly"] = False
    twin.__dict__[COPY_MARK] = model
    bind_methods(model, twin)
    share_keys(model, twin)
    if keras == "tf_keras":
        carry_compiled_flags(model, twin)
    return Twin(twin, keras, pairs)


def forget_build(optimizer: Any) -> None:
    """Make an optimizer's copy build anew; what it built before stays among its variables, unused."""
    state = optimizer.__dict__
    for name, empty in (("built", False), ("_built", False), ("_trainable_variables", []), ("_index_dict", {})):
        if name in state:
            state[name] = empty
    if "_trainable_variables_indices" in state:
        state["_trainable_variables_indices"] = {}


@contextmanager
def forget_built(optimizers: Sequence[Any]) -> Iterator[None]:
    """Let the step find these very optimizers as if they were never built, for it may reach past the twin's.

    Inside the guard only: one that the step builds stays so until the guard puts it back. The others get back at once
    what they knew, and all do after an error.
    """
    snapshot = take_snapshot(optimizers)
    states = [(optimizer, dict(vars(optimizer))) for optimizer in optimizers]
    for optimizer in optimizers:
        forget_build(optimizer)
    try:
        yield
    except BaseException:
        snapshot.restore()
        raise
    for optimizer, state in states:
        if not is_built(optimizer):
            vars(optimizer).update(state)


def carry_compiled_flags(model: Any, twin: Any) -> None:
    """tf_keras trains by the flags of `compile()`, kept for each layer; the twin is the root in the model's place."""
    state = weakref.WeakKeyDictionary(model._compiled_trainable_state)
    if model in state:
        state[twin] = state[model]
    twin.__dict__["_compiled_trainable_state"] = state
