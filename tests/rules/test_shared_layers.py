"""A layer that two containers hold, one of which is frozen: DreamBooth's diffusion model, which is its backbone's too."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

import introspect
from tests.oracle import ask
from tests.rules.exchanged import PACKAGES, X, Y

pytestmark = pytest.mark.tf
DATA = tf.data.Dataset.from_tensors((X, Y))


def make_model(package: Any, order: tuple[str, ...], frozen: bool) -> Any:
    """A compiled model that trains the net which its backbone holds as well; `order` in which its attributes are set."""
    layers = package.layers
    net = package.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(1)], name="net")

    class Backbone(package.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="backbone")
            self.encoder, self.net = layers.Dense(4, name="encoder"), net

        def call(self, inputs: Any) -> Any:
            return self.net(self.encoder(inputs))

    class Tuner(package.Model):  # type: ignore[misc]
        def __init__(self, parts: dict[str, Any]) -> None:
            super().__init__(name="tuner")
            for name in order:
                setattr(self, name, parts[name])

        def call(self, inputs: Any) -> Any:
            return self.trained(self.backbone.encoder(inputs))

    backbone = Backbone()
    model = Tuner({"backbone": backbone, "trained": net})
    backbone(X)
    model(X)
    backbone.trainable = not frozen
    net.trainable = True
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("order", [("backbone", "trained"), ("trained", "backbone")], ids=" first, ".join)
@PACKAGES
def test_the_frozen_container_is_told_in_any_order(package: Any, order: tuple[str, ...]) -> None:
    model = make_model(package, order, frozen=True)
    (finding,) = introspect.inspect(model, data=(X, Y), try_fixes=True).findings
    assert (finding.rule, finding.severity, len(finding.variables)) == ("INT401", "info", 4)
    assert finding.message.startswith("backbone.trainable is False, and 4 variables of it are trainable all the same")
    assert "net stands outside of backbone too." in finding.cause
    assert ("one flag in Keras 3" in finding.cause) is (package.__name__ == "keras")
    assert finding.trials[0].verified
    assert ask(model, DATA).faults == []
    exec(finding.fix)
    assert model.trainable_variables == []


@PACKAGES
def test_a_container_that_is_not_frozen_is_no_finding(package: Any) -> None:
    model = make_model(package, ("trained", "backbone"), frozen=False)
    outcome = ask(model, DATA)
    assert (outcome.faults, outcome.report.findings if outcome.report else None) == ([], ())
