"""Untried versions are named, and introspect tries itself on them before it answers."""

from __future__ import annotations

import numpy as np
import pytest

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
    import introspect
    from introspect.selfcheck import find_fault

    find_fault.cache_clear()
    monkeypatch.setitem(versions.TRIED, "keras", ((1, 0), (1, 1)))
    report = introspect.inspect(_make_model())
    assert any("keras" in warning for warning in report.environment.warnings)
    assert report.ok


@pytest.mark.tf
def test_an_untried_version_that_reads_wrong_gives_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    import introspect
    from introspect import selfcheck

    selfcheck.find_fault.cache_clear()
    monkeypatch.setitem(versions.TRIED, "keras", ((1, 0), (1, 1)))
    monkeypatch.setattr(versions, "make_specimen", lambda keras: (_make_model(), (np.ones((2, 4)), np.ones((2, 1)))))
    with pytest.raises(VersionError, match="untried"):
        introspect.inspect(_make_model())
    selfcheck.find_fault.cache_clear()


def _make_model() -> object:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
