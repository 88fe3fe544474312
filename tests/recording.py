"""Which gradients an optimizer is handed, noted while a step is traced or run eagerly; no op is added to any graph.

Each call of an optimizer's `apply` is noted together with the graph in which it stands. Which of these graphs the next
real step runs is asked of TensorFlow at that step: the concrete functions that are called, and all that they call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

EAGER = "eager"

_NOTES: weakref.WeakKeyDictionary[Any, list[tuple[Any, str]]] = weakref.WeakKeyDictionary()
"""graph -> (variable, dense or sparse)."""
_INSTALLED: list[bool] = []


@dataclass
class Step:
    """What real steps ran, while they are recorded: nothing is kept beyond, so that graphs of other tests can go."""

    called: list[Any] = field(default_factory=list)
    eager: list[tuple[Any, str]] = field(default_factory=list)


_STEPS: list[Step] = []


def raw_of(variable: Any) -> Any:
    """The tf.Variable behind a Keras 3 variable; a tf.Variable itself as it is."""
    return getattr(variable, "_value", variable) if hasattr(variable, "overwrite_with_gradient") else variable


def key_of(variable: Any) -> int:
    """An identity, for as long as the variable lives."""
    return id(whole_of(variable))


def whole_of(variable: Any) -> Any:
    """The tf.Variable; of a replica's, the one that holds them all."""
    raw = raw_of(variable)
    container = getattr(raw, "_distributed_container", None)
    whole = container() if callable(container) else None
    return raw if whole is None else whole


def is_eager() -> bool:
    """Whether ops run at once. Not by `tf.executing_eagerly`: introspect takes that for a question of the step's own."""
    from tensorflow.python.eager import context

    return bool(context.context().executing_eagerly())


def note_gradients(gradients: Any, variables: Any) -> None:
    """Note what an optimizer is handed, here and now."""
    notes = [
        (whole_of(variable), "sparse" if isinstance(gradient, tf.IndexedSlices) else "dense")
        for gradient, variable in zip(gradients, variables, strict=False)
        if gradient is not None
    ]
    if is_eager():
        if _STEPS:
            _STEPS[-1].eager.extend(notes)
        return
    _NOTES.setdefault(tf.compat.v1.get_default_graph(), []).extend(notes)


def install() -> None:
    """Hook all optimizers of Keras 3 and tf_keras, and the calls of concrete functions; once in a process."""
    if _INSTALLED:
        return
    _INSTALLED.append(True)
    from keras.src.optimizers import base_optimizer, loss_scale_optimizer

    kinds = [base_optimizer.BaseOptimizer, loss_scale_optimizer.LossScaleOptimizer]
    with suppress(ImportError):  # Keras has it since 3.15
        from keras.src.optimizers import multi_optimizer

        kinds.append(multi_optimizer.MultiOptimizer)
    for kind in kinds:
        _wrap_apply(kind)
    from tensorflow.python.eager.polymorphic_function.concrete_function import ConcreteFunction

    call = ConcreteFunction._call_flat

    def call_and_note(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _STEPS and is_eager():
            _STEPS[-1].called.append(self)
        return call(self, *args, **kwargs)

    ConcreteFunction._call_flat = call_and_note
    _install_tf_keras()


def _wrap_apply(kind: Any) -> None:
    original = kind.__dict__["apply"]

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        gradients = list(grads)
        variables = None if trainable_variables is None else list(trainable_variables)
        note_gradients(gradients, self._trainable_variables if variables is None else variables)
        return original(self, gradients, variables)

    kind.apply = apply


def _install_tf_keras() -> None:
    try:
        from tf_keras.src.mixed_precision import loss_scale_optimizer
        from tf_keras.src.optimizers import optimizer
        from tf_keras.src.optimizers.legacy import optimizer_v2
    except ImportError:
        return
    for kind in (
        optimizer._BaseOptimizer,
        optimizer.Optimizer,
        optimizer_v2.OptimizerV2,
        loss_scale_optimizer.LossScaleOptimizer,
        loss_scale_optimizer.LossScaleOptimizerV3,
    ):
        _wrap_apply_gradients(kind)


def _wrap_apply_gradients(kind: Any) -> None:
    original: Callable[..., Any] = kind.__dict__["apply_gradients"]

    def apply_gradients(self: Any, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        pairs = list(grads_and_vars)
        note_gradients([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        return original(self, pairs, *args, **kwargs)

    kind.apply_gradients = apply_gradients


@contextmanager
def record_step() -> Iterator[dict[int, str]]:
    """Run real steps inside; afterwards the dict holds `{key_of(variable): dense or sparse}` of what arrived."""
    step, arrived = Step(), dict[int, str]()
    _STEPS.append(step)
    try:
        yield arrived
    finally:
        _STEPS.pop()
    graphs = {id(graph): graph for called in step.called for graph in _reach(called.graph)}
    notes = [note for graph in graphs.values() for note in _NOTES.get(graph, ())]
    for variable, kind in (*notes, *step.eager):
        if arrived.get(id(variable)) != "sparse":
            arrived[id(variable)] = kind


def _reach(graph: Any) -> Iterator[Any]:
    """A graph and the graphs of all functions that it calls, directly or not."""
    names = [function.signature.name for function in graph.as_graph_def().library.function]
    stack, seen = [graph], {id(graph)}
    while stack:
        holder = stack.pop()
        yield holder
        for name in names:
            if holder._is_function(name):
                inner = getattr(holder._get_function(name), "graph", None)
                if inner is not None and id(inner) not in seen:
                    seen.add(id(inner))
                    stack.append(inner)
