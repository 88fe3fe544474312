"""One callback in a `fit` that another `fit` runs in: each model is told of, and the outer one is watched to its end."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect.errors import IntrospectWarning, MismatchError
from tests.fixes.steps import make_data, make_model, same, values

pytestmark = pytest.mark.tf
LIBRARIES = ["keras", "tf_keras"]


def make_compiled(library: str, name: str = "outer") -> Any:
    keras, model = importlib.import_module(library), make_model(library)
    named = keras.Model(model.inputs, model.outputs, name=name)
    named.compile("sgd", "mse")
    return named


def fit(model: Any, callbacks: list[Any], epochs: int = 1) -> None:
    x, y = make_data()
    model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks)


def act_at(library: str, acts: dict[int, Callable[[Any], object]]) -> Any:
    """A callback that does something with its model at the end of some epochs."""
    keras = importlib.import_module(library)

    class Act(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            acts.get(epoch, id)(self.model)

    return Act()


def freeze(model: Any) -> None:
    model.get_layer("d1").trainable = False


def told(callback: Any, model: Any) -> list[str]:
    return [str(report.reason) for report in callback.reports if report.model.name == model.name]


def catch(model: Any, callbacks: list[Any], epochs: int) -> list[str]:
    """Rule and model of each warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IntrospectWarning)
        fit(model, callbacks, epochs)
    ours = [str(one.message) for one in caught if one.category is IntrospectWarning]
    return [f"{text[:6]} {text.partition('(')[2].partition(',')[0]}" for text in ours]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_outer_one_is_watched_after_the_inner_one(library: str, tmp_path: Path) -> None:
    from tests.report.reading import read_marks

    outer, inner = make_compiled(library), make_compiled(library, "inner")
    callback = introspect.IntrospectCallback(str(tmp_path))
    acts = {0: lambda _: fit(inner, [callback]), 1: freeze}
    assert catch(outer, [callback, act_at(library, acts)], 4) == ["INT101 outer"]
    assert callback.model is outer
    assert callback.params["epochs"] == 4
    assert told(callback, outer) == ["first trace", "flag changed", "train end"]
    assert told(callback, inner) == ["first trace", "train end"]
    assert [report.ok for report in callback.reports] == [True, True, True, False, False]
    assert [mark.epoch for _, mark in read_marks(str(tmp_path))] == [0, 0, 0, 2, 3]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_inner_one_is_told_of_itself(library: str) -> None:
    outer, inner = make_compiled(library), make_compiled(library, "inner")
    fit(inner, [])
    freeze(inner)
    callback = introspect.IntrospectCallback()
    acts = {0: lambda _: fit(inner, [callback]), 2: lambda _: fit(inner, [callback])}
    assert catch(outer, [callback, act_at(library, acts)], 4) == ["INT101 inner"]
    assert callback.report.ok
    assert callback.report.model.name == "outer"


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("frozen", ["before", "after"])
def test_the_same_model_inside_of_its_own_fit(library: str, frozen: str) -> None:
    """tf_keras puts the flags of compile in place twice; what counts is what the user set."""
    model = make_compiled(library)
    callback = introspect.IntrospectCallback()
    again = {0: lambda now: fit(now, [callback])}
    flip = {1: freeze} if frozen == "after" else {0: freeze}
    first, second = (again, flip) if frozen == "after" else (flip, again)
    assert catch(model, [callback, act_at(library, first), act_at(library, second)], 4) == ["INT101 outer"]
    assert told(callback, model)[-1] == "train end"
    path = "d1/kernel" + (":0" if library == "tf_keras" else "")
    assert not callback.report.variable(path).expected
    assert callback.report.variable(path).updated == "yes"


@pytest.mark.parametrize("library", LIBRARIES)
def test_flags_set_before_both(library: str) -> None:
    """The outer one knows after the inner one what it knew before: the flag that was set before it began."""
    model = make_compiled(library)
    fit(model, [])
    freeze(model)
    callback = introspect.IntrospectCallback()
    acts = {0: lambda now: fit(now, [callback]), 1: lambda now: fit(now, [callback])}
    assert catch(model, [callback, act_at(library, acts)], 3) == ["INT101 outer"]
    assert all(not report.ok for report in callback.reports)
    assert not model.get_layer("d1").trainable


@pytest.mark.parametrize("library", LIBRARIES)
def test_an_inner_one_that_raises(library: str) -> None:
    outer, inner = make_compiled(library), make_compiled(library, "inner")
    callback = introspect.IntrospectCallback()

    def stop(_: Any) -> None:
        raise KeyError

    def train(_: Any) -> None:
        with pytest.raises(KeyError):
            fit(inner, [callback, act_at(library, {0: stop})])

    assert catch(outer, [callback, act_at(library, {0: train, 1: freeze})], 4) == ["INT101 outer"]
    assert told(callback, outer) == ["first trace", "flag changed", "train end"]
    assert told(callback, inner) == ["first trace"]
    fit(inner, [callback])
    assert told(callback, inner) == ["first trace", "train end"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_look_at_another_model_in_between(library: str) -> None:
    outer, other = make_compiled(library), make_compiled(library, "other")
    other.train_on_batch(*make_data())
    callback = introspect.IntrospectCallback()
    acts = {0: lambda _: callback.inspect(other), 1: freeze}
    assert catch(outer, [callback, act_at(library, acts)], 4) == ["INT101 outer"]
    assert told(callback, outer) == ["first trace", "flag changed", "train end"]
    assert callback.model is outer


def test_errors_are_raised_in_each_training_anew() -> None:
    outer, inner = make_compiled("keras"), make_compiled("keras", "inner")
    fit(inner, [])
    freeze(inner)
    callback = introspect.IntrospectCallback(on_mismatch="raise")
    raised = []

    def train(_: Any) -> None:
        with pytest.raises(MismatchError, match="INT101") as caught:
            fit(inner, [callback])
        raised.append(caught.value.report.model.name)

    acts = {0: train, 1: train, 2: freeze}
    with pytest.raises(MismatchError, match="INT101") as caught:
        fit(outer, [callback, act_at("keras", acts)], 5)
    assert raised == ["inner", "inner"]
    assert caught.value.report.model.name == "outer"


@pytest.mark.parametrize("library", LIBRARIES)
def test_training_is_the_same(library: str) -> None:
    ends = []
    for watched in (False, True):
        outer, inner = make_compiled(library), make_compiled(library, "inner")
        ours = [introspect.IntrospectCallback(proof="epoch")] if watched else []
        acts = {0: lambda _, inner=inner, ours=ours: fit(inner, ours), 1: lambda now, ours=ours: fit(now, ours)}
        fit(outer, [*ours, act_at(library, acts)], 3)
        ends.append(values([*outer.variables, *inner.variables]))
    assert same(*ends)
