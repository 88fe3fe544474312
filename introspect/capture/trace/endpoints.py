"""What Keras' own methods do in a function of the user's that is followed: `predict` gives values, `fit` trains by a step of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from introspect.capture.framework import name_keras
from introspect.capture.trace.values import has_value
from introspect.errors import StepError

OWNERS = (
    ("keras", "keras.src.backend.tensorflow.trainer", "TensorFlowTrainer"),
    ("tf_keras", "tf_keras.src.engine.training", "Model"),
)
"""Seen on Keras 3.13 to 3.15 and tf_keras 2.19 to 2.21."""

Call = Callable[..., Any]


def list_endpoints(inside: Callable[[], bool], read: Call) -> Iterator[tuple[Any, str, Call]]:
    """(class, name, what takes the method's place); `inside` tells whether the followed step calls, `read` gives tensors' values."""
    for keras, module, name in OWNERS:
        owner = getattr(sys.modules.get(module), name, None)
        if owner is None:
            continue
        for method in ("predict", "predict_on_batch"):
            yield owner, method, answer_prediction(getattr(owner, method), inside, read)
        for method in ("fit", "train_on_batch") if keras == "tf_keras" else ("fit",):
            yield owner, method, refuse_training(getattr(owner, method), method, inside)


def list_refusals(inside: Callable[[], bool]) -> Iterator[tuple[Any, str, Call]]:
    """(module, name, what takes the function's place): tf_keras' endpoints go on in an eager step that is followed, as they
    do in an eager one, to what they raise there. In a tf.function they refuse at once, with another error.

    Seen on tf_keras 2.19 to 2.21.
    """
    module, name = sys.modules.get("tf_keras.src.engine.training"), "_disallow_inside_tf_function"
    refuse = getattr(module, name, None)
    if refuse is not None:
        yield module, name, lambda method: None if inside() else refuse(method)


def answer_prediction(real: Call, inside: Callable[[], bool], read: Call) -> Call:
    """The same of arrays and tensors, as part of the step; what runs more than the model, or takes data from elsewhere, is left."""

    def predict(model: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        import tensorflow as tf

        beside = kwargs.get("steps") or kwargs.get("callbacks") or len(args) > 2
        if not inside() or beside or not all(map(has_value, tf.nest.flatten(x))):
            return real(model, x, *args, **kwargs)
        given = tf.nest.map_structure(lambda part: cast_float(model, part), x)
        return tf.nest.map_structure(read, model.predict_step((given,)))

    return predict


def refuse_training(real: Call, name: str, inside: Callable[[], bool]) -> Call:
    """A step of its own, which is no part of the function's."""

    def train(model: Any, *args: Any, **kwargs: Any) -> Any:
        if not inside():
            return real(model, *args, **kwargs)
        raise StepError(
            f"it calls {name} of model {model.name!r}, which trains by a step of its own; ask about that one: "
            "introspect.inspect(model, data=(x, y))"
        )

    return train


def cast_float(model: Any, part: Any) -> Any:
    """The tensor of an array, in Keras' own type of floats, to which `predict` brings them."""
    import tensorflow as tf

    tensor = tf.convert_to_tensor(part)
    backend: Any = sys.modules[f"{name_keras(model)}.src.backend"]
    return tf.cast(tensor, backend.floatx()) if tensor.dtype.is_floating else tensor
