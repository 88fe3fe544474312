"""An optimizer that another took the place of: its objects are gone, and the compiled step goes on with its variables."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from tests.oracle import PLAIN, Asked, ask, ask_loop  # noqa: E402
from tests.rules.exchanged import PACKAGES, X, Y, make_layers, make_loop  # noqa: E402
from tests.rules.reported import batches  # noqa: E402

pytestmark = pytest.mark.tf


def assigned(package: Any) -> Any:
    """`model.optimizer` assigned after a fit with one that nobody else holds."""
    package.utils.set_random_seed(3)
    model = make_layers(package)
    model.compile("adam", "mse")
    model.fit(batches(), verbose=0)
    model.optimizer = package.optimizers.SGD(0.5)
    gc.collect()
    return model


@PACKAGES
@pytest.mark.parametrize("frozen", [False, True])
def test_the_step_goes_on_with_one_that_is_gone(package: Any, frozen: bool) -> None:
    model = assigned(package)
    model.layers[0].trainable = not frozen
    outcome = ask(model, batches(), Asked(rules=("INT203",), arguable=True))
    assert outcome.faults == []
    assert outcome.rules == ({"INT101", "INT203"} if frozen else {"INT203"})


@PACKAGES
def test_a_measured_step_leaves_its_variables(package: Any) -> None:
    measured, left = assigned(package), assigned(package)
    report = introspect.inspect(measured, data=batches(), measure=True)
    assert report.environment.warnings == ()
    assert all(row.measured is not None and row.measured.gradient_norm for row in report.variables)
    for model in (measured, left):
        model.fit(batches(), verbose=0)
    for one, other in zip(measured.get_weights(), left.get_weights(), strict=True):
        assert np.array_equal(one, other)


def make_pair(package: Any) -> Callable[[], Any]:
    """Of a model with two optimizers, each for a layer of its own."""

    class Pair(package.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.enc, self.head = package.layers.Dense(3), package.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.head(self.enc(x))

        def train_step(self, batch: Any) -> Any:
            x, y = batch
            with tf.GradientTape(persistent=True) as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            for optimizer, layer in ((self.first, self.enc), (self.second, self.head)):
                weights = layer.trainable_variables
                optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    def make() -> Any:
        model = Pair()
        model.compile()
        model.first, model.second = package.optimizers.Adam(), package.optimizers.SGD(momentum=0.9)
        model.fit(batches(), verbose=0)
        return model

    return make


@PACKAGES
@pytest.mark.parametrize("frozen", [False, True])
def test_one_of_two_was_replaced(package: Any, frozen: bool) -> None:
    model = make_pair(package)()
    model.first = package.optimizers.Adam(0.5)
    model.enc.trainable = not frozen
    gc.collect()
    rule = "INT101" if frozen else "INT203"  # the new one has nothing to train where all of its layer is frozen
    outcome = ask(model, batches(), Asked(rules=(rule,), arguable=True))
    assert outcome.faults == []
    assert outcome.rules == {rule}


@PACKAGES
@pytest.mark.parametrize("gone", [False, True])
def test_a_loop_whose_optimizer_is_gone(package: Any, gone: bool) -> None:
    model, step, held = make_loop(package)
    if gone:
        held["optimizer"] = package.optimizers.SGD()
        gc.collect()
    asked = Asked(rules=("INT203",), arguable=True) if gone else PLAIN
    assert ask_loop(step, (X, Y), model, None, asked).faults == []
