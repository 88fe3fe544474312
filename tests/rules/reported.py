"""Steps as people report them: models of two nets, and how what is said of each is held against one real step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.oracle import PLAIN, Asked, ask

layers = keras.layers
x = np.random.default_rng(0).random((8, 4), dtype="float32")
y = np.random.default_rng(1).random((8, 1), dtype="float32")
OLD = ("was traced", "while layer")


def batches() -> Any:
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


@dataclass(frozen=True)
class Case:
    """One report: how the model is made, what the oracle may allow, and what must be said."""

    build: Callable[[], Any]
    rule: str
    said: tuple[str, ...]
    never: tuple[str, ...] = ()
    asked: Asked = PLAIN


class Step(keras.Model):
    """A model of two nets whose step is given."""

    def __init__(self, step: Callable[..., Any]) -> None:
        super().__init__(name="own")
        self.actor = layers.Dense(2, name="actor")
        self.critic = layers.Dense(1, name="critic")
        self.step = step

    def call(self, inputs: Any) -> Any:
        return self.actor(inputs), self.critic(inputs)

    def train_step(self, data: Any) -> Any:
        return {"loss": self.step(self, *data)}


def compare(model: Any, inputs: Any, target: Any) -> Any:
    """The loss of both nets."""
    return tf.reduce_mean((model.actor(inputs) * model.critic(inputs) - target) ** 2)


def apply(model: Any, tape: Any, loss: Any, variables: Any = None) -> Any:
    variables = model.trainable_variables if variables is None else variables
    model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss


def own(step: Callable[..., Any], fitted: bool = False, frozen: str | None = None) -> Any:
    model = Step(step)
    model(x)
    if frozen is not None:
        model.get_layer(frozen).trainable = False
    model.compile("sgd")
    if fitted:
        model.fit(batches(), verbose=0)
    return model


def aside(model: Any) -> list[Any]:
    """What only the loss or a Lambda holds."""
    return list(model.__dict__["aside"]())


def require_told(case: Case, data: Any = None) -> None:
    """One finding of the rule says all of it, and the report agrees with a real step."""
    keras.backend.clear_session()
    outcome = ask(case.build(), batches() if data is None else data, case.asked)
    assert outcome.faults == []
    assert outcome.report is not None
    texts = [f"{f.message}\n{f.cause}\n{f.fix}" for f in outcome.report.findings if f.rule == case.rule]
    assert len(texts) == 1, str(outcome.report)
    assert [phrase for phrase in case.said if phrase not in texts[0]] == []
    assert [phrase for phrase in case.never if phrase in texts[0]] == []


def require_silent(build: Callable[[], Any], data: Any = None) -> None:
    """No alarm, and the report agrees with a real step."""
    keras.backend.clear_session()
    outcome = ask(build(), batches() if data is None else data, PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    assert outcome.report.ok
