"""Classes that override `fit`: with a loop of their own, of which Keras' step tells nothing, and with one that leads to it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import Asked, ask

tk = pytest.importorskip("tf_keras")
pytestmark = pytest.mark.tf

LIBRARIES = {"keras": keras, "tf_keras": tk}
UNKNOWN = Asked(opaque=True)


def timed(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def train_eagerly(model: Any, data: Any, variables: Callable[[Any], Any]) -> None:
    for x, y in data:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        chosen = variables(model)
        model.optimizer.apply_gradients(zip(tape.gradient(loss, chosen), chosen, strict=True))


class Scaler:
    def fit(self, data: Any) -> None:
        """Stands for what has a method of the same name."""


def plain(base: Any) -> Any:
    class Own(base):
        def fit(self, data: Any, epochs: int = 1, verbose: int = 0) -> None:
            Scaler().fit(data)
            for _ in range(epochs):
                train_eagerly(self, data, lambda model: model.trainable_variables)

    return Own


def head_alone(base: Any) -> Any:
    class Own(base):
        @timed
        def fit(self, data: Any, epochs: int = 1, verbose: int = 0) -> None:
            self._loop(data)

        def _loop(self, data: Any) -> None:
            train_eagerly(self, data, lambda model: model.layers[-1].trainable_variables)

    return Own


def below_another(base: Any) -> Any:
    class Further(plain(base)):  # type: ignore[misc]
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            return super().fit(*args, **kwargs)

    return Further


def on_super(base: Any) -> Any:
    class Calls(base):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            return super().fit(*args, **kwargs)

    return Calls


def on_base(base: Any) -> Any:
    class Calls(base):
        @hidden
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            return base.fit(self, *args, **kwargs)

    return Calls


def by_helper(base: Any) -> Any:
    class Calls(base):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            return self._run(*args, **kwargs)

        def _run(self, *args: Any, **kwargs: Any) -> Any:
            return super().fit(*args, **kwargs)

    return Calls


def by_batches(base: Any) -> Any:
    class Calls(base):
        def fit(self, data: Any, epochs: int = 1, verbose: int = 0) -> None:
            for _ in range(epochs):
                for x, y in data:
                    self.train_on_batch(x, y)

    return Calls


LOOPS = (plain, head_alone, below_another)
CALLS = (on_super, on_base, by_helper, by_batches)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> ModuleType:
    keras.backend.clear_session()
    return LIBRARIES[request.param]


def build(library: Any, kind: Callable[[Any], Any]) -> tuple[Any, Any]:
    inputs = library.Input((3,))
    h = library.layers.Dense(4, activation="tanh", name="a")(inputs)
    h = library.layers.Dense(4, activation="tanh", name="b")(h)
    base = type(library.Model(inputs, library.layers.Dense(1, name="c")(h)))
    h = library.layers.Dense(1, name="c")(h)
    model = kind(base)(inputs, h)
    model.compile(library.optimizers.SGD(0.05), "mse")
    return model, make_data()


def compile_again(model: Any) -> None:
    model.compile(model.optimizer, "mse")


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_of_its_own_is_unknown_once_it_has_trained(library: ModuleType, kind: Callable[[Any], Any]) -> None:
    model, data = build(library, kind)
    model.fit(data)
    model.get_layer("b").trainable = False
    outcome = ask(model, data, UNKNOWN)
    assert not outcome.faults
    report = outcome.report
    assert report is not None
    assert report.traces == ()
    assert all("fit() of class" in str(row.reason) for row in report.variables)


@pytest.mark.parametrize("kind", LOOPS)
def test_it_is_told_as_any_model_before_its_first_step(library: ModuleType, kind: Callable[[Any], Any]) -> None:
    model, data = build(library, kind)
    report = introspect.inspect(model, data=data)
    assert (report.source, {row.updated for row in report.variables}) == ("traced", {"yes"})


@pytest.mark.parametrize("kind", CALLS)
def test_a_fit_that_leads_to_the_step_is_told(library: ModuleType, kind: Callable[[Any], Any]) -> None:
    model, data = build(library, kind)
    model.fit(data, verbose=0)
    model.get_layer("b").trainable = False
    assert ask(model, data, Asked(rules=("INT101",), data=False)).faults == []


@pytest.mark.parametrize("kind", CALLS)
def test_so_it_is_when_nothing_has_run_since_compile(library: ModuleType, kind: Callable[[Any], Any]) -> None:
    model, data = build(library, kind)
    model.fit(data, verbose=0)
    model.get_layer("b").trainable = False
    compile_again(model)
    outcome = ask(model, data, Asked(data=False))
    assert outcome.faults == []
    assert outcome.report is not None
    assert outcome.report.source == "traced"


def test_the_words_say_that_it_is_not_known(library: ModuleType) -> None:
    model, data = build(library, plain)
    model.fit(data)
    text = " ".join(str(introspect.inspect(model, measure=True, try_fixes=True)).split())
    for part in (
        "? 6 variables cannot be decided.",
        "what trains is not known of 6 trainable variables",
        "no trace of it can be read",
        "test_own_fit.py",
        "introspect.inspect(step, args=..., model=model)",
    ):
        assert part in text
    assert "does what the flags say" not in text
    with pytest.raises(AssertionError, match="cannot be decided: fit"):
        introspect.assert_trains(model, "*")
