"""INT206: the optimizer's state in a file, its flags, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import introspect
from introspect.records import Finding

pytestmark = pytest.mark.tf

X, Y = np.ones((4, 4), "float32"), np.ones((4, 1), "float32")


def freeze(model: Any, folder: Path) -> None:
    model.get_layer("hid").trainable = False


def save_legacy(model: Any, folder: Path) -> None:
    model.save(folder / "before.h5")


def leave(model: Any, folder: Path) -> None:
    """The healthy twin."""


def look(act: Callable[[Any, Path], None], folder: Path) -> list[Finding]:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="hid"), keras.layers.Dense(1, name="out")])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    act(model, folder)
    model.save(folder / "m.keras")
    return [one for one in introspect.inspect(folder / "m.keras").findings if one.rule == "INT206"]


def test_a_file_saved_as_it_trained_has_none(tmp_path: Path) -> None:
    assert look(leave, tmp_path) == []


def test_flags_that_changed_before_save_are_the_cause(tmp_path: Path) -> None:
    (finding,) = look(freeze, tmp_path)
    assert finding.variables == ("hid/kernel", "hid/bias")
    assert "Flags were changed" in finding.cause
    assert "hid/kernel" in finding.cause


def test_settings_that_lost_the_optimizer_are_no_changed_flags(tmp_path: Path) -> None:
    (finding,) = look(save_legacy, tmp_path)
    assert finding.variables == ()
    assert "name no optimizer" in finding.message
    assert "lags were changed" not in finding.cause
    assert ".h5" in finding.cause


@keras.saving.register_keras_serializable("introspect-tests")
class Task(keras.Sequential):  # type: ignore[misc]
    """Compiles itself, as the tasks of keras-hub do; `restores` is what Keras asks of such a class."""

    def __init__(self, restores: bool, **_: Any) -> None:
        layers = [keras.Input((4,)), keras.layers.Dense(3, name="hid"), keras.layers.Dense(1, name="out")]
        super().__init__(layers)
        self.restores = restores
        self.compile()

    def compile(self, optimizer: Any = "adam", **_: Any) -> None:
        super().compile(optimizer, "mse")

    def compile_from_config(self, config: dict[str, Any]) -> None:
        if self.restores:
            self.compile()
            self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {"restores": self.restores}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        return cls(**config)


@pytest.mark.parametrize("restores", [False, True])
@pytest.mark.parametrize("fitted", [False, True])
def test_a_class_that_compiles_itself(tmp_path: Path, restores: bool, fitted: bool) -> None:
    model = Task(restores)
    if fitted:
        model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    findings = [one for one in introspect.inspect(tmp_path / "m.keras").findings if one.rule == "INT206"]
    assert len(findings) == (fitted and not restores)
    for finding in findings:
        assert "compile() of its own" in finding.cause
        assert "lags were changed" not in finding.cause
