"""Methods of a model's class that are tf.functions, for its twin.

TensorFlow binds such a method to each instance, with a cache of its own: a `call` or `train_step` under `@tf.function`
that was traced for the model goes on using that trace after the next `compile`, and so must the twin's. Seen on
TensorFlow 2.19 to 2.21.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.trace.step import is_tensorflow_function

NEW_VARIABLES = "Creating variables on a non-first call to a function decorated with tf.function."


def bind_methods(model: Any, twin: Any) -> None:
    """Give the twin's methods the traces that the model's have; what is not among them is traced with the twin.

    The bound method is kept by the class under a weak key, and goes when the twin goes.
    """
    for function in list_methods(type(model)):
        bound = read_bound(function, model)
        if bound is not None and is_traced(bound):
            carry_traces(bound, function.__get__(twin, type(twin)))


def list_methods(kind: type) -> Iterator[Any]:
    """tf.functions among the attributes of a class and its bases."""
    for base in kind.__mro__:
        for value in vars(base).values():
            if is_tensorflow_function(value) and hasattr(value, "_descriptor_cache"):
                yield value


def read_bound(function: Any, holder: Any) -> Any | None:
    """The tf.function that a class' one has made for an object. Seen on TensorFlow 2.19 to 2.21."""
    try:
        return getattr(function, "_descriptor_cache", {}).get(holder)
    except TypeError:  # an object that has no hash, or no weak reference
        return None


def is_traced(bound: Any) -> bool:
    return getattr(bound, "_variable_creation_config", None) is not None


def carry_traces(bound: Any, copy: Any) -> None:
    """Make a fresh bound method one that was called before, with the other's traces."""
    source, target = bound._function_cache, copy._function_cache
    for (context, kind), concrete in source._primary.items():  # not by add(), which the guard watches for new traces
        table = target._dispatch_dict.setdefault(context, type(source._dispatch_dict[context])())
        table.add_target(kind)
        target._primary[context, kind] = concrete
    copy._created_variables = bound._created_variables
    copy._concrete_variable_creation_fn = bound._concrete_variable_creation_fn
    for name in ("_variable_creation_config", "_no_variable_creation_config"):
        scope_type = getattr(bound, name).scope_type
        setattr(copy, name, copy._generate_scoped_tracing_options(refuse_variable, scope_type))


def refuse_variable(*_: Any, **__: Any) -> Any:
    """What a tf.function does that was called before and would make variables now."""
    raise ValueError(NEW_VARIABLES)
