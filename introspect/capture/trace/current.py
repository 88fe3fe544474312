"""Which of the existing traces a call would use: TensorFlow's own dispatch, asked without leaving a mark."""

from __future__ import annotations

from typing import Any

from introspect.capture.trace.step import StepFunctions
from introspect.capture.trace.tracing import is_distributed
from introspect.errors import VersionError


def find_current(functions: StepFunctions, iterator: Any, strategy: Any) -> Any | None:
    """The trace that `fit` would run for batches of the iterator's type; None where the step would be traced anew.

    Where the outer function has no trace for the type, it is traced and calls the inner one, which may have one from
    `train_on_batch`: the step itself is then as old as that.
    """
    if functions.outer is None:
        return None
    found, wanted = look_up(functions.outer, (iterator,), {})
    if found is not None or functions.inner is None or is_distributed(strategy):
        return found
    batch = read_batch(wanted)
    return None if batch is None else look_up(functions.inner, (batch,), {})[0]


def look_up(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any | None, Any]:
    """(the concrete function that a call with these arguments would use or None, the type it would be traced for).

    The dispatch table is rebuilt, as asking TensorFlow's own writes to its cache. Seen on TensorFlow 2.19 to 2.21.

    Raises:
        VersionError: the dispatch is not where it was seen.
        TypeError: the arguments do not fit the function's signature.
    """
    try:
        from tensorflow.python.eager.polymorphic_function import function_context, function_type_utils
        from tensorflow.python.eager.polymorphic_function.tracing_compilation import ScopeType

        started = function._variable_creation_config is not None
        scope = ScopeType.NO_VARIABLE_CREATION if function._created_variables else ScopeType.VARIABLE_CREATION
        context = function_context.make_function_context(scope)
        wanted = make_type(function, args, kwargs, function_type_utils)
        table = rebuild_table(function, context)
    except (ImportError, AttributeError) as error:
        raise VersionError(
            f"cannot ask a tf.function for its traces ({error}); tried on TensorFlow 2.19 to 2.21"
        ) from None
    target = table.dispatch(wanted) if started else None
    if target is not None:
        return function._function_cache._primary[(context, target)], wanted
    return None, table.try_generalizing_function_type(wanted) if function._reduce_retracing else wanted


def make_type(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], types: Any) -> Any:
    """The type of a call as TensorFlow makes it from the arguments."""
    bound = types.canonicalize_function_inputs(
        args, kwargs, function._function_type, function._default_values, function._is_pure
    )
    captures = function._function_captures.capture_types if function._function_captures else {}
    signature = types.to_input_signature(function._function_type)
    positional = bound.args if signature is None else (*signature, *bound.args[len(signature) :])
    return types.make_canonicalized_monomorphic_type(positional, bound.kwargs, captures, function._function_type)[0]


def rebuild_table(function: Any, context: Any) -> Any:
    """A dispatch table of one context's traces, in the order they were made."""
    from tensorflow.core.function.polymorphism.type_dispatch import TypeDispatchTable

    table = TypeDispatchTable()
    for key_context, target in function._function_cache._primary:
        if key_context == context:
            table.add_target(target)
    return table


def read_batch(wanted: Any) -> Any | None:
    """The batch that the outer function, traced for an iterator's type, would hand to the inner one."""
    import tensorflow as tf

    (parameter,) = wanted.parameters.values()
    spec = getattr(parameter.type_constraint, "element_spec", getattr(parameter.type_constraint, "_element_spec", None))
    if spec is None:
        return None
    return tf.nest.map_structure(lambda part: None if isinstance(part, tf.OptionalSpec) else part, spec)
