"""Models whose class says by a property of its own which variables train."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import introspect
from tests.matrix.models import freeze, make_data
from tests.oracle import PLAIN, Asked, ask, randomize

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")
NAMES = ("trainable_variables", "trainable_weights")
BOTH = NAMES


def give_some(self: Any) -> list[Any]:
    """Of all layers but those that the model says to skip."""
    return [v for layer in (self.a, self.b, self.c) if layer.name not in self.skip for v in layer.trainable_variables]


def give_all(self: Any) -> list[Any]:
    """Whatever the flags say."""
    return [v for layer in (self.a, self.b, self.c) for v in layer.variables]


def build(package: str, overrides: dict[str, Any], skip: tuple[str, ...] = ()) -> tuple[Any, Any]:
    keras = importlib.import_module(package)
    layers = keras.layers

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.skip = skip
            self.a, self.b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(4, activation="tanh", name="b")
            self.c = layers.Dense(1, name="c")

        def call(self, x: Any) -> Any:
            return self.c(self.b(self.a(x)))

    kind: Any = type("Own", (Net,), {name: property(give) for name, give in overrides.items()})
    model = kind()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model, make_data()


def tell(model: Any, data: Any, rule: str) -> Any:
    """The finding of a rule, of the model as it is."""
    return next(found for found in introspect.inspect(model, data=data).findings if found.rule == rule)


@pytest.mark.parametrize("trained", [False, True], ids=["before a fit", "after a fit"])
@pytest.mark.parametrize(
    ("name", "rule", "told"),
    [
        ("trainable_variables", "INT101", "model.trainable_variables, which does not, is overridden"),
        ("trainable_weights", "INT104", "model.trainable_weights, which the class overrides and which does not hold"),
    ],
)
def test_two_lists_of_keras_3_that_disagree(name: str, rule: str, told: str, trained: bool) -> None:
    """Keras 3 asks `trainable_weights` and shows `trainable_variables`: a new compile changes nothing."""
    model, data = build("keras", {name: give_some}, skip=("a", "b"))
    if trained:
        model.fit(data, verbose=0)
    finding = tell(model, data, rule)
    assert told in finding.cause
    assert "compile" not in finding.fix
    assert len(finding.variables) == 4
    assert ask(model, data, Asked(rules=(rule,))).faults == []
    model.skip = ()
    model.compile(model.optimizer, "mse") if rule == "INT101" else introspect.recompile(model)
    outcome = ask(model, data)
    assert (outcome.faults, outcome.rules) == ([], set())


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize(("first", "later", "rule"), [((), ("b",), "INT101"), (("b",), (), "INT103")])
def test_lists_that_change_after_the_trace(
    package: str, first: tuple[str, ...], later: tuple[str, ...], rule: str
) -> None:
    """A stale step: the cause is the property, no flag was touched, and a new compile mends it."""
    model, data = build(package, dict.fromkeys(BOTH, give_some), skip=first)
    assert ask(model, data).faults == []
    model.skip = later
    finding = tell(model, data, rule)
    assert "which the class overrides" in finding.cause
    assert "flag" not in finding.cause
    assert ask(model, data, Asked(rules=(rule,))).faults == []
    introspect.recompile(model)
    assert ask(model, data).faults == []


@pytest.mark.parametrize("package", KERAS)
def test_a_property_that_ignores_a_flag(package: str) -> None:
    """The flag of b is told as ignored, and why; in Keras 3 the step goes by the flag all the same."""
    model, data = build(package, {"trainable_variables": give_all})
    freeze("b")(model, data)
    finding = tell(model, data, "INT401")
    assert "overrides trainable_variables" in finding.cause
    assert ask(model, data, PLAIN if package == "tf_keras" else Asked(rules=("INT104",))).faults == []


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("names", [NAMES[:1], NAMES[1:], BOTH], ids=" and ".join)
def test_a_property_that_gives_what_keras_would(package: str, names: tuple[str, ...]) -> None:
    """Healthy at each step; stale after a flag as any model is."""
    model, data = build(package, {})
    kind = type(model)
    for name in names:
        setattr(kind, name, property(lambda self, name=name: getattr(super(kind, self), name)))
    for _ in range(2):
        outcome = ask(model, data)
        assert (outcome.faults, outcome.rules) == ([], set())
    freeze("b")(model, data)
    assert ask(model, data, Asked(rules=("INT101",))).faults == []
    introspect.recompile(model)
    outcome = ask(model, data)
    assert (outcome.faults, outcome.rules) == ([], set())


def build_with_bare(kind: str, name: str, give: Any) -> tuple[Any, Any]:
    """A model of Keras 3 with a layer and a variable that Keras does not track, and lists of its own."""
    import keras
    import tensorflow as tf

    class Holder:
        def __init__(self) -> None:
            start = np.ones((3, 1), "float32")
            self.w = tf.Variable(start, name="bare") if kind == "tf" else keras.Variable(start, name="bare")

    class Net(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.holder, self.c = Holder(), keras.layers.Dense(1, name="c")

        def call(self, x: Any) -> Any:
            return self.c(x) + x @ self.holder.w

    own: Any = type("Own", (Net,), {name: property(give)} if name else {})
    model = own()
    model(np.zeros((2, 3), "float32"))
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model, make_data()


def give_bare_too(self: Any) -> list[Any]:
    return [*self.c.trainable_variables, self.holder.w]


@pytest.mark.parametrize("kind", ["tf", "keras"])
def test_list_that_holds_an_untracked_variable_and_is_not_asked(kind: str) -> None:
    """Its twin overrides nothing, and there nothing is said of a list."""
    asked = Asked(rules=("INT105",), extra=lambda model: [model.holder.w])
    model, data = build_with_bare(kind, "trainable_variables", give_bare_too)
    said = "model.trainable_weights, which does not hold it; model.trainable_variables, which does, is overridden."
    assert said in tell(model, data, "INT105").cause
    assert ask(model, data, asked).faults == []
    model, data = build_with_bare(kind, "", None)
    assert "trainable_variables" not in tell(model, data, "INT105").cause
    assert ask(model, data, asked).faults == []


def test_list_that_is_asked_and_holds_an_untracked_variable() -> None:
    """It trains by design: told, and no alarm."""
    model, data = build_with_bare("keras", "trainable_weights", give_bare_too)
    finding = tell(model, data, "INT105")
    assert (finding.severity, "The class overrides model.trainable_weights, which holds it" in finding.cause) == (
        "info",
        True,
    )
    outcome = ask(model, data, Asked(extra=lambda model: [model.holder.w]))
    assert (outcome.faults, outcome.rules) == ([], set())
