"""From a file or a factory to a live model."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from introspect.capture.damage import DAMAGE
from introspect.capture.files.modelfile import ModelFile, find_code, read_model_file
from introspect.capture.files.savedstate import compare_saved
from introspect.capture.frames import explain_error
from introspect.capture.framework import name_keras, require_backend, require_tensorflow
from introspect.capture.record import SavedFile
from introspect.capture.trace.guard import preserve
from introspect.errors import BackendError, DataError, LoadError, NotCompiledError

LOSS_ALIASES = (
    ("mse", "mean_squared_error"),
    ("mae", "mean_absolute_error"),
    ("mape", "mean_absolute_percentage_error"),
    ("msle", "mean_squared_logarithmic_error"),
    ("bce", "binary_crossentropy"),
    ("kld", "kl_divergence"),
)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and what its file says about the training before."""

    model: Any
    saved: SavedFile


def load_model_file(
    path: str,
    *,
    custom_objects: str | None = None,
    unsafe: bool = False,
    optimizer: Any = None,
    loss: Any = None,
    jit_compile: bool | None = None,
    steps_per_execution: int | None = None,
) -> LoadedModel:
    """Load a `.keras` or legacy `.h5` file and compile it; random state and Keras' name counters stay as they are.

    Args:
        custom_objects: a module that defines or registers the classes and functions that the file names.
        unsafe: let code from the file run (Lambda layers).
        optimizer, loss, jit_compile, steps_per_execution: for `compile`; what is given replaces what the file says.

    Raises:
        LoadError: the file cannot be loaded.
        BackendError: Keras runs on another backend than TensorFlow.
        NotCompiledError: the file was saved without compile, and optimizer or loss are not given.
    """
    with naming(path):
        if os.path.exists(path):
            require_tensorflow()
        file = read_model_file(path)
        if file.major >= 3:
            require_backend()
    names = read_custom_objects(custom_objects)
    code = None if unsafe else find_code(file, names)
    if code is not None:
        raise LoadError(f"{path}: {code}")
    settings = {"optimizer": optimizer, "loss": loss, "jit_compile": jit_compile}
    settings["steps_per_execution"] = steps_per_execution
    given = {name: value for name, value in settings.items() if value is not None}
    with preserve():
        model = open_model(file, names, unsafe, optimizer is not None and loss is not None)
        saved = compare_saved(file, model)
        if given or not file.compiled:
            compile_loaded(model, file, given)
    return LoadedModel(model, saved)


def open_model(file: ModelFile, names: dict[str, Any], unsafe: bool, replaced: bool) -> Any:
    """Let the Keras that wrote the file load it; `replaced` says that its optimizer and loss are not needed."""
    keras = choose_keras(file)
    names = {**(list_aliases(keras) if file.kind == "h5" else {}), **names}

    def load(compiled: bool) -> Any:
        return keras.models.load_model(file.path, custom_objects=names, compile=compiled, safe_mode=not unsafe)

    try:
        return load(True)
    except Exception as error:
        try:
            model = load(False)
        except Exception:
            raise LoadError(f"{file.path}: {tell_load_error(error)}") from error
        if replaced:
            return model
        raise LoadError(f"{file.path}: {tell_training_error(file, error)}") from error


def list_aliases(keras: Any) -> dict[str, Any]:
    """Short names of losses (`mse`) that Keras 3 writes into .h5 files and does not find again (seen on 3.15)."""
    found = {short: getattr(keras.losses, long, None) for short, long in LOSS_ALIASES}
    return {name: function for name, function in found.items() if function is not None}


def choose_keras(file: ModelFile) -> Any:
    """tf_keras for files of Keras 2, Keras 3 for others."""
    if file.major < 3:
        try:
            return importlib.import_module("tf_keras")
        except ImportError:
            raise LoadError(f"{file.path}: saved by Keras {file.major}; pip install tf_keras to load it") from None
    return importlib.import_module("keras")


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Say in a BackendError which file is not loaded for it."""
    try:
        yield
    except BackendError as error:
        raise BackendError(f"{path}: {error}") from error


def tell_load_error(error: Exception) -> str:
    """What failed and what to do."""
    text = str(error)
    if "Lambda" in text and "safe_mode" in text:
        return "holds a Lambda layer with Python code in it; pass --unsafe (unsafe=True) if you trust the file"
    for sign in (
        "Could not locate",
        "Unknown layer",
        "Unknown loss",
        "Unknown metric",
        "Unknown optimizer",
        "Unknown object",
        "Cannot deserialize object of type",
    ):
        place = text.find(sign)
        if place >= 0:
            said = text[place:].partition(". ")[0].partition("\n")[0]
            return f"{said}; pass --custom-objects MODULE (custom_objects=) with the module that defines it"
    return f"Keras cannot load it: {explain_error(error)}; check that it was saved by a version like this one"


def tell_training_error(file: ModelFile, error: Exception) -> str:
    """The model loads, its optimizer, loss or metrics do not."""
    training = file.config.get("training") if file.kind == "h5" else None
    named = f" (loss {training['loss']!r})" if training and training.get("loss") else ""
    said = tell_load_error(error).partition(";")[0]
    return (
        f"the model loads, its training configuration{named} does not: {said}; "
        "pass --custom-objects MODULE with the module that defines it, or --optimizer and --loss"
    )


def compile_loaded(model: Any, file: ModelFile, given: dict[str, Any]) -> None:
    """Compile with what is given, and for the rest with what the file says."""
    config = getattr(getattr(model, "_compile_config", None), "config", None) or {}
    settings = {**config, **given}
    settings.setdefault("optimizer", getattr(model, "optimizer", None))
    settings.setdefault("loss", getattr(model, "loss", None))
    if settings["optimizer"] is None or settings["loss"] is None:
        missing = " and ".join(f"--{name}" for name in ("optimizer", "loss") if settings[name] is None)
        raise NotCompiledError(f"{file.path}: saved without compile, so no train step is known; pass {missing}")
    try:
        model.compile(**settings)
    except Exception as error:
        raise LoadError(f"{file.path}: cannot be compiled: {explain_error(error)}; check the options") from error


def read_custom_objects(module: str | None) -> dict[str, Any]:
    """Public classes and functions of a module by name; importing it registers those that register themselves."""
    if not module:
        return {}
    loaded = import_module(module, "custom objects")
    return {name: value for name, value in vars(loaded).items() if callable(value) and not name.startswith("_")}


def load_factory(target: str) -> tuple[Any, Any]:
    """Call `package.module:factory` and give back `(model, data)`; data is None where the factory gives a model alone.

    Raises:
        LoadError: there is no such factory, it fails, or it returns something else.
    """
    module, colon, attribute = target.partition(":")
    if not colon or not module or not attribute:
        raise LoadError(f"{target!r} is neither a file nor package.module:factory")
    loaded = import_module(module, target)
    factory = loaded
    for name in attribute.split("."):
        factory = getattr(factory, name, None)
        if factory is None:
            raise LoadError(f"{target}: module {module} has no {attribute}; check the name")
    try:
        made = factory() if callable(factory) and name_keras(factory) == "none" else factory
    except Exception as error:
        raise LoadError(
            f"{target}: {attribute}() failed: {explain_error(error)}; call it by itself to see where"
        ) from error
    model, data = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if name_keras(model) == "none":
        raise LoadError(
            f"{target}: {attribute}() returned {type(made).__name__}; it should return a compiled model, or (model, data)"
        )
    return model, data


def import_module(module: str, purpose: str) -> Any:
    """Import a module as `python -m` would: from the working directory too."""
    with working_directory_first():
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name and f"{module}.".startswith(f"{error.name}."):
                raise LoadError(f"{purpose}: no module {error.name!r}; run it from the folder that holds it") from error
            missing = f"{purpose}: module {module} needs {error.name!r}, which is not found"
            raise LoadError(f"{missing}; install it, or run from the folder that holds it") from error
        except Exception as error:
            raise LoadError(f"{purpose}: importing {module} failed: {explain_error(error)}") from error


@contextmanager
def working_directory_first() -> Iterator[None]:
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def load_batch(path: str) -> Any:
    """One batch from a `.npz` file: arrays `x`, `y`, `sample_weight`, or unnamed ones in that order.

    Raises:
        DataError: there is no such file, or its arrays are named otherwise.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except DAMAGE as error:
        raise DataError(f"{path}: no .npz file that can be read ({error}); write it with numpy.savez") from error
    if all(name.startswith("arr_") for name in arrays) and 1 <= len(arrays) <= 3:
        return tuple(arrays[name] for name in sorted(arrays))
    if "x" not in arrays or set(arrays) - {"x", "y", "sample_weight"}:
        raise DataError(
            f"{path}: holds {', '.join(sorted(arrays)) or 'nothing'}; name the arrays x, y and sample_weight"
        )
    given = [arrays.get(name) for name in ("x", "y", "sample_weight")]
    while given[-1] is None:
        given.pop()
    return tuple(given)
