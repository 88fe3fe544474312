"""The flat inputs of a concrete function, made from one batch."""

from __future__ import annotations

from typing import Any

from introspect.capture.trace.batch import invent_batch
from introspect.capture.trace.inputs import take_part
from introspect.capture.trace.tracing import is_distributed
from introspect.errors import DataError


def read_element_spec(concrete: Any) -> Any | None:
    """The type of the batches that a step takes from its iterator argument; None where it has no such argument."""
    args, _ = concrete.structured_input_signature
    first = args[0] if args else None
    spec = getattr(first, "element_spec", getattr(first, "_element_spec", None))
    return None if spec is None else take_part(spec)


def feed_step(concrete: Any, strategy: Any, batch: Any | None) -> list[Any]:
    """Inputs for one step on `batch`, or on one made up where it is None.

    Raises:
        DataError: the batch does not fit the trace, or none can be made up.
    """
    spec = read_element_spec(concrete)
    if spec is None:
        return feed_batch(concrete, batch)
    replicas = strategy.num_replicas_in_sync if is_distributed(strategy) else 1
    batch = invent_batch(spec, replicas) if batch is None else batch
    if is_distributed(strategy):
        return flatten_call(concrete, (distribute_batch(strategy, batch, spec, replicas),), {})
    return feed_iterator(batch, spec)


def feed_iterator(batch: Any, spec: Any) -> list[Any]:
    """An iterator over one batch; Keras' loop of several steps ends with it after the first."""
    import tensorflow as tf

    try:
        # With autotuning each iterator has a thread, and waits for it when it is freed: up to seconds.
        options = tf.data.Options()
        options.autotune.enabled = False
        iterator = iter(tf.data.Dataset.from_tensors(fit_batch(batch, spec)).with_options(options))
    except (TypeError, ValueError) as error:
        raise misfit(error) from error
    return list(tf.nest.flatten(iterator, expand_composites=True))


def distribute_batch(strategy: Any, batch: Any, spec: Any, replicas: int) -> Any:
    """A distributed iterator over one global batch, cut for the replicas as `fit` does it."""
    import tensorflow as tf

    batch = fit_batch(batch, spec)
    rows = {int(part.shape[0]) for part in tf.nest.flatten(batch) if part.shape.rank}
    if len(rows) != 1 or min(rows) % replicas:
        raise DataError(f"the batch cannot be cut for {replicas} replicas; pass one whose rows {replicas} divides")
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(rows.pop(), drop_remainder=is_static(spec))
    return iter(strategy.experimental_distribute_dataset(dataset))


def is_static(spec: Any) -> bool:
    import tensorflow as tf

    return all(part.shape.rank is None or part.shape.is_fully_defined() for part in tf.nest.flatten(spec))


def fit_batch(batch: Any, spec: Any) -> Any:
    """The batch in the structure and the types of a spec.

    Raises:
        DataError: it has more or fewer parts.
    """
    import tensorflow as tf

    parts = [part for part in tf.nest.flatten(batch) if part is not None]
    wanted = tf.nest.flatten(spec)
    if len(parts) != len(wanted):
        raise DataError(f"the batch has {len(parts)} parts and the step takes {len(wanted)}; pass data as fit takes it")
    cast = [cast_part(part, one) for part, one in zip(parts, wanted, strict=True)]
    return tf.nest.pack_sequence_as(spec, cast)


def cast_part(part: Any, spec: Any) -> Any:
    import tensorflow as tf

    if not isinstance(spec, tf.TensorSpec):
        return part
    tensor = tf.convert_to_tensor(part)
    return tensor if tensor.dtype == spec.dtype else tf.cast(tensor, spec.dtype)


def feed_batch(concrete: Any, batch: Any | None) -> list[Any]:
    """Inputs of a function that takes the batch itself (`train_on_batch`)."""
    import tensorflow as tf

    args, kwargs = concrete.structured_input_signature
    spec = [part for part in tf.nest.flatten((args, kwargs)) if isinstance(part, tf.TypeSpec)]
    values = invent_batch(spec) if batch is None else fit_batch(batch, spec)
    return list(tf.nest.flatten(values, expand_composites=True))


def flatten_call(concrete: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """Inputs of a call with these arguments. Seen on TensorFlow 2.19 to 2.21.

    Raises:
        DataError: the arguments do not fit the trace.
    """
    from tensorflow.python.eager.polymorphic_function import function_type_utils

    try:
        bound = function_type_utils.canonicalize_function_inputs(args, kwargs, concrete.function_type)
        return list(concrete.function_type.unpack_inputs(bound))
    except (TypeError, ValueError) as error:
        raise misfit(error, "pass args= and kwargs= as the loop does") from error


def misfit(error: Exception, advice: str = "pass data as fit takes it") -> DataError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"the batch does not fit the step: {first}; {advice}")
