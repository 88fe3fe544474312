"""A train step that is a tf.function besides, whose trace outlives every compile: which optimizer it was meant to use."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from introspect.records import Report  # noqa: E402
from tests.oracle import Asked, ask  # noqa: E402
from tests.rules.exchanged import PACKAGES, train  # noqa: E402
from tests.rules.reported import batches  # noqa: E402

pytestmark = pytest.mark.tf
KEPT = "train_step is a tf.function of your own, with a cache of its own: the step goes on with a trace of it from before the "
STALE = Asked(rules=("INT203",), arguable=True)


def fit(package: Any, optimizer: Any = None, below: bool = False) -> Any:
    """A fitted model whose step, or a method that it calls, takes `optimizer` by its closure, or else the model's."""

    class Step(package.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.hid, self.out = package.layers.Dense(3), package.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.out(self.hid(x))

        @tf.function
        def train_step(self, batch: Any) -> Any:
            return {"loss": train(self, optimizer or self.optimizer, *batch)}

        def learn(self, batch: Any) -> Any:
            return train(self, optimizer or self.optimizer, *batch)

    class Below(Step):
        @tf.function
        def train_step(self, batch: Any) -> Any:
            return {"loss": self.learn(batch)}

    model = Below() if below else Step()
    model(next(iter(batches()))[0])
    model.compile(package.optimizers.Adam(1e-3), "mse")
    model.fit(batches(), verbose=0)
    return model


def inspect(model: Any) -> Report:
    return introspect.inspect(model, data=batches(), try_fixes=True)


@PACKAGES
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "assigned"])
def test_new_optimizer(package: Any, compiled: bool) -> None:
    """The trace goes on with the old one, and compiling again mends nothing."""
    model = fit(package)
    old, new = model.optimizer, package.optimizers.SGD(0.5)
    if compiled:
        model.compile(new, "mse")
    else:
        model.optimizer = new
    (finding,) = inspect(model).findings
    assert finding.rule == "INT203"
    assert finding.cause.startswith(f"{KEPT}model was given this one")
    assert "take @tf.function from train_step" in finding.fix
    assert not finding.verified
    assert not ask(model, batches(), STALE).faults
    assert old.iterations.numpy() == 2


@PACKAGES
@pytest.mark.parametrize("below", [False, True], ids=["of the step", "of a method"])
def test_optimizer_of_the_closure(package: Any, below: bool) -> None:
    """The healthy twin: the step means the one that it names, whatever the model is compiled with."""
    own = package.optimizers.Adam(0.01)
    model = fit(package, own, below)
    assert inspect(model).ok
    model.compile(package.optimizers.Adam(0.1), "mse")
    assert inspect(model).ok
    assert not ask(model, batches()).faults
    assert own.iterations.numpy() == 2
