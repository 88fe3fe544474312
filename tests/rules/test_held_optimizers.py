"""Optimizers of the user's that hold others and hand the variables on to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from tests.oracle import Asked, ask  # noqa: E402
from tests.rules.exchanged import PACKAGES, make_layers  # noqa: E402
from tests.rules.reported import batches  # noqa: E402

pytestmark = pytest.mark.tf


def make_parts(package: Any) -> list[Any]:
    return [package.optimizers.Adam(), package.optimizers.SGD(momentum=0.9)]


class Divided:
    """Kernel and bias of the first layer go to one optimizer, the rest to another."""

    builds = False
    """Whether it builds them beforehand, or leaves it to their own steps."""
    optimizers: list[Any]

    def build(self, variables: Any) -> None:
        first = vars(self.optimizers[0])
        if self.builds and not first.get("built", first.get("_built")):
            for part, own in zip(self.optimizers, (variables[:2], variables[2:]), strict=True):
                part.build(own)

    def apply(self, gradients: Any, trainable_variables: Any = None) -> None:
        pairs = list(zip(gradients, trainable_variables, strict=True))
        self.build([variable for _, variable in pairs])
        for part, own in zip(self.optimizers, (pairs[:2], pairs[2:]), strict=True):
            part.apply_gradients(own)

    def apply_gradients(self, grads_and_vars: Any, **_: Any) -> None:
        gradients, variables = zip(*grads_and_vars, strict=True)
        self.apply(gradients, variables)


def make_optimizer(package: Any, builds: bool) -> Any:
    """One that makes its parts itself, as its config says nothing of them."""

    class Whole(Divided, package.optimizers.Optimizer):  # type: ignore[misc,name-defined]
        def __init__(self, name: str = "whole", **_: Any) -> None:
            if package is keras:
                super().__init__(learning_rate=0.0, name=name)
            else:
                super().__init__(name=name)
                self._learning_rate = 0.0
            self.builds, self.optimizers = builds, make_parts(package)

        def get_config(self) -> dict[str, Any]:
            return {"name": self.name}

    return Whole()


def make_legacy() -> Any:
    class Whole(tf_keras.optimizers.legacy.Optimizer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("whole")
            self.optimizers = [tf_keras.optimizers.legacy.Adam(), tf_keras.optimizers.legacy.SGD(momentum=0.9)]

        def apply_gradients(self, grads_and_vars: Any, *_: Any, **__: Any) -> Any:
            pairs = list(grads_and_vars)
            parts = zip(self.optimizers, (pairs[:2], pairs[2:]), strict=True)
            return tf.group([part.apply_gradients(own) for part, own in parts])

        def get_config(self) -> dict[str, Any]:
            return {}

    return Whole()


def fitted(package: Any, optimizer: Any) -> Any:
    model = make_layers(package)
    model.compile(optimizer, "mse")
    model.fit(batches(), verbose=0)
    return model


@PACKAGES
@pytest.mark.parametrize("builds", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_step_uses_what_it_holds(package: Any, builds: bool, frozen: bool) -> None:
    model = fitted(package, make_optimizer(package, builds))
    model.layers[0].trainable = not frozen
    outcome = ask(model, batches())
    assert outcome.faults == []
    assert outcome.rules == ({"INT101"} if frozen else set())
    assert outcome.report is not None
    assert [finding.rule for finding in outcome.report.findings if finding.severity == "info"] == []
    assert [row.optimizer for row in outcome.report.variables] == [
        part.name for part in model.optimizer.optimizers for _ in range(2)
    ]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_legacy_one(frozen: bool) -> None:
    model = fitted(tf_keras, make_legacy())
    model.layers[0].trainable = not frozen
    outcome = ask(model, batches())
    assert outcome.faults == []
    assert outcome.rules == ({"INT101"} if frozen else set())


@PACKAGES
def test_another_of_the_kind_was_assigned(package: Any) -> None:
    model = fitted(package, make_optimizer(package, True))
    kept = model.optimizer
    model.optimizer = make_optimizer(package, True)
    outcome = ask(model, batches(), Asked(rules=("INT203",), arguable=True))
    assert outcome.rules == {"INT203"}
    del kept


def states(model: Any) -> list[Any]:
    parts = model.optimizer.optimizers
    held = [part.variables() if callable(part.variables) else part.variables for part in parts]
    return [np.asarray(tf.convert_to_tensor(variable)) for variables in held for variable in variables]


@PACKAGES
def test_compiled_again_each_keeps_its_state(package: Any) -> None:
    model = fitted(package, make_optimizer(package, True))
    old, before = model.optimizer, states(model)
    introspect.recompile(model)
    assert all(one is not other for one, other in zip(model.optimizer.optimizers, old.optimizers, strict=True))
    assert len(before) > 6
    assert all(np.array_equal(one, other) for one, other in zip(before, states(model), strict=True))


@PACKAGES
def test_state_that_cannot_be_kept_is_not_lost(package: Any) -> None:
    model = fitted(package, make_optimizer(package, False))
    old = model.optimizer
    with pytest.raises(introspect.IntrospectError, match="its state cannot be kept; pass keep_optimizer_state=False"):
        introspect.recompile(model)
    assert model.optimizer is old
    introspect.recompile(model, keep_optimizer_state=False)
    assert model.optimizer is not old
