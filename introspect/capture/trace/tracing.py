"""The step that `fit` would build, traced on a twin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from introspect.capture.framework import KerasName
from introspect.capture.slots import COPY_MARK
from introspect.capture.trace.flagstate import keep_flags
from introspect.capture.trace.inputs import empty_dataset, is_split, take_part
from introspect.capture.trace.late import has_started
from introspect.capture.trace.step import find_functions
from introspect.capture.trace.twin import Twin, forget_build
from introspect.capture.trace.workers import stay_alone, uses_coordinator


def trace_twin(twin: Twin, spec: Any) -> Any:
    """The concrete function of the twin's step for batches of `spec`; raises what Keras raises.

    Call it inside `guard.preserve` only.
    """
    model = twin.model
    with stay_alone(model.distribute_strategy), enter_fit(model, twin.keras):
        built = prebuild_optimizer(model, twin.keras)
        build_distributed(model, twin.keras, spec)
        if not built:
            return trace_function(twin, spec)
        concrete: Any = None
        with keep_flags(model, twin.keras):
            try:
                concrete = trace_function(twin, spec)
            except Exception:
                if not has_moved(model, built):
                    raise
            if not has_moved(model, built):
                return concrete
        # A call() sets flags: in fit the optimizer is built for those of after it.
        forget_build(model.optimizer)
        model.__dict__["train_function"] = None
        return trace_function(twin, spec)


def trace_function(twin: Twin, spec: Any) -> Any:
    """The concrete function of a train function that is made now."""
    twin.model.make_train_function()
    function: Any = find_functions(twin.model, twin.keras).outer
    return function.get_concrete_function(make_iterator(spec, twin.model.distribute_strategy))


def has_moved(model: Any, built: Sequence[Any]) -> bool:
    """Whether other variables train now than those that an optimizer was built for."""
    return [id(variable) for variable in model.trainable_weights] != [id(variable) for variable in built]


def enter_fit(model: Any, keras: KerasName) -> Any:
    """What `fit` stands in while it traces the step: for tf_keras the strategy's scope and the flags of `compile()`.

    The flags are written and written back, so enter it inside the guard only.
    """
    stack = ExitStack()
    if keras == "tf_keras":
        from tf_keras.src.engine.training_utils import RespectCompiledTrainableState

        stack.enter_context(enter_strategy(model, keras))
        stack.enter_context(RespectCompiledTrainableState(model))
    return stack


def enter_strategy(model: Any, keras: KerasName) -> Any:
    """The strategy's scope, in which tf_keras calls the step; Keras 3 calls it outside."""
    return model.distribute_strategy.scope() if keras == "tf_keras" else nullcontext()


def prebuild_optimizer(model: Any, keras: KerasName) -> list[Any]:
    """Build the twin's optimizer before the trace where Keras' own `train_step` would build it just so within.

    Returns the variables that it was built for; none where it was not.

    A trace that creates variables is thrown away and made a second time; without slots to create, one trace does. In a
    step that has had its first call this would hide that none may be created there.
    """
    optimizer = getattr(model, "optimizer", None)
    if keras != "keras" or has_custom_step(model) or optimizer is None or optimizer.built:
        return []
    if has_started(vars(model)[COPY_MARK], keras):
        return []
    variables = list(model.trainable_weights)
    # else the trace makes more variables
    if not (variables and is_built_whole(model) and model._distribute_strategy is None):
        return []
    optimizer.build(variables)
    return variables


def is_built_whole(model: Any) -> bool:
    """Whether every layer of the model is built."""
    return all(layer.built for layer in model._flatten_layers())


def has_custom_step(model: Any) -> bool:
    """Whether `train_step` is another than Keras' own."""
    step = vars(model).get("train_step", type(model).train_step)
    own = ("keras.src.backend.tensorflow.trainer", "tf_keras.src.engine.training")
    return getattr(step, "__module__", "") not in own


def build_distributed(model: Any, keras: KerasName, spec: Any) -> None:
    """Under a strategy Keras 3 builds model, metrics and optimizer before the step is traced (`_symbolic_build`)."""
    if keras == "keras" and model._distribute_strategy is not None:
        with model._distribute_strategy.scope():
            model._symbolic_build(data_batch=take_part(spec))


def make_iterator(spec: Any, strategy: Any) -> Any:
    """The argument that `fit` would call the step with: an iterator's type, or an iterator over nothing.

    A coordinator's workers have iterators of their own, which yield what a plain one does. A set that the user has
    distributed is split already, and would be a second time.
    """
    import tensorflow as tf

    if not is_distributed(strategy) or uses_coordinator(strategy):
        return tf.data.IteratorSpec(spec)
    if is_split(spec):
        part = take_part(spec)
        return iter(strategy.distribute_datasets_from_function(lambda _: empty_dataset(part)))
    return iter(strategy.experimental_distribute_dataset(empty_dataset(spec)))


def is_distributed(strategy: Any) -> bool:
    return type(strategy).__name__ not in ("_DefaultDistributionStrategy", "_DefaultDistributionStrategyV1")
