"""Model files and factories, good and bad; what a file says of the training before."""

from __future__ import annotations

import random
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model, load_batch, load_factory, load_model_file  # noqa: E402
from introspect.capture.files.savedstate import match_shapes  # noqa: E402
from introspect.errors import BackendError, DataError, LoadError, NotCompiledError  # noqa: E402
from tests.capture import zoo  # noqa: E402
from tests.capture.observing import keras_state, tf_keras_state  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)
SOURCE = """
import keras

class Double(keras.layers.Layer):
    def call(self, x):
        return x * 2

def own_loss(truth, prediction):
    return keras.ops.mean((truth - prediction) ** 2)

def make():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)], name="made")
    model.compile("sgd", "mse")
    return model

def make_with_data():
    import numpy as np
    return make(), (np.zeros((8, 4)), np.zeros((8, 1)))

def make_nothing():
    return 3

def fail():
    raise RuntimeError("no such corpus")

class Shelf:
    make = staticmethod(make)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working directory, which is not on the path."""
    name = f"users_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [part for part in sys.path if part])
    return name


def dense(package: Any, *more: Any, **frozen: bool) -> Any:
    layers = [package.layers.Input((4,)), package.layers.Dense(5, name="hid"), *more]
    model = package.Sequential([*layers, package.layers.Dense(1, name="out")], name="m")
    for name, trainable in frozen.items():
        model.get_layer(name).trainable = trainable
    return model


def saved(tmp_path: Path, model: Any, ending: str = "keras", fit: bool = True) -> str:
    if fit:
        model.fit(*zoo.arrays(), verbose=0)
    path = str(tmp_path / f"m.{ending}")
    model.save(path)
    return path


@PACKAGES
def test_a_file_is_loaded_and_traced(tmp_path: Path, package: Any) -> None:
    model = dense(package)
    model.compile("adam", "mse", metrics=["mae"])
    loaded = load_model_file(saved(tmp_path, model))
    assert type(loaded.model).__module__.startswith(package.__name__)
    capture = capture_model(loaded.model, saved=loaded.saved)
    assert capture.source == "traced"
    assert capture.failure is None
    assert capture.saved == loaded.saved
    assert capture.model.file == loaded.saved.path
    assert capture.optimizers[0].built
    found = loaded.saved
    assert found.fits
    assert found.trained is not None
    assert [path.rpartition("/")[2].removesuffix(":0") for path in found.trained] == ["kernel", "bias"] * 2


@PACKAGES
def test_loading_leaves_counters_and_random_state(tmp_path: Path, package: Any) -> None:
    model = dense(package)
    model.compile("adam", "mse")
    path = saved(tmp_path, model)
    before = (random.getstate(), repr(np.random.get_state()), keras_state(), tf_keras_state())
    load_model_file(path)
    assert (random.getstate(), repr(np.random.get_state()), keras_state(), tf_keras_state()) == before


def test_a_legacy_file_of_tf_keras(tmp_path: Path) -> None:
    model = dense(tf_keras)
    model.compile("adam", "mse")
    loaded = load_model_file(saved(tmp_path, model, "h5"))
    assert type(loaded.model).__module__.startswith("tf_keras")
    assert loaded.saved.fits
    assert loaded.saved.trained == ("hid/kernel:0", "hid/bias:0", "out/kernel:0", "out/bias:0")
    assert capture_model(loaded.model).failure is None


def test_a_legacy_file_of_keras_3_cannot_be_fitted_and_says_so(tmp_path: Path) -> None:
    """Keras 3.15 builds the optimizer of an .h5 file with no variables at all."""
    model = dense(keras)
    model.compile("adam", "mse")
    loaded = load_model_file(saved(tmp_path, model, "h5"))
    failure = capture_model(loaded.model).failure
    if failure is None:
        loaded.model.fit(*zoo.arrays(), verbose=0)
    else:
        with pytest.raises(ValueError, match="Unknown variable"):
            loaded.model.fit(*zoo.arrays(), verbose=0)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
@PACKAGES
def test_a_file_saved_after_training_a_part(tmp_path: Path, package: Any, optimizer: str) -> None:
    model = dense(package, hid=False)
    model.compile(optimizer, "mse")
    model.fit(*zoo.arrays(), verbose=0)
    model.get_layer("hid").trainable = True
    found = load_model_file(saved(tmp_path, model, fit=False)).saved
    assert found.optimizer_variables is not None
    assert found.expected_variables is not None
    if optimizer == "sgd" and package is keras:  # no slots, so nothing that could not fit
        assert found.fits
        assert found.trained is None
        return
    assert not found.fits
    assert found.optimizer_variables < found.expected_variables
    assert found.trained is not None
    assert [path.removesuffix(":0").removeprefix("m/") for path in found.trained] == ["out/kernel", "out/bias"]


@PACKAGES
def test_a_file_saved_before_the_first_step_fits(tmp_path: Path, package: Any) -> None:
    model = dense(package)
    model.compile("adam", "mse")
    found = load_model_file(saved(tmp_path, model, fit=False)).saved
    assert found.fits
    assert found.trained == ()


def test_shapes_tell_only_where_they_are_unambiguous() -> None:
    weights: list[Any] = [(4, 5), (5,), (5, 5), (5,), (5, 1), (1,)]
    assert match_shapes([(5, 5), (5,), (5, 1), (1,)], weights) == [2, 3, 4, 5]
    assert match_shapes([(5,), (5, 1)], weights) is None
    assert match_shapes([(9,)], weights) is None
    assert match_shapes([], weights) == []
    assert match_shapes(weights, weights) == [0, 1, 2, 3, 4, 5]


@PACKAGES
def test_a_file_saved_without_compile(tmp_path: Path, package: Any) -> None:
    path = saved(tmp_path, dense(package), fit=False)
    with pytest.raises(NotCompiledError, match="pass --optimizer and --loss"):
        load_model_file(path)
    with pytest.raises(NotCompiledError, match="pass --loss"):
        load_model_file(path, optimizer="adam")
    loaded = load_model_file(path, optimizer="adam", loss="mse", steps_per_execution=2)
    capture = capture_model(loaded.model)
    assert capture.optimizers[0].class_name == "Adam"
    assert capture.model.steps_per_execution == 2


@PACKAGES
def test_options_replace_what_the_file_says(tmp_path: Path, package: Any) -> None:
    model = dense(package)
    model.compile("adam", "mse")
    path = saved(tmp_path, model)
    capture = capture_model(load_model_file(path, optimizer="sgd", jit_compile=True).model)
    assert [optimizer.class_name for optimizer in capture.optimizers if optimizer.current] == ["SGD"]
    assert capture.model.jit_compile


@pytest.mark.parametrize("ending", ["keras", "h5"])
@PACKAGES
def test_a_lambda_layer_is_refused(tmp_path: Path, package: Any, ending: str) -> None:
    model = dense(package, package.layers.Lambda(lambda x: x * 2.0))
    model.compile("sgd", "mse")
    path = saved(tmp_path, model, ending, fit=False)
    with pytest.raises(LoadError, match="--unsafe"):
        load_model_file(path)
    assert load_model_file(path, unsafe=True).model.get_layer("hid") is not None


def test_code_of_another_module_is_refused(tmp_path: Path) -> None:
    model = dense(tf_keras)
    model.compile("sgd", "mse")
    path = Path(saved(tmp_path, model, fit=False))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["config.json"] = parts["config.json"].replace(
        b'"module": "keras.layers", "class_name": "Dense"', b'"module": "subprocess", "class_name": "Popen"', 1
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(LoadError, match=r"class Popen of module subprocess; pass --custom-objects"):
        load_model_file(str(path))


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_custom_objects(tmp_path: Path, module: str, ending: str) -> None:
    users = load_factory(f"{module}:make")[0] and sys.modules[module]
    model = dense(keras, users.Double())
    model.compile("adam", users.own_loss)
    path = saved(tmp_path, model, ending, fit=False)
    with pytest.raises(LoadError, match="--custom-objects MODULE"):
        load_model_file(path)
    assert load_model_file(path, custom_objects=module).model.get_layer("hid") is not None
    with pytest.raises(LoadError, match="no module 'absent'"):
        load_model_file(path, custom_objects="absent")


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_a_loss_of_the_users_alone(tmp_path: Path, module: str, ending: str) -> None:
    users = load_factory(f"{module}:make")[0] and sys.modules[module]
    model = dense(keras)
    model.compile("adam", users.own_loss)
    path = saved(tmp_path, model, ending, fit=False)
    with pytest.raises(LoadError, match=r"training configuration.* or --optimizer and --loss"):
        load_model_file(path)
    assert capture_model(load_model_file(path, optimizer="sgd", loss="mse").model).failure is None


def broken_files(folder: Path) -> dict[str, str]:
    """{path: what its error says}."""
    model = dense(keras)
    model.compile("adam", "mse")
    good = Path(saved(folder, model)).read_bytes()
    legacy = Path(saved(folder, dense(tf_keras), "h5", fit=False)).read_bytes()
    model.save_weights(folder / "only.weights.h5")
    (folder / "text.keras").write_text("hello")
    (folder / "short.keras").write_bytes(good[: len(good) // 2])
    (folder / "short.h5").write_bytes(legacy[: len(legacy) // 2])
    (folder / "bad.keras").write_bytes(good[: len(good) // 2] + b"\xa5" * 300 + good[len(good) // 2 + 300 :])
    with zipfile.ZipFile(folder / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "x")
    with zipfile.ZipFile(folder / "json.keras", "w") as archive:
        archive.writestr("config.json", "{")
    return {
        "absent.keras": "no such file",
        ".": "a directory",
        "text.keras": "neither a .keras archive nor an HDF5 file",
        "short.keras": "damaged or cut short",
        "short.h5": "damaged or cut short",
        "bad.keras": "damaged or cut short",
        "other.keras": "no Keras model",
        "json.keras": "damaged or cut short",
        "only.weights.h5": "weights only",
    }


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    for name, message in broken_files(tmp_path).items():
        path = str(tmp_path / name)
        with pytest.raises(LoadError, match=message) as caught:
            load_model_file(path)
        assert str(caught.value).startswith(path)
        assert "\n" not in str(caught.value)


def test_factories(module: str) -> None:
    model, data = load_factory(f"{module}:make")
    assert (model.name, data) == ("made", None)
    model, data = load_factory(f"{module}:make_with_data")
    assert capture_model(model, data).source == "traced"
    assert load_factory(f"{module}:Shelf.make")[0].name == "made"
    for target, message in {
        "nothing": "neither a file nor",
        "absent.module:make": "no module 'absent'",
        f"{module}:absent": "has no absent",
        f"{module}:make_nothing": "returned int",
        f"{module}:fail": "RuntimeError: no such corpus",
    }.items():
        with pytest.raises(LoadError, match=message) as caught:
            load_factory(target)
        assert "\n" not in str(caught.value)


def test_a_factory_whose_module_needs_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import nowhere_to_be_found\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LoadError, match="module needy needs 'nowhere_to_be_found'"):
        load_factory("needy:make")


def test_without_tensorflow_or_with_a_backend_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "model.keras")
    model = zoo.mlp(keras)
    model.compile("sgd", "mse")
    model.save(path)
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(BackendError, match=re.escape(f"{path}: TensorFlow is not installed here")):
            load_model_file(path)
        with pytest.raises(LoadError, match="no such file"):
            load_model_file(path + "x")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "keras", None)
        with pytest.raises(BackendError, match="Keras cannot be imported"):
            load_model_file(path)


def test_batches(tmp_path: Path) -> None:
    x, y = zoo.arrays()
    np.savez(tmp_path / "named.npz", y=y, x=x)
    np.savez(tmp_path / "plain.npz", x, y, y[:, 0])
    np.savez(tmp_path / "odd.npz", images=x)
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "short.npz").write_bytes((tmp_path / "named.npz").read_bytes()[:300])
    assert [part.shape for part in load_batch(str(tmp_path / "named.npz"))] == [(8, 4), (8, 1)]
    assert [part.shape for part in load_batch(str(tmp_path / "plain.npz"))] == [(8, 4), (8, 1), (8,)]
    for name, message in {
        "odd.npz": "holds images",
        "text.npz": "no .npz file",
        "short.npz": "no .npz file",
        "absent.npz": "no .npz file",
    }.items():
        with pytest.raises(DataError, match=message):
            load_batch(str(tmp_path / name))


def test_a_layer_of_tf_keras_that_nobody_registers_here(tmp_path: Path) -> None:
    @tf_keras.saving.register_keras_serializable("own")  # type: ignore[misc]
    class Scaled(tf_keras.layers.Dense):  # type: ignore[misc]
        pass

    Scaled.__module__ = "__main__"  # as in a script
    model = dense(tf_keras, Scaled(4))
    model.compile("sgd", "mse")
    path = saved(tmp_path, model, fit=False)
    assert load_model_file(path).model.get_layer("hid") is not None
    del tf_keras.saving.get_custom_objects()["own>Scaled"]
    with pytest.raises(LoadError, match=r"type `Scaled`; pass --custom-objects MODULE"):
        load_model_file(path)
