"""A model that was never called gets its variables for the time of a look, and has none afterwards, as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from introspect.capture.framework import KerasName, list_model_variables, require_model
from introspect.capture.model import runs_eagerly, runs_functions_eagerly
from introspect.capture.trace.guard import preserve
from introspect.capture.trace.inputs import read_spec
from introspect.capture.trace.isolation import Feed, trace_isolated
from introspect.capture.trace.tracing import is_built_whole
from introspect.errors import NotBuiltError


@contextmanager
def made_variables(model: Any, data: Any, batch_size: int | None = None, by_step: bool = False) -> Iterator[bool]:
    """Trace the model's call on batches of the data's type, so that its layers make their variables as the first `fit` would.

    Where that leaves a layer that is not built, or `by_step` is set, the whole step is traced.
    No batch is run. Initializers are, on op seeds of their own: the kernels that the user's seeds lead to are not used.

    Yields:
        Whether the model has any then; what a step trains may stand outside of its model.

    Raises:
        StepError: the step cannot be traced on such batches.
    """
    keras = require_model(model)
    eager = Feed(data, batch_size, runs_functions_eagerly()) if runs_eagerly(model) else None
    with preserve(model):
        change_op_seeds()
        spec = read_spec(model, data, keras, batch_size)
        with suppress(Exception):
            trace_call(model, spec)
        if by_step or not (list_model_variables(model) and is_built_whole(model)):
            make_by_step(model, keras, spec, batch_size, eager)
        yield bool(list_model_variables(model))


def make_by_step(model: Any, keras: KerasName, spec: Any, batch_size: int | None, eager: Feed | None) -> None:
    """Trace the step, which says that it has made variables."""
    with suppress(NotBuiltError):
        trace_isolated(model, keras, spec, False, batch_size, eager)


def trace_call(model: Any, spec: Any) -> None:
    """Call the model on symbolic inputs; a model without a `call` of its own raises."""
    import tensorflow as tf

    inputs = spec[0] if isinstance(spec, tuple) else spec
    tf.function(lambda batch: model(batch), autograph=False).get_concrete_function(inputs)


def change_op_seeds() -> None:
    """Let eager random ops draw other seeds, where they draw any; `preserve` puts theirs back. Seen on TensorFlow 2.19 to
    2.21: a kernel goes on counting for each pair of seeds.
    """
    from tensorflow.python.eager import context

    generator = getattr(context.context(), "_rng", None)
    if generator is not None:
        generator.seed(generator.random())
