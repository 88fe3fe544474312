"""Steps that an object of the user's makes, which holds the model or its optimizer: past introspect's copies of them."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.capture.observing import observe
from tests.matrix.models import make_data, unfreeze
from tests.oracle import Asked, ask, randomize

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")
HELD = ("model", "optimizer", "method")


class Helper:
    """Makes steps for a model."""

    def __init__(self, model: Any, optimizer: Any = None) -> None:
        self.model, self.optimizer = model, optimizer

    def step(self, x: Any, y: Any) -> Any:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.model(x, training=True) - y))
        optimizer = self.optimizer or self.model.optimizer
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


def build(package: str, held: str) -> tuple[Any, Any, Any]:
    keras = importlib.import_module(package)
    layers = keras.layers

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(4, activation="tanh", name="b")
            self.c = layers.Dense(1, name="c")
            self.helper = Helper(self)
            self.step = self.helper.step if held == "method" else None

        def call(self, x: Any, training: bool = False) -> Any:
            return self.c(self.b(self.a(x)))

        def train_step(self, data: Any) -> Any:
            return (self.step or self.helper.step)(*data)

    model, optimizer = Net(), keras.optimizers.Adam(0.05)
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.helper.optimizer = optimizer if held == "optimizer" else None
    model.compile(optimizer, "mse")
    return model, optimizer, make_data()


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("package", KERAS)
def test_an_unknown_variable(package: str, held: str) -> None:
    """Healthy while b is frozen, also after a fit; unfrozen for the same optimizer, the next fit raises."""
    model, optimizer, data = build(package, held)
    model.b.trainable = False
    model.compile(optimizer, "mse")
    for _ in range(2):
        outcome = ask(model, data)
        assert (outcome.faults, outcome.rules) == ([], set())
    unfreeze("b")(model, data)
    model.compile(optimizer, "mse")
    before = observe(model)
    report = introspect.inspect(model, data=data)
    after = observe(model)
    assert [name for name in before if before[name] != after[name]] == []
    (finding,) = [found for found in report.findings if found.rule == "INT201"]
    assert {path.partition(":")[0].rpartition("b/")[2] for path in finding.variables} == {"kernel", "bias"}
    assert finding.evidence[0].note.endswith("was built with a (2) and c (2)")
    assert not any("/b/" in path for path in report.optimizers[0].tracks)
    assert ask(model, data, Asked(raises=True, rules=("INT201",))).faults == []


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("package", KERAS)
def test_another_error_stays_one(package: str, held: str) -> None:
    """What an optimizer that knows nothing yet would not mend is not told as unknown variables."""
    model, _, data = build(package, held)
    model.fit(data, verbose=0)
    model.compile(model.optimizer, "mse")
    model.helper.step = model.step = lambda x, y: {"loss": tf.matmul(x, tf.zeros((7, 7)))}
    before = observe(model)
    with pytest.raises(introspect.IntrospectError, match=r"matmul|MatMul|Matrix size|Dimensions"):
        introspect.inspect(model, data=data)
    after = observe(model)
    assert [name for name in before if before[name] != after[name]] == []


@pytest.mark.parametrize("named", [True, False], ids=["optimizer named", "not named"])
@pytest.mark.parametrize("package", KERAS)
def test_a_loop_tells_what_the_optimizer_was_built_with(package: str, named: bool) -> None:
    """Not what introspect's own trace builds it with."""
    model, optimizer, _ = build(package, "optimizer")
    helper = model.helper
    args = (tf.ones((4, 3)), tf.ones((4, 1)))
    model.b.trainable = False
    tf.function(helper.step)(*args)
    model.b.trainable = True
    given = {"optimizer": optimizer} if named else {}
    report = introspect.inspect(tf.function(helper.step), args=args, model=model, **given)
    (finding,) = [found for found in report.findings if found.rule == "INT201"]
    assert finding.evidence[0].note.endswith("was built with a (2) and c (2)")
    with pytest.raises((ValueError, KeyError)):
        tf.function(helper.step)(*args)
