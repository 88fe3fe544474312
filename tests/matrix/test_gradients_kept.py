"""Variables that no tape watches, which hold what other variables' gradients were: they are kept, and not trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.models import make_data
from tests.matrix.test_custom_training import Base
from tests.oracle import Asked, ask, randomize

pytestmark = pytest.mark.tf


class Elastic(Base):
    """EWC: a penalty is weighed by a running mean of squared gradients, which the loss reads."""

    def __init__(self) -> None:
        super().__init__()
        self.fisher = self.add_weight(shape=(4, 4), trainable=False, initializer="ones", name="fisher")
        self.anchor = self.add_weight(shape=(4, 4), trainable=False, initializer="zeros", name="anchor")

    def train_step(self, data: Any) -> Any:
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            loss = self.measure(tape, *data)
        gradients = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        kernel = next(g for g, v in zip(gradients, variables, strict=True) if v is self.b.kernel)
        self.fisher.assign(0.9 * self.fisher + 0.1 * tf.square(kernel))
        return {"loss": loss}

    def measure(self, tape: Any, x: Any, y: Any) -> Any:
        error = tf.reduce_mean(tf.square(self(x, training=True) - y))
        return error + 0.1 * tf.reduce_sum(self.fisher * tf.square(self.b.kernel - self.anchor))


class Masked(Elastic):
    """The same numbers scale a kernel inside of the net."""

    def measure(self, tape: Any, x: Any, y: Any) -> Any:
        hidden = tf.tanh(self.a(x) @ (self.fisher * self.b.kernel) + self.b.bias)
        return tf.reduce_mean(tf.square(self.c(hidden) - y))


class TrainedByHand(Elastic):
    """What it keeps is trained as well: the step watches it, and goes down its slope."""

    def train_step(self, data: Any) -> Any:
        variables, kept = self.trainable_variables, self.fisher.value
        with tf.GradientTape() as tape:
            tape.watch(kept)
            loss = self.measure(tape, *data)
        *gradients, own = tape.gradient(loss, [*variables, kept])
        self.optimizer.apply_gradients([*zip(gradients, variables, strict=True), *self.move(own)])
        return {"loss": loss}

    def move(self, gradient: Any) -> list[Any]:
        self.fisher.assign(self.fisher - 0.1 * gradient)
        return []


class MaskedByHand(TrainedByHand, Masked):
    """The same of the scale inside of the net."""


class Given(TrainedByHand):
    """What no flag lets train is given to the optimizer."""

    def move(self, gradient: Any) -> list[Any]:
        return [(gradient, self.fisher)]


class MaskedAndGiven(Given, Masked):
    """The same of the scale inside of the net."""


class Inner(Base):
    """A layer's fast weights go down the slope of a loss of their own, in each call."""

    def __init__(self) -> None:
        super().__init__()
        self.fisher = self.add_weight(shape=(4, 4), trainable=False, initializer="orthogonal", name="fisher")

    def call(self, x: Any, training: bool = False) -> Any:
        hidden, fast = self.b(self.a(x)), tf.convert_to_tensor(self.fisher)
        with tf.GradientTape() as tape:
            tape.watch(fast)
            loss = tf.reduce_mean(tf.square(hidden @ fast - hidden))
        fast = fast - 0.1 * tape.gradient(loss, fast)
        if training:
            self.fisher.assign(fast)
        return self.c(hidden @ fast)


HANDS = Asked(arrived={"*fisher": "dense"}, averaged=("*fisher",), rules=("INT301",))
KEPT = {
    Elastic: (Asked(), set()),
    Masked: (Asked(), set()),
    TrainedByHand: (HANDS, set()),
    MaskedByHand: (HANDS, set()),
    Given: (Asked(rules=("INT101",)), {"INT101"}),
    MaskedAndGiven: (Asked(rules=("INT101",)), {"INT101"}),
    Inner: (HANDS, set()),
}


@pytest.mark.parametrize("kind", KEPT, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_a_step_keeps_of_gradients(kind: Any, optimizer: str) -> None:
    """Before the first step, and as compiled."""
    model, data = kind(), make_data()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(optimizer, "mse")
    asked, rules = KEPT[kind]
    for _ in range(2):
        outcome = ask(model, data, asked)
        assert outcome.faults == []
        assert outcome.rules == rules
