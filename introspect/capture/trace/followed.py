"""A step that runs eagerly and asks for values of tensors in Python, traced all the same: along the way of one batch.

While the graph is made, each value that Python asks for is computed from the graph so far, on copies of what it writes:
the ops before it, in the order in which Python made them. Nothing of the model's is run or written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from introspect.capture.trace.eagerness import belongs, find_caller, is_own, questions, reply_eagerly
from introspect.capture.trace.endpoints import list_endpoints, list_refusals
from introspect.capture.trace.partial import PartialStep
from introspect.capture.trace.replaced import replaced
from introspect.capture.trace.tracing import enter_fit
from introspect.capture.trace.twin import Twin
from introspect.capture.trace.values import CONVERSIONS, has_value, keep_memory, keep_origin, remember
from introspect.capture.variables import unwrap_variable
from introspect.errors import StepError
from introspect.records import Location

SETTINGS = ("initial_value", "trainable", "name", "dtype", "constraint", "synchronization", "aggregation", "shape")
"""Of a variable, as `tf.Variable` takes them."""


def follow_step(twin: Twin, batch: Any, switched: bool) -> tuple[Any, tuple[Location, ...]]:
    """The concrete function of the twin's eager step on this batch, and where Python asked for values; raises what
    the step raises. `switched` says that the user runs all functions eagerly.

    Call it inside `guard.preserve` only.
    """
    import tensorflow as tf

    model = twin.model
    model.__dict__["_run_eagerly"] = True
    answers = Answers(tf.nest.flatten(batch, expand_composites=True))
    with (
        enter_fit(model, twin.keras),
        answers.given(),
        questions(reply_eagerly(lambda: answers.graph)),
        replaced(list_refusals(lambda: belongs(tf.compat.v1.get_default_graph(), answers.graph))),
        run_functions_eagerly(switched),
    ):
        model.make_train_function()
        run: Callable[[Any], Any] = model.train_function

        def step(data: Any) -> Any:
            answers.begin(tf.nest.flatten(data, expand_composites=True))
            with tf.variable_creator_scope(answers.create):
                return run(iter([data]))

        spec = tf.nest.map_structure(tf.type_spec_from_value, batch)
        concrete = tf.function(step, autograph=False).get_concrete_function(spec)
    return concrete, answers.places


def follow_function(
    step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], as_arrays: bool = False
) -> tuple[Any, tuple[Location, ...]]:
    """The same of a function of the user's own, on the tensors and arrays among its arguments, if it has any.

    With `as_arrays` it is given its arrays as such, so that what is made of them holds for this call alone.
    """
    import numpy as np
    import tensorflow as tf

    given = tf.nest.flatten((args, kwargs))
    valued = [has_value(value) for value in given]
    batch = [tf.convert_to_tensor(value) for value in list_valued(args, kwargs)]
    answers = Answers(batch)

    def hand(value: Any, tensor: Any) -> Any:
        return remember(value, tensor) if as_arrays and isinstance(value, np.ndarray) else tensor

    def run(*tensors: Any) -> list[Any]:
        answers.begin(list(tensors))
        rest = iter(tensors)
        filled = [hand(value, next(rest)) if fed else value for value, fed in zip(given, valued, strict=True)]
        own_args, own_kwargs = tf.nest.pack_sequence_as((args, kwargs), filled)
        with tf.variable_creator_scope(answers.create):
            return [value for value in tf.nest.flatten(step(*own_args, **own_kwargs)) if isinstance(value, tf.Tensor)]

    with answers.given(), answers.called(), questions(reply_eagerly(lambda: answers.graph)), tell_endless():
        concrete = tf.function(run, autograph=False).get_concrete_function(*batch)
    return concrete, answers.places


ENDLESS = ("`tf.data.Iterator.get_next()` calls was detected", "'AnonymousIterator")
"""What is said of a loop over a data set: that its end is not reached, or that its iterator cannot be run on a copy."""


@contextmanager
def tell_endless() -> Iterator[None]:
    """Say what to do where Python goes through a data set, which has no end while it is traced. Seen on TensorFlow 2.19 to 2.21."""
    try:
        yield
    except Exception as error:
        if not any(part in str(error) for part in ENDLESS):
            raise
        raise StepError(
            "it loops over a data set and takes values of tensors into Python, so it can be followed on batches alone: give "
            "it a list of them in the set's place, args=(list(dataset.take(2)),)"
        ) from error


def list_valued(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The tensors and arrays among arguments."""
    import tensorflow as tf

    return [value for value in tf.nest.flatten((args, kwargs)) if has_value(value)]


@contextmanager
def run_functions_eagerly(value: bool) -> Iterator[None]:
    """The user's own setting: a tf.function is then part of the step. The guard has put it out."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(value)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


class Answers:
    """Values of tensors of the graph that is being made."""

    def __init__(self, batch: list[Any]) -> None:
        self.batch = batch
        self.asked: list[Location | None] = []
        self.graph: Any = None
        self._fed: dict[str, Any] = {}
        self._partial: PartialStep | None = None

    @property
    def places(self) -> tuple[Location, ...]:
        """The user's lines that asked, each once."""
        return tuple(dict.fromkeys(place for place in self.asked if place is not None))

    def begin(self, placeholders: list[Any]) -> None:
        """A trace begins, of which these are the arguments."""
        import tensorflow as tf

        self.graph = tf.compat.v1.get_default_graph()
        self._fed = {placeholder.name: value for placeholder, value in zip(placeholders, self.batch, strict=True)}

    def knows(self, tensor: Any) -> bool:
        """Whether the tensor stands in the step itself; in a function that it calls no Python has values either."""
        return self.graph is not None and getattr(tensor, "graph", None) is self.graph

    def value(self, tensor: Any) -> Any:
        """The tensor's value, as numpy, which remembers the tensor; raises what `PartialStep.compute` raises."""
        self.asked.append(find_caller())
        if self._partial is None or self._partial.graph is not self.graph:
            self._partial = PartialStep(self.graph, self._fed)
        return remember(self._partial.compute(tensor), tensor)

    def recall(self, value: Any) -> Any:
        """The array of a tensor or a variable, or those of a list, which remembers; other values as they are."""
        import tensorflow as tf
        from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

        if type(value) in (list, tuple):
            return type(value)(map(self.recall, value))
        raw = unwrap_variable(value)
        if isinstance(raw, BaseResourceVariable):
            return raw.numpy() if self._inside() else value
        return self.value(raw) if isinstance(raw, tf.Tensor) and self.knows(raw) else value

    def create(self, _: Any, **settings: Any) -> Any:
        """A variable that the step makes: with a value at once, as it has where the step runs eagerly."""
        import tensorflow as tf
        from tensorflow.python.ops.resource_variable_ops import ResourceVariable

        initial = settings.get("initial_value")
        if isinstance(initial, tf.Tensor) and self.knows(initial):
            settings["initial_value"] = self.value(initial)
        with tf.init_scope():
            return ResourceVariable(**{name: settings[name] for name in SETTINGS if settings.get(name) is not None})

    @contextmanager
    def given(self) -> Iterator[None]:
        """Let Python have them, as it has those of eager tensors. Seen on TensorFlow 2.19 to 2.21."""
        import numpy as np
        from tensorflow.python.framework import constant_op
        from tensorflow.python.framework.ops import SymbolicTensor
        from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

        read = BaseResourceVariable.numpy

        def read_value(variable: Any) -> Any:
            return self.value(variable.read_value()) if self._inside() else read(variable)

        changes = [(SymbolicTensor, name, answer) for name, answer in list_answers(self).items()]
        changes.append((constant_op, "_constant_impl", keep_origin(constant_op._constant_impl)))
        changes.append((BaseResourceVariable, "numpy", read_value))
        changes += [(np, name, keep_memory(getattr(np, name), self.recall)) for name in CONVERSIONS]
        backend: Any = sys.modules.get("tf_keras.src.backend")
        if backend is not None:
            changes += [(backend, name, answer) for name, answer in list_weight_calls(backend, self._inside).items()]
        with replaced(changes):
            yield

    @contextmanager
    def called(self) -> Iterator[None]:
        """Let methods of Keras' models, which raise in a graph, be called as where the function runs eagerly."""
        with replaced(list_endpoints(self._inside, self._read)):
            yield

    def _read(self, tensor: Any) -> Any:
        return self.value(tensor) if self.knows(tensor) else tensor

    def _inside(self) -> bool:
        import tensorflow as tf

        return self.graph is not None and tf.compat.v1.get_default_graph() is self.graph


def list_weight_calls(backend: Any, inside: Callable[[], bool]) -> dict[str, Any]:
    """What `get_weights` and `set_weights` of tf_keras call, which raises inside of a graph, or forgets what an array is
    made of. Seen on tf_keras 2.19 to 2.21.
    """
    import numpy as np

    get, put = backend.batch_get_value, backend.batch_set_value

    def batch_get_value(tensors: Any) -> Any:
        return [variable.numpy() for variable in tensors] if inside() else get(tensors)

    def batch_set_value(pairs: Any) -> None:
        if not inside():
            put(pairs)
            return
        for variable, value in pairs:
            variable.assign(np.asanyarray(value, dtype=backend.dtype_numpy(variable)))

    return {"batch_get_value": batch_get_value, "batch_set_value": batch_set_value}


def list_answers(answers: Answers) -> dict[str, Any]:
    """What Python may do with a tensor that has a value, by the name of the method; for others it is as it was."""
    import numpy as np
    from tensorflow.python.framework.tensor import Tensor

    def convert(name: str, make: Callable[..., Any]) -> Any:
        def method(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            if answers.knows(tensor):
                return make(answers.value(tensor), *args, **kwargs)
            before = getattr(Tensor, name, None)
            if before is None:
                raise TypeError(f"{name} of a tensor without a value: {tensor!r}")
            return before(tensor, *args, **kwargs)

        return method

    def give_array(value: Any, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(value, dtype)

    def walk(tensor: Any) -> Iterator[Any]:
        size = tensor.shape[0] if tensor.shape.rank else None
        if not answers.knows(tensor) or size is None:
            return Tensor.__iter__(tensor)  # type: ignore[no-any-return]
        return (tensor[place] for place in range(size))

    named: dict[str, Callable[..., Any]] = {
        "__bool__": bool,
        "__float__": float,
        "__int__": int,
        "__index__": lambda value: value.__index__(),
    }
    return {
        **{name: convert(name, make) for name, make in named.items()},
        "__len__": convert("__len__", len),
        "__format__": convert("__format__", format),
        "__array__": convert("__array__", give_array),
        "__iter__": walk,
        "numpy": property(partial(read_numpy, answers)),
    }


def read_numpy(answers: Answers, tensor: Any) -> Any:
    """The method of that name; a tensor without a value has none."""
    if answers.knows(tensor):
        return lambda: answers.value(tensor)
    if belongs(tensor.graph, answers.graph) and is_own(sys._getframe(1)):
        raise StepError("the step asks for a value inside of a branch or a loop of the graph's")
    from tensorflow.python.framework.tensor import Tensor

    return Tensor.__getattr__(tensor, "numpy")
