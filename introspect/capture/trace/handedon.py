"""What a model's own `fit` makes of its data before Keras' `fit` is given it."""

from __future__ import annotations

from typing import Any

from introspect.capture.framework import descends
from introspect.capture.trace.inputs import DEFAULT_BATCH, first_line, is_dataset, protect_state, split_arrays
from introspect.errors import DataError


def hand_on(model: Any, data: Any, batch_size: int | None = None) -> Any:
    """The data as Keras' `fit` is given it; nothing is taken from a set.

    The tasks of keras-hub map their preprocessor over what their `fit` is given. Seen on keras-hub 0.32, without grain.

    Raises:
        DataError: the model's own `fit` cannot take the data.
    """
    if not descends(model, ("keras_hub",), ("PipelineModel",)):
        return data
    try:
        batches = data if is_dataset(data) else batch_rows(data, batch_size or DEFAULT_BATCH)
        return protect_state(lambda: batches.map(model.preprocess_samples), getattr(model, "preprocessor", None))
    except Exception as error:
        raise DataError(
            f"fit() of {type(model).__name__} cannot take this data: {first_line(error)}; pass what it is given, as a "
            "tf.data set or as data=(x, y)"
        ) from error


def batch_rows(data: Any, size: int) -> Any:
    """One batch of the first rows, as keras-hub makes a set of arrays and of lists of texts."""
    import keras
    import tensorflow as tf

    parts = tuple(take_first(part, size) for part in split_arrays(data))
    return tf.data.Dataset.from_tensor_slices(keras.utils.pack_x_y_sample_weight(*parts)).batch(size)


def take_first(part: Any, rows: int) -> Any:
    """The first rows of each array in a structure; a list is an array."""
    if isinstance(part, dict):
        return {key: take_first(value, rows) for key, value in part.items()}
    if isinstance(part, tuple):
        return tuple(take_first(value, rows) for value in part)
    return part if part is None else part[:rows]
