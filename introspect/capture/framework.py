"""Which Keras a model belongs to, and the versions and devices that a capture was made with."""

from __future__ import annotations

import importlib.util
import platform
import sys
import weakref
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, Literal, cast

from introspect.capture.versions import list_untried
from introspect.errors import BackendError, IntrospectError
from introspect.records import Environment

KerasName = Literal["keras", "tf_keras", "none"]

PUBLIC_STRATEGIES = {
    "CollectiveAllReduceStrategy": "MultiWorkerMirroredStrategy",
    "ParameterServerStrategyV2": "ParameterServerStrategy",
    "TPUStrategyV2": "TPUStrategy",
}

PLAIN: tuple[type, ...] = (str, int, float, type(None), *weakref.ProxyTypes)
"""Classes of most attributes, which hold no object of the framework's: told first, for there are many."""


@cache
def list_bases(kind: Hashable) -> frozenset[tuple[str, str]]:
    """(top package, name) of a class and all that it descends from; a class may hide its `__module__` behind a slot."""
    bases = getattr(kind, "__mro__", ())
    return frozenset((str(base.__module__).partition(".")[0], str(base.__name__)) for base in bases)


def descends(value: object, packages: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether an object's class comes from one of the named classes of one of the packages."""
    return class_descends(cast(Hashable, type(value)), packages, names)


@cache
def class_descends(kind: Hashable, packages: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """The same of a class: asked of each variable several times, so it is remembered."""
    bases = list_bases(kind)
    return any((package, name) in bases for package in packages for name in names)


def name_keras(model: object) -> KerasName:
    """Tell Keras 3 from tf_keras by the classes that `model` descends from; "none" for any other object.

    One process may hold both, so neither the environment nor `sys.modules` decides.
    """
    for base in type(model).__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("keras", "tf_keras"):
            return package  # type: ignore[return-value]
    return "none"


def list_model_variables(model: Any) -> list[Any]:
    """`model.variables`; what exists of them where a Sequential of tf_keras has not been built, which raises. Seen on 2.19 to 2.21."""
    try:
        found = model.variables
    except ValueError:
        found = list_existing(model)
    return [variable for variable in found if not is_weight_handler(variable)]


def list_trained_variables(model: Any, name: str = "trainable_variables") -> list[Any]:
    """`model.trainable_variables`, or what has that name, and the same of what exists."""
    try:
        return list(getattr(model, name))
    except ValueError:
        if name_keras(model) != "tf_keras":
            raise
        return list_existing(model, lambda layer: bool(layer.trainable))


def list_existing(model: Any, trains: Callable[[Any], bool] | None = None) -> list[Any]:
    """Weights that layers of tf_keras have, each once; those that train where `trains` tells it of each layer. Seen on 2.19 to 2.21."""
    found: dict[int, Any] = {}
    stack = [model]
    while stack:
        layer = stack.pop()
        if trains is not None and not trains(layer):
            continue
        own = (*layer._trainable_weights, *(() if trains is not None else layer._non_trainable_weights))
        found |= {id(variable): variable for variable in own}
        stack += reversed(list(layer._flatten_layers(recursive=False, include_self=False)))
    return list(found.values())


def is_weight_handler(value: Any) -> bool:
    """Whether it stands among a layer's weights for a vocabulary or table that is saved with them, and is no variable.

    Seen on tf_keras 2.19 to 2.21.
    """
    return descends(value, ("tf_keras",), ("TrackableWeightHandler",))


def require_model(model: object) -> KerasName:
    """Name the Keras of a model whose step is a TensorFlow graph.

    Raises:
        IntrospectError: `model` is no Keras model.
        BackendError: Keras runs on another backend than TensorFlow, or in sessions of TensorFlow 1.
    """
    keras = name_keras(model)
    refuse_sessions(model)
    if keras == "none" or not hasattr(model, "train_step"):
        kind = type(model)
        raise IntrospectError(
            f"{kind.__module__}.{kind.__qualname__} is no Keras model; "
            "pass a compiled keras.Model, the path of a saved one, or a tf.function with args="
        )
    if keras == "keras":
        require_backend()
    return keras


def refuse_sessions(model: object) -> None:
    """Raise BackendError for a tf_keras model made without eager execution. Seen on tf_keras 2.19 to 2.21."""
    if any(base.__module__ == "tf_keras.src.engine.training_v1" for base in type(model).__mro__):
        raise BackendError(
            "the model trains in sessions of TensorFlow 1, which compile no train_function; "
            "leave tf.compat.v1.disable_eager_execution() and disable_v2_behavior() out"
        )


def require_tensorflow() -> None:
    """Raise BackendError where TensorFlow is not installed; imports nothing, for a factory may have settings to make."""
    try:
        found = importlib.util.find_spec("tensorflow") is not None
    except (ImportError, ValueError):  # a finder that refuses it, a stand-in without a spec
        found = "tensorflow" in sys.modules
    if not found:
        raise BackendError("TensorFlow is not installed here; pip install tensorflow, or run where the model trains")


def import_keras() -> Any:
    """Keras 3, imported if it is not yet.

    Raises:
        BackendError: it is not there, or what it runs on is not.
    """
    try:
        import keras
    except ModuleNotFoundError as error:  # KERAS_BACKEND names another one, which is not installed
        require_tensorflow()
        raise BackendError(
            f"Keras cannot be imported, for module {error.name!r} is missing; "
            "pip install keras, and set KERAS_BACKEND=tensorflow"
        ) from error
    return keras


def require_backend() -> None:
    """Raise BackendError unless Keras 3 runs on TensorFlow."""
    keras = import_keras()
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise BackendError(
            f"Keras runs on the backend {backend!r}, which compiles no TensorFlow graph; "
            "set KERAS_BACKEND=tensorflow before Keras is imported"
        )


def describe_environment(keras: KerasName, strategy: object | None = None) -> Environment:
    """Versions and devices of this process; imports nothing that the model has not imported already."""
    import tensorflow as tf

    devices = tuple(device.name for device in tf.config.list_logical_devices())
    version = keras_version(keras)
    return Environment(
        introspect=introspect_version(),
        tensorflow=tf.__version__,
        keras=version,
        python=platform.python_version(),
        devices=devices,
        strategy=name_strategy(strategy),
        warnings=list_untried({"tensorflow": tf.__version__, keras: version}),
    )


def keras_version(keras: KerasName) -> str | None:
    module: Any = sys.modules.get(keras)
    return None if module is None else str(module.__version__)


@cache
def introspect_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("introspect-keras")
    except PackageNotFoundError:
        return "0"


def name_strategy(strategy: object | None) -> str | None:
    """Name of a distribution strategy, as `tf.distribute` has it; None for TensorFlow's default one."""
    if strategy is None:
        return None
    name = type(strategy).__name__
    if name in ("_DefaultDistributionStrategy", "_DefaultDistributionStrategyV1"):
        return None
    return PUBLIC_STRATEGIES.get(name, name)
