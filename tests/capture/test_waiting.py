"""A checkpoint that is restored before what it holds exists gives its values to the user's objects, looked at or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect

pytestmark = pytest.mark.tf

RANDOM = np.random.default_rng(3)
X, Y = RANDOM.random((8, 4), dtype="float32"), RANDOM.random((8, 1), dtype="float32")


def make(keras: Any, optimizer: str, built: bool) -> Any:
    layers = [keras.layers.Dense(3, name="hidden"), keras.layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((4,)), *layers] if built else layers, name="m")
    optimizers = keras.optimizers.legacy if optimizer == "legacy" else keras.optimizers
    model.compile(optimizers.Adam(0.01), "mse")
    return model


def train(model: Any, epochs: int = 1) -> None:
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)


def read(model: Any) -> list[bytes]:
    """In an order of their own: a legacy optimizer makes restored slots first."""
    state = model.optimizer.variables
    state = state() if callable(state) else state
    return sorted(np.asarray(variable).tobytes() for variable in (*model.variables, *state))


def save(keras: Any, optimizer: str, folder: Path) -> tuple[Any, str]:
    """(model, a checkpoint of it two epochs before its end)."""
    keras.utils.set_random_seed(1)
    trained = make(keras, optimizer, True)
    train(trained, 3)
    path = tf.train.Checkpoint(model=trained, optimizer=trained.optimizer).save(str(folder / "c"))
    train(trained, 2)
    return trained, path


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize(
    ("name", "optimizer"), [("keras", "adam"), ("tf_keras", "adam"), ("tf_keras", "legacy")], ids=str
)
def test_values_that_wait_reach_the_users_objects(name: str, optimizer: str, built: bool, tmp_path: Path) -> None:
    keras = pytest.importorskip(name)
    trained, path = save(keras, optimizer, tmp_path)
    model = make(keras, optimizer, built)
    status = tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    report = introspect.inspect(model, data=(X, Y), batch_size=8, measure=True, try_fixes=True)
    assert report.source == "traced"
    assert report.ok
    train(model, 2)
    status.assert_existing_objects_matched()
    assert read(model) == read(trained)


@pytest.mark.parametrize("built", [True, False], ids=["built", "unbuilt"])
@pytest.mark.parametrize(
    ("name", "optimizer"), [("keras", "adam"), ("tf_keras", "adam"), ("tf_keras", "legacy")], ids=str
)
def test_values_that_wait_reach_the_optimizer_of_a_recompiled_model(
    name: str, optimizer: str, built: bool, tmp_path: Path
) -> None:
    keras = pytest.importorskip(name)
    trained, path = save(keras, optimizer, tmp_path)
    model = make(keras, optimizer, built)
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    introspect.recompile(model)
    train(model, 2)
    assert read(model) == read(trained)


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_values_that_wait_are_dropped_with_the_state(name: str, tmp_path: Path) -> None:
    keras = pytest.importorskip(name)
    _, path = save(keras, "adam", tmp_path)
    models = [make(keras, "adam", True) for _ in range(2)]
    for model in models:
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).restore(path)
    introspect.recompile(models[0], keep_optimizer_state=False)
    models[1].compile(keras.optimizers.Adam(0.01), "mse")
    for model in models:
        train(model, 2)
    assert read(models[0]) == read(models[1])
