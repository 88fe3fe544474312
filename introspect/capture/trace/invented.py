"""Batch types made up from a model's inputs, outputs and loss, for a step that nobody has given data for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.framework import KerasName


def invent_specs(model: Any, keras: KerasName, batch_size: int | None = None) -> Iterator[Any]:
    """Specs of `(x, y)` batches that `fit` may be given, the likeliest first; none where the inputs are not known.

    Targets have the outputs' shape, or class indices where the loss takes such; a `train_step` of the user's may take
    `x` alone.
    """
    seen: list[Any] = []
    for inputs in invent_inputs(model, keras):
        outputs = invent_outputs(model, keras, inputs)
        for targets in invent_targets(model, outputs):
            batch = freeze_lists((inputs,) if targets is None else (inputs, targets))
            for spec in (batch, batch[0]) if targets is None else (batch,):
                if spec not in seen:
                    seen.append(spec)
                    yield spec if batch_size is None else size_batch(spec, batch_size)


def freeze_lists(structure: Any) -> Any:
    """Lists as tuples, as tf.data has them."""
    if isinstance(structure, dict):
        return {key: freeze_lists(part) for key, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        return tuple(freeze_lists(part) for part in structure)
    return structure


def size_batch(batch: Any, size: int) -> Any:
    """Specs with their open first size set."""
    import tensorflow as tf

    def close(spec: Any) -> Any:
        if not isinstance(spec, tf.TensorSpec) or not spec.shape.rank or spec.shape[0] is not None:
            return spec
        return tf.TensorSpec([size, *spec.shape[1:]], spec.dtype)

    return tf.nest.map_structure(close, batch)


def invent_inputs(model: Any, keras: KerasName) -> Iterator[Any]:
    """Structures of input specs: as the model was built with, by its dtype, then as indices."""
    structure = read_inputs(model, keras)
    if structure is None:
        return
    yield structure
    import tensorflow as tf

    if not getattr(model, "inputs", None):  # only shapes are known: a first layer may look its input up
        yield tf.nest.map_structure(lambda spec: tf.TensorSpec(spec.shape, tf.int32), structure)


def read_inputs(model: Any, keras: KerasName) -> Any | None:
    """The model's inputs as TensorSpecs: of a functional model, else by the shapes it was built with."""
    import tensorflow as tf

    struct = getattr(model, "_inputs_struct", None)
    if struct is None:
        struct = getattr(getattr(model, "_functional", None), "_inputs_struct", None)
    if struct is None and keras == "tf_keras":
        struct = getattr(model, "_nested_inputs", None)
    if struct is None:
        struct = getattr(model, "inputs", None) or None
        struct = struct[0] if isinstance(struct, (list, tuple)) and len(struct) == 1 else struct
    if struct is not None:
        return tf.nest.map_structure(to_spec, struct)
    shapes = read_shapes(model, keras)
    return None if shapes is None else shapes


def read_shapes(model: Any, keras: KerasName) -> Any | None:
    """Input specs from what `build` recorded for a subclassed model."""
    import tensorflow as tf

    if keras == "tf_keras":
        saved = getattr(model, "_saved_model_inputs_spec", None)
        return None if saved is None else tf.nest.map_structure(lambda spec: open_batch(spec.shape, spec.dtype), saved)
    recorded = getattr(model, "_build_shapes_dict", None)
    if not recorded:
        return None
    dtype = getattr(model, "compute_dtype", None) or "float32"
    dtype = model.variable_dtype if "float" in str(dtype) else dtype
    shapes = list(recorded.values())
    return map_shapes(shapes[0], lambda shape: open_batch(shape, dtype))


def map_shapes(shapes: Any, make: Any) -> Any:
    """Apply `make` to each shape tuple in a structure of shapes."""
    if isinstance(shapes, dict):
        return {key: map_shapes(part, make) for key, part in shapes.items()}
    if isinstance(shapes, (list, tuple)) and shapes and isinstance(shapes[0], (list, tuple, dict)):
        return tuple(map_shapes(part, make) for part in shapes)
    return make(tuple(shapes))


def open_batch(shape: Any, dtype: Any) -> Any:
    """A spec whose first size is open, as the batches of arrays have it."""
    import tensorflow as tf

    sizes = tf.TensorShape(shape)
    if sizes.rank:
        sizes = tf.TensorShape([None, *sizes[1:]])
    return tf.TensorSpec(sizes, dtype)


def to_spec(tensor: Any) -> Any:
    """TensorSpec of a symbolic Keras tensor."""
    import tensorflow as tf

    spec = getattr(tensor, "type_spec", None)
    if spec is not None:
        return spec if not isinstance(spec, tf.TensorSpec) else tf.TensorSpec(spec.shape, spec.dtype)
    return tf.TensorSpec(tensor.shape, tensor.dtype)


def invent_outputs(model: Any, keras: KerasName, inputs: Any) -> Any | None:
    """The model's outputs as specs; None where they are not known without data."""
    import tensorflow as tf

    for holder in (model, getattr(model, "_functional", None)):
        for name in ("_outputs_struct", "_nested_outputs"):
            struct = getattr(holder, name, None)
            if struct is not None:
                return tf.nest.map_structure(to_spec, struct)
    try:
        if keras == "keras":
            struct = model.compute_output_spec(tf.nest.map_structure(to_symbolic, inputs))
        else:
            struct = tf.function(lambda batch: model(batch)).get_concrete_function(inputs).structured_outputs
    except Exception:
        return None
    return tf.nest.map_structure(lambda tensor: open_batch(tensor.shape, tensor.dtype), struct)


def to_symbolic(spec: Any) -> Any:
    import keras

    return keras.KerasTensor(tuple(spec.shape), spec.dtype.name)


def invent_targets(model: Any, outputs: Any | None) -> Iterator[Any]:
    """Structures of target specs, the likeliest first; None stands for a batch of inputs alone."""
    import tensorflow as tf

    if outputs is None:
        yield tf.TensorSpec([None, 1], tf.float32)
        yield None
        return
    losses = spread_losses(getattr(model, "loss", None), outputs)
    dense = tf.nest.map_structure(target_like, outputs)
    indices = tf.nest.map_structure(index_target, outputs)
    flat = [
        index if takes_indices(loss) else target
        for loss, index, target in zip(losses, tf.nest.flatten(indices), tf.nest.flatten(dense), strict=True)
    ]
    yield tf.nest.pack_sequence_as(outputs, flat)
    yield dense
    yield indices
    yield None


def target_like(output: Any) -> Any:
    """A target of an output's own shape, as `float32`."""
    import tensorflow as tf

    return tf.TensorSpec(output.shape, tf.float32 if output.dtype.is_floating else output.dtype)


def index_target(output: Any) -> Any:
    """Class indices for an output: its shape without the last axis."""
    import tensorflow as tf

    shape = output.shape[:-1] if output.shape.rank and output.shape.rank > 1 else output.shape
    return tf.TensorSpec(shape, tf.int64)


def spread_losses(loss: Any, outputs: Any) -> list[Any]:
    """One loss for each flat output, as far as the structure of `loss` says."""
    import tensorflow as tf

    count = len(tf.nest.flatten(outputs))
    if isinstance(loss, dict):
        named = [loss.get(key) for key in outputs] if isinstance(outputs, dict) else list(loss.values())
        losses = [part for value in named for part in (value if isinstance(value, (list, tuple)) else [value])]
    else:
        losses = list(loss) if isinstance(loss, (list, tuple)) else [loss] * count
    return losses if len(losses) == count else [None] * count


def takes_indices(loss: Any) -> bool:
    """Whether a loss compares class indices with scores, by its name."""
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or getattr(loss, "__name__", "")
    names = f"{name} {type(loss).__name__}".lower()
    return "sparse" in names
