"""Nothing that a trace does outside of its own graph stays behind.

`preserve` is entered around every trace that introspect makes. What it puts back: attributes and containers of the
objects below the model, of their classes and of every optimizer that is alive, variables that are assigned eagerly,
Keras' name counters and global state, the random state of Python, numpy and TensorFlow's op seeds, the caches of every
tf.function that the trace came across, what a checkpoint has yet to restore, and the switch that runs functions eagerly.
"""

from __future__ import annotations

import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from introspect.capture.trace.caches import stand_in
from introspect.capture.trace.eagerwrites import keep_values
from introspect.capture.trace.innerstate import MISSING
from introspect.capture.trace.keyed import lend_keys
from introspect.capture.trace.release import bind_graph, forget_gradients
from introspect.capture.trace.snapshot import restore_dict, take_snapshot
from introspect.capture.trace.waiting import keep_waiting
from introspect.capture.untracked import list_optimizers

PATCHING = threading.RLock()
"""Held while TensorFlow's function cache is watched: one trace of introspect's at a time."""


FIRST_CALL = (
    "_created_variables",
    "_variable_creation_config",
    "_no_variable_creation_config",
    "_concrete_variable_creation_fn",
)


@contextmanager
def preserve(*roots: Any, optimizers: Iterable[Any] | None = None) -> Iterator[list[Any]]:
    """Undo on exit, also after an error, all that happens to Python state inside.

    `optimizers` are all live ones, where the caller has looked for them already.

    Yields a list that keeps alive the concrete functions which tf.functions of the user's traced meanwhile.
    """
    kept: list[Any] = []
    with ExitStack() as undo:
        snapshot = take_snapshot([*roots, *(list_optimizers() if optimizers is None else optimizers)])
        undo.callback(snapshot.restore)
        undo.enter_context(stand_in(snapshot))
        undo.enter_context(lend_keys(snapshot))
        for restore in (*save_random(), *save_keras(), *save_tf_keras(), save_eager_switch()):
            undo.callback(restore)
        undo.enter_context(record_functions(kept))
        undo.enter_context(keep_waiting())
        undo.enter_context(keep_values())
        undo.enter_context(quiet())
        yield kept


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings of a trace that the user did not ask for from the user."""
    import logging

    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "keras")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def save_random() -> list[Callable[[], None]]:
    """Random state of Python, numpy, and of TensorFlow's op seeds. Seen on TensorFlow 2.19 to 2.21."""
    import numpy as np
    from tensorflow.python.eager import context

    python_state, numpy_state = random.getstate(), np.random.get_state()
    restores: list[Callable[[], None]] = [
        lambda: random.setstate(python_state),
        lambda: np.random.set_state(numpy_state),
    ]
    generator = getattr(context.context(), "_rng", None)
    if generator is not None:
        op_state = generator.getstate()
        restores.append(lambda: generator.setstate(op_state))
        generator.seed(generator.random())  # seeds used twice go on in one kernel, whose state nothing gives back
    return restores


def save_keras() -> list[Callable[[], None]]:
    """Keras 3's global state of this thread: name counters, scopes, the global seed generator. Seen on 3.13 to 3.15."""
    module: Any = sys.modules.get("keras.src.backend.common.global_state")
    if module is None:
        return []
    restores = []
    for name in ("GLOBAL_STATE_TRACKER", "GLOBAL_SETTINGS_TRACKER"):
        tracker = getattr(module, name, None)
        if tracker is not None:
            snapshot = take_snapshot([tracker])
            restores.append(snapshot.restore)
    return restores


def save_tf_keras() -> list[Callable[[], None]]:
    """tf_keras' name counters for each graph, and its seed generator. Seen on tf_keras 2.19 to 2.21."""
    backend: Any = sys.modules.get("tf_keras.src.backend")
    if backend is None:
        return []
    counters = getattr(backend, "PER_GRAPH_OBJECT_NAME_UIDS", {})
    kept = {graph: dict(names) for graph, names in counters.items()}
    restores: list[Callable[[], None]] = [lambda: restore_counters(counters, kept)]
    generator = getattr(getattr(backend, "_SEED_GENERATOR", None), "generator", None)
    if isinstance(generator, random.Random):
        state = generator.getstate()
        restores.append(lambda: generator.setstate(state))
    return restores


def restore_counters(counters: Any, kept: dict[Any, dict[Any, int]]) -> None:
    for graph in list(counters):
        if graph in kept:
            restore_dict(counters[graph], kept[graph])
        else:
            del counters[graph]


def save_eager_switch() -> Callable[[], None]:
    """Let functions be traced inside though the user runs them eagerly; gives back the way to restore the switch."""
    import tensorflow as tf

    eagerly = tf.config.functions_run_eagerly()
    if eagerly:
        tf.config.run_functions_eagerly(False)
    return lambda: tf.config.run_functions_eagerly(eagerly) if eagerly else None


@contextmanager
def record_functions(kept: list[Any]) -> Iterator[None]:
    """Take back every trace that is added meanwhile, on this thread, to the cache of any tf.function.

    A user's own `@tf.function` below `call` or `train_step` has a cache of its own; a trace left there would be used
    by the next real step. Seen on TensorFlow 2.19 to 2.21.
    """
    from tensorflow.core.function.polymorphism.function_cache import FunctionCache
    from tensorflow.python.eager.polymorphic_function.polymorphic_function import Function

    thread = threading.get_ident()
    added: list[tuple[Any, Any, Any]] = []
    started: list[tuple[Any, dict[str, Any]]] = []

    def add_and_record(cache: Any, function: Any, context: Any = None) -> None:
        add(cache, function, context)
        if threading.get_ident() == thread:
            added.append((cache, function, context))
            kept.append(function)

    def initialize_and_record(function: Any, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == thread:
            started.append((function, {name: getattr(function, name, MISSING) for name in FIRST_CALL}))
        return initialize(function, *args, **kwargs)

    with PATCHING, forget_gradients():
        add, initialize = FunctionCache.add, Function._initialize
        FunctionCache.add, Function._initialize = add_and_record, initialize_and_record
        try:
            yield
        finally:
            FunctionCache.add, Function._initialize = add, initialize
            for cache, function, context in reversed(added):
                cache.delete(function.function_type, context)
            for function, attributes in reversed(started):
                restore_first_call(function, attributes)
            for function in kept:
                bind_graph(function)


def restore_first_call(function: Any, attributes: dict[str, Any]) -> None:
    """A tf.function that was called for the first time inside a guarded trace was never called."""
    for name, value in attributes.items():
        if value is not MISSING:
            setattr(function, name, value)
        elif hasattr(function, name):
            delattr(function, name)
