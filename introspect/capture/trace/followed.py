"""A step that runs eagerly and asks for values of tensors in Python, traced all the same: along the way of one batch.

While the graph is made, each value that Python asks for is computed from the graph so far, on copies of what it writes:
the ops before it, in the order in which Python made them. Nothing of the model's is run or written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from introspect.capture.measurement.instrument import SILENCED
from introspect.capture.measurement.shadow import Library, call_by_name, copy_variable, find_obstacle, unique_suffix
from introspect.capture.measurement.taps import name_in_function
from introspect.capture.trace.eagerness import belongs, find_caller, is_own, questions, reply_eagerly
from introspect.capture.trace.tracing import enter_fit
from introspect.capture.trace.twin import Twin
from introspect.errors import StepError
from introspect.records import Location

MOST = 200
"""Values that one step may ask for; each runs the step up to there."""


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
    step: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, tuple[Location, ...]]:
    """The same of a function of the user's own, on the tensors and arrays among its arguments.

    Raises:
        StepError: no argument has a value that a tensor can hold.
    """
    import numpy as np
    import tensorflow as tf

    given = tf.nest.flatten((args, kwargs))
    valued = [isinstance(value, (tf.Tensor, np.ndarray)) for value in given]
    batch = [tf.convert_to_tensor(value) for value, has_value in zip(given, valued, strict=True) if has_value]
    if not batch:
        raise StepError("the step is given no tensor")
    answers = Answers(batch)

    def run(*tensors: Any) -> list[Any]:
        answers.begin(list(tensors))
        rest = iter(tensors)
        filled = [next(rest) if has_value else value for value, has_value in zip(given, valued, strict=True)]
        own_args, own_kwargs = tf.nest.pack_sequence_as((args, kwargs), filled)
        with tf.variable_creator_scope(answers.create):
            return [value for value in tf.nest.flatten(step(*own_args, **own_kwargs)) if isinstance(value, tf.Tensor)]

    with answers.given(), questions(reply_eagerly(lambda: answers.graph)):
        concrete = tf.function(run, autograph=False).get_concrete_function(*batch)
    return concrete, answers.places


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

    @property
    def places(self) -> tuple[Location, ...]:
        """The user's lines that asked, each once."""
        return tuple(dict.fromkeys(place for place in self.asked if place is not None))

    def begin(self, placeholders: list[Any]) -> None:
        """A trace begins, of which these are the arguments."""
        self.graph = placeholders[0].graph
        self._fed = {placeholder.name: value for placeholder, value in zip(placeholders, self.batch, strict=True)}

    def knows(self, tensor: Any) -> bool:
        """Whether the tensor stands in the step itself; in a function that it calls no Python has values either."""
        return self.graph is not None and getattr(tensor, "graph", None) is self.graph

    def value(self, tensor: Any) -> Any:
        """The tensor's value, as numpy.

        Raises:
            StepError: it cannot be computed without a trace left outside.
        """
        if len(self.asked) >= MOST:
            raise StepError(f"the step asks for more than {MOST} values of tensors in Python")
        self.asked.append(find_caller())
        function, feeds = cut_function(tensor, self._fed)
        library = list(self.graph.as_graph_def().library.function)
        obstacle = find_obstacle([*function.node_def, *(node for part in library for node in part.node_def)], SILENCED)
        if obstacle is not None:
            raise StepError(f"the step uses {obstacle}, which a run on copies would not undo")
        import tensorflow as tf

        with tf.init_scope(), Library() as registered:
            registered.add([function])
            return call_by_name(function.signature.name, substitute(feeds), 1)[0].numpy()

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
        from tensorflow.python.framework.ops import SymbolicTensor
        from tensorflow.python.ops.resource_variable_ops import BaseResourceVariable

        patched: list[tuple[Any, str, Any]] = []

        def patch(owner: Any, name: str, attribute: Any) -> None:
            patched.append((owner, name, vars(owner).get(name)))
            setattr(owner, name, attribute)

        for name, answer in list_answers(self).items():
            patch(SymbolicTensor, name, answer)
        read = BaseResourceVariable.numpy

        def read_value(variable: Any) -> Any:
            import tensorflow as tf

            return self.value(variable.read_value()) if self._inside(tf) else read(variable)

        patch(BaseResourceVariable, "numpy", read_value)
        backend: Any = sys.modules.get("tf_keras.src.backend")
        if backend is not None:
            many = backend.batch_get_value

            def read_values(tensors: Any) -> Any:
                """What `get_weights` of tf_keras asks, which raises inside of a graph. Seen on tf_keras 2.19 to 2.21."""
                import tensorflow as tf

                return [variable.numpy() for variable in tensors] if self._inside(tf) else many(tensors)

            patch(backend, "batch_get_value", read_values)
        try:
            yield
        finally:
            for owner, name, before in reversed(patched):
                if before is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)

    def _inside(self, tf: Any) -> bool:
        return self.graph is not None and tf.compat.v1.get_default_graph() is self.graph


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


def cut_function(tensor: Any, fed: dict[str, Any]) -> tuple[Any, list[Any]]:
    """A function that computes a tensor of an unfinished graph, and the values of its arguments.

    Ops with state run in the order they were made in, those that the tensor does not need too: they may write what it
    reads.
    """
    from tensorflow.core.framework import function_pb2

    graph = tensor.graph
    outside = {inside.name: value for value, inside in graph.captures}
    needed = find_needed(graph, tensor.op)
    function = function_pb2.FunctionDef()
    function.signature.name = f"followed{unique_suffix()}"
    function.signature.is_stateful = True
    feeds: list[Any] = []
    arguments: dict[str, str] = {}
    before: str | None = None
    for operation in graph.get_operations():
        if operation not in needed:
            continue
        if operation.type == "Placeholder":
            output = operation.outputs[0]
            if output.name not in fed and output.name not in outside:
                raise StepError(f"the value of {output.name} is not known")
            arguments[output.name] = f"arg_{len(feeds)}"
            function.signature.input_arg.add(name=arguments[output.name], type=output.dtype.as_datatype_enum)
            feeds.append(fed[output.name] if output.name in fed else outside[output.name])
            continue
        before = add_operation(function, operation, arguments, needed, before)
    function.signature.output_arg.add(name="value", type=tensor.dtype.as_datatype_enum)
    function.ret["value"] = arguments.get(tensor.name) or name_in_function(tensor)
    return function, feeds


def find_needed(graph: Any, end: Any) -> set[Any]:
    """The op, all ops with state, and what they need."""
    queue = [end, *(one for one in graph.get_operations() if is_stateful(one))]
    needed: set[Any] = set()
    while queue:
        operation = queue.pop()
        if operation not in needed:
            needed.add(operation)
            queue += [tensor.op for tensor in operation.inputs]
            queue += operation.control_inputs
    return needed


def is_stateful(operation: Any) -> bool:
    """Whether the op must run in its turn; what speaks to the outside is left out."""
    kept = operation.type not in ("Placeholder", *SILENCED)
    return bool(kept and operation._is_stateful)


def add_operation(
    function: Any, operation: Any, arguments: dict[str, str], needed: set[Any], before: str | None
) -> str | None:
    """Add an op's node; gives the name of the last op with state."""
    node = function.node_def.add()
    node.CopyFrom(operation.node_def)
    inputs = [arguments.get(tensor.name) or name_in_function(tensor) for tensor in operation.inputs]
    controls = [one.name for one in operation.control_inputs if one in needed and one.type != "Placeholder"]
    stateful = is_stateful(operation)
    if stateful and before is not None:
        controls.append(before)
    del node.input[:]
    node.input.extend([*inputs, *(f"^{name}" for name in dict.fromkeys(controls))])
    return str(operation.name) if stateful else before


def substitute(feeds: Sequence[Any]) -> list[Any]:
    """The arguments, with copies in the place of variables."""
    import tensorflow as tf

    copies = []
    for value in feeds:
        data = getattr(value, "_handle_data", None)
        if value.dtype != tf.resource or data is None or not data.is_set or not data.shape_and_type:
            copies.append(value)
            continue
        kind = data.shape_and_type[0]
        shape = tf.TensorShape(kind.shape)
        copies.append(copy_variable(SimpleNamespace(handle=value, dtype=tf.as_dtype(kind.dtype), shape=shape)))
    return copies
