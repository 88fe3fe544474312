"""What a model file says before Keras opens it: its kind, its Keras, whether it holds code, and its optimizer's arrays."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from introspect.capture.damage import DAMAGE
from introspect.errors import LoadError

ZIP_MAGIC = b"PK\x03\x04"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
WEIGHTS = "model.weights.h5"

SAFE_PACKAGES = ("", "builtins", "keras", "tf_keras", "keras_hub", "keras_nlp", "keras_cv")
"""Packages whose names in a config make Keras import nothing of the file's choosing."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The facts of one file."""

    path: str
    kind: Literal["keras", "h5"]
    major: int
    """Keras 3, or 2 for tf_keras."""
    config: dict[str, Any]
    compiled: bool
    arrays: tuple[tuple[str, tuple[int, ...]], ...] | None
    """(name, shape) of the optimizer's saved variables in their order; None where the file holds no optimizer."""

    def names_optimizer(self) -> bool:
        """Whether the settings for `compile` say which optimizer it was; Keras 3 loses it to an .h5 file saved before (3.13 to 3.15)."""
        key, name = ("compile_config", "optimizer") if self.kind == "keras" else ("training", "optimizer_config")
        settings = self.config.get(key)
        return isinstance(settings, dict) and settings.get(name) is not None


def read_model_file(path: str) -> ModelFile:
    """Look into a `.keras` or `.h5` file without loading the model.

    Raises:
        LoadError: there is no such file, or it is no model.
    """
    if not os.path.exists(path):
        raise LoadError(f"{path}: no such file; pass a .keras or .h5 file, or package.module:factory")
    if os.path.isdir(path):
        raise LoadError(
            f"{path}: a directory, not a model file; a SavedModel holds no training step, save with model.save('x.keras')"
        )
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise LoadError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if magic.startswith(ZIP_MAGIC):
        return read_zip(path)
    if magic == HDF5_MAGIC:
        return read_hdf5(path)
    raise LoadError(f"{path}: neither a .keras archive nor an HDF5 file; save with model.save('x.keras')")


def read_zip(path: str) -> ModelFile:
    """A `.keras` archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            if "config.json" not in names:
                raise LoadError(f"{path}: a zip archive, but no Keras model (no config.json in it)")
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
            arrays = read_optimizer_arrays(archive.read(WEIGHTS)) if WEIGHTS in names else None
            major = read_major(metadata.get("keras_version"))
            return ModelFile(path, "keras", major, config, bool(config.get("compile_config")), arrays)
    except LoadError:
        raise
    except DAMAGE as error:
        raise LoadError(f"{path}: {tell_damage(error)}") from error


def tell_damage(error: Exception) -> str:
    return f"damaged or cut short ({' '.join(str(error).split())}); copy or save it again"


def read_optimizer_arrays(data: bytes) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """The arrays below `optimizer` in a `.keras` archive's weights, numbered in order; wrapped optimizers' after."""
    import h5py

    with h5py.File(io.BytesIO(data), "r") as file:
        if "optimizer" not in file:
            return None
        return tuple(walk_arrays(file["optimizer"], ""))


def walk_arrays(group: Any, path: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    if "vars" in group:
        variables = group["vars"]
        for name in sorted(variables, key=lambda key: (len(key), key)):
            yield f"{path}vars/{name}", tuple(variables[name].shape)
    for name in group:
        if name != "vars":
            yield from walk_arrays(group[name], f"{path}{name}/")


def read_hdf5(path: str) -> ModelFile:
    """A legacy `.h5` file."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            if text is None:
                raise LoadError(
                    f"{path}: holds weights only; build the model in code and pass package.module:factory instead"
                )
            config = json.loads(decode_text(text))
            training = json.loads(decode_text(file.attrs.get("training_config", "null")))
            major = read_major(decode_text(file.attrs.get("keras_version", "2")))
            arrays = read_legacy_arrays(file)
    except LoadError:
        raise
    except DAMAGE as error:
        raise LoadError(f"{path}: {tell_damage(error)}") from error
    return ModelFile(path, "h5", major, {"model": config, "training": training}, training is not None, arrays)


def read_legacy_arrays(file: Any) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    group = file.get("optimizer_weights")
    if group is None:
        return None
    names = [decode_text(name) for name in group.attrs.get("weight_names", ())]
    return tuple((name, tuple(group[name].shape)) for name in names)


def decode_text(text: Any) -> str:
    return text.decode() if isinstance(text, bytes) else str(text)


def read_major(version: object) -> int:
    """The major version in a Keras version string; 3 where the file does not say."""
    head = str(version or "3").partition(".")[0]
    return int(head) if head.isdigit() else 3


def find_code(file: ModelFile, names: Container[str] = ()) -> str | None:
    """What Keras would run or import if it loaded the file, and what to do; None where it would do neither.

    Keras 3 refuses most of it by itself. tf_keras runs a Lambda layer of an .h5 file and imports any module that a
    config names; `names` are the custom objects that the user gave, for which it imports nothing.
    """
    for part in walk_config(file.config):
        name, module = str(part.get("class_name", "")), str(part.get("module") or "")
        if name == "__lambda__" or "lambda" in (part.get("function_type"), part.get("output_shape_type")):
            return "holds a Lambda layer with Python code in it; pass --unsafe (unsafe=True) if you trust the file"
        foreign = file.major < 3 and "config" in part and module.partition(".")[0] not in SAFE_PACKAGES
        if foreign and name not in names and part.get("registered_name") not in names and not is_registered(part):
            return f"names the class {name} of module {module}; pass --custom-objects {module} if you trust that module"
    return None


def is_registered(part: dict[str, Any]) -> bool:
    """Whether the class was registered with Keras, so that nothing is imported for it."""
    import sys

    for package in ("keras", "tf_keras"):
        saving = getattr(sys.modules.get(package), "saving", None)
        if saving is not None and saving.get_registered_object(part.get("registered_name")) is not None:
            return True
    return False


def walk_config(config: Any) -> Iterator[dict[str, Any]]:
    """All dicts in a config."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
