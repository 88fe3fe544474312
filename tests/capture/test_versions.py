"""Untried versions are named, and introspect tries itself on them before it answers."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.capture import versions
from introspect.capture.versions import list_untried
from introspect.errors import VersionError


def test_tried_versions_are_silent() -> None:
    assert list_untried({"tensorflow": "2.21.0", "keras": "3.15.1", "other": "99.0"}) == ()


def test_an_untried_version_is_named() -> None:
    (sentence,) = list_untried({"tensorflow": "2.99.0", "keras": None})
    assert "tensorflow 2.99.0" in sentence
    assert "2.21" in sentence


@pytest.mark.tf
def test_an_untried_version_that_reads_right_answers_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from introspect.selfcheck import find_fault

    find_fault.cache_clear()
    monkeypatch.setitem(versions.TRIED, "keras", ((1, 0), (1, 1)))
    report = introspect.inspect(_make_model())
    assert any("keras" in warning for warning in report.environment.warnings)
    assert report.ok


@pytest.mark.tf
def test_an_untried_version_that_reads_wrong_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    from introspect import selfcheck

    selfcheck.find_fault.cache_clear()
    monkeypatch.setitem(versions.TRIED, "keras", ((1, 0), (1, 1)))
    monkeypatch.setattr(versions, "make_specimen", lambda keras: (_make_model(), (np.ones((2, 4)), np.ones((2, 1)))))
    with pytest.raises(VersionError, match="untried"):
        introspect.inspect(_make_model())
    selfcheck.find_fault.cache_clear()


@pytest.mark.tf
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_version_to_come_is_tried_before_it_is_answered_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version is read from the package; both readings, before and after `fit`, are tried on a specimen, once."""
    from introspect import selfcheck

    keras = pytest.importorskip(name)
    monkeypatch.setattr(keras, "__version__", "99.0.0")
    selfcheck.find_fault.cache_clear()
    model = _make_model(keras)
    before = [np.asarray(variable).tobytes() for variable in model.variables]
    report = introspect.inspect(model)
    assert any(f"{name} 99.0.0 is untried" in warning for warning in report.environment.warnings)
    assert report.ok
    assert [np.asarray(variable).tobytes() for variable in model.variables] == before
    assert selfcheck.find_fault.cache_info().currsize == 1
    selfcheck.find_fault.cache_clear()


@pytest.mark.tf
def test_a_compiled_step_that_is_not_found_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were Keras to keep its functions elsewhere, a compiled step would be taken for an eager one."""
    import keras

    from introspect import selfcheck
    from introspect.capture.trace.step import StepFunctions

    monkeypatch.setattr("introspect.capture.model.find_functions", lambda model, keras: StepFunctions())
    monkeypatch.setattr(keras, "__version__", "99.0.0")
    selfcheck.find_fault.cache_clear()
    with pytest.raises(
        VersionError, match=r"Keras 99\.0\.0: untried, and a compiled model of two layers is taken for eager"
    ):
        introspect.inspect(_make_model())
    selfcheck.find_fault.cache_clear()


def _make_model(keras: Any = None) -> Any:
    keras = importlib.import_module("keras") if keras is None else keras
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
