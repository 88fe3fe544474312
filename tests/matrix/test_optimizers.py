"""Every optimizer that Keras 3 ships with every setting that changes what a step writes.

Each cell is three situations: a layer frozen on purpose before the first fit (healthy), a second fit with the step that
exists (healthy), another layer frozen without compiling (stale).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.matrix.models import dense_model, freeze, make_data
from tests.oracle import Asked, ask

pytestmark = pytest.mark.tf

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "SGD": lambda **k: keras.optimizers.SGD(0.05, **k),
    "SGD-momentum": lambda **k: keras.optimizers.SGD(0.05, momentum=0.9, **k),
    "SGD-nesterov": lambda **k: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, **k),
    "RMSprop": lambda **k: keras.optimizers.RMSprop(0.05, **k),
    "RMSprop-centered": lambda **k: keras.optimizers.RMSprop(0.05, momentum=0.5, centered=True, **k),
    "Adam": lambda **k: keras.optimizers.Adam(0.05, **k),
    "Adam-amsgrad": lambda **k: keras.optimizers.Adam(0.05, amsgrad=True, **k),
    "AdamW": lambda **k: keras.optimizers.AdamW(0.05, **k),
    "Adadelta": lambda **k: keras.optimizers.Adadelta(0.5, **k),
    "Adagrad": lambda **k: keras.optimizers.Adagrad(0.05, **k),
    "Adamax": lambda **k: keras.optimizers.Adamax(0.05, **k),
    "Adafactor": lambda **k: keras.optimizers.Adafactor(0.05, **k),
    "Nadam": lambda **k: keras.optimizers.Nadam(0.05, **k),
    "Ftrl": lambda **k: keras.optimizers.Ftrl(0.05, **k),
    "Lion": lambda **k: keras.optimizers.Lion(0.05, **k),
    "Lamb": lambda **k: keras.optimizers.Lamb(0.05, **k),
    "Muon": lambda **k: keras.optimizers.Muon(0.05, **k),
    "ScheduleFreeAdamW": lambda **k: keras.optimizers.ScheduleFreeAdamW(0.05, **k),
    "LossScaleOptimizer": lambda **k: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05, **k)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight_decay": {"weight_decay": 0.01},
    "clipnorm": {"clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "ema": {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 1},
    "ema-end": {"use_ema": True, "ema_momentum": 0.9},
    "accumulation": {"gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name: str, setting: str) -> None:
    """Frozen on purpose, trained, then frozen too late."""
    keras.backend.clear_session()
    model, data = dense_model(normalize=True), make_data()
    model.get_layer("a").trainable = False
    model.compile(OPTIMIZERS[name](**SETTINGS[setting]), "mse")
    accumulates = setting == "accumulation"
    asked = Asked(numeric=accumulates, kinds={"norm/moving_*": "statistics", "c/*": "gradient"})
    assert ask(model, data, asked).faults == []
    assert ask(model, data, asked).faults == []
    # Averages are paired with the weights by position: only the last layer can be frozen without another fault.
    late = "c" if setting.startswith("ema") else "b"
    freeze(late)(model, data)
    stale = Asked(numeric=accumulates, rules=("INT101",), kinds={f"{late}/*": "gradient"})
    assert ask(model, data, stale).faults == []


def test_averages_that_do_not_fit() -> None:
    """A layer in the middle is frozen: the end of fit pairs averages and weights of different shapes, and raises."""
    keras.backend.clear_session()
    model, data = dense_model(), make_data()
    model.compile(keras.optimizers.SGD(0.05, use_ema=True), "mse")
    assert ask(model, data).faults == []
    freeze("b")(model, data)
    outcome = ask(model, data, Asked(raises=True))
    assert outcome.faults == []
    assert "INT202" in outcome.rules


def test_averages_that_nobody_keeps() -> None:
    """The step applies its gradients without model.optimizer, which is to write averages back at the end of fit."""

    class ByHand(keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(self(x, training=True) - y))
            gradients = tape.gradient(loss, self.trainable_variables)
            for variable, gradient in zip(self.trainable_variables, gradients, strict=True):
                variable.assign_sub(0.1 * gradient)
            return {"loss": loss}

    keras.backend.clear_session()
    inputs = keras.Input((3,))
    model = ByHand(inputs, keras.layers.Dense(1)(inputs))
    model.compile(keras.optimizers.SGD(0.05, use_ema=True), "mse")
    outcome = ask(model, make_data(), Asked(raises=True))
    assert outcome.faults == []
    assert "INT202" in outcome.rules
    model.compile(keras.optimizers.SGD(0.05), "mse")
    assert ask(model, make_data(), Asked(arrived={"*": "dense"})).faults == []


class Partial(keras.optimizers.SGD):
    """Writes what has the ranks that it is told."""

    ranks: tuple[int, ...] = (1, 2)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if len(variable.shape) in self.ranks:
            super().update_step(gradient, variable, learning_rate)


@pytest.mark.parametrize("leaves_out", [True, False])
def test_an_optimizer_of_ones_own_that_leaves_variables_out(leaves_out: bool) -> None:
    """Keras hands it every gradient; what it does not write is told as its doing."""
    keras.backend.clear_session()
    model, data = dense_model(), make_data()
    optimizer = Partial(0.05)
    optimizer.ranks = (2,) if leaves_out else (1, 2)
    model.compile(optimizer, "mse")
    for _ in range(2):  # before a fit, and of a step that a new one shows to be as it is for another cause than its age
        outcome = ask(model, data, Asked(rules=("INT104",), arrived={"*/bias": "none"}) if leaves_out else Asked())
        assert outcome.faults == []
        assert outcome.report is not None
        causes = [finding.cause for finding in outcome.report.findings]
        assert len(causes) == leaves_out
        assert all("Partial, your own optimizer" in cause for cause in causes)
