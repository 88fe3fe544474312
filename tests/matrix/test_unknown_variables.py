"""Steps of several optimizers, one of which is handed what it does not know: that one is named, with these variables alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import introspect
from introspect.records import Finding
from tests.matrix.models import make_data
from tests.oracle import Asked, ask, ask_loop, randomize

pytestmark = pytest.mark.tf

layers = keras.layers
LEFT, RIGHT = ("pair/left_a/kernel", "pair/left_a/bias"), ("pair/right_a/kernel", "pair/right_a/bias")


class Pair(keras.Model):
    """Two halves, each with layers a and b and an optimizer of its own; the left one trains first."""

    def __init__(self) -> None:
        super().__init__(name="pair")
        self.left_a, self.left_b = (layers.Dense(3, name=f"left_{name}") for name in "ab")
        self.right_a, self.right_b = (layers.Dense(3, name=f"right_{name}") for name in "ab")

    def compile(self, left: Any, right: Any) -> None:
        super().compile()
        self.left, self.right = left, right

    def call(self, x: Any) -> Any:
        return self.right_b(self.right_a(self.left_b(self.left_a(x))))

    def train_step(self, data: Any) -> Any:
        x, y = data
        halves = (self.left, (self.left_a, self.left_b)), (self.right, (self.right_a, self.right_b))
        for optimizer, half in halves:
            variables = [v for layer in half for v in layer.trainable_variables]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}


def build_pair(*frozen: str, swapped: bool = False) -> tuple[Any, Any]:
    """Fitted while the layers were frozen, thawed, and to be traced anew."""
    keras.utils.clear_session()
    model, data = Pair(), make_data(outputs=3)
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(keras.optimizers.SGD(0.1, name="first"), keras.optimizers.SGD(0.1, name="second"))
    for name in frozen:
        getattr(model, name).trainable = False
    model.fit(data, verbose=0)
    for name in frozen:
        getattr(model, name).trainable = True
    model.train_function = None
    if swapped:
        model.left, model.right = model.right, model.left
    return model, data


def tell(model: Any, data: Any) -> list[Finding]:
    return [found for found in introspect.inspect(model, data=data).findings if found.rule == "INT201"]


@pytest.mark.parametrize(
    ("frozen", "told"),
    [
        (("left_a",), [("first", LEFT)]),
        (("right_a",), [("second", RIGHT)]),
        (("left_a", "right_a"), [("first", LEFT), ("second", RIGHT)]),
    ],
)
def test_half_that_was_frozen(frozen: tuple[str, ...], told: list[tuple[str, tuple[str, ...]]]) -> None:
    model, data = build_pair(*frozen)
    found = tell(model, data)
    assert [
        (f"optimizer '{name}'" in one.message, one.variables) for one, (name, _) in zip(found, told, strict=True)
    ] == [(True, variables) for _, variables in told]
    assert [one.message.startswith("The next fit raises:") for one in found] == [True, False][: len(told)]
    outcome = ask(model, data, Asked(raises=True, rules=("INT201",)))
    assert outcome.faults == []
    assert told[0][1][0] in str(outcome.error)


def test_optimizers_that_were_swapped() -> None:
    model, data = build_pair(swapped=True)
    found = tell(model, data)
    assert ["'second' does not know 4" in found[0].message, "'first' does not know 4" in found[1].message] == [
        True,
        True,
    ]
    assert "this one was built with others; optimizer 'first' was built with them." in found[0].cause
    assert ask(model, data, Asked(raises=True, rules=("INT201",))).faults == []


def test_optimizers_that_know_all() -> None:
    outcome = ask(*build_pair())
    assert (outcome.faults, outcome.rules) == ([], set())


@pytest.mark.parametrize("whole", [False, True])
def test_loop_of_two_optimizers(whole: bool) -> None:
    model, data = build_pair(*(() if whole else ("right_a",)))
    optimizers = (model.left, model.right)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        return model.train_step((x, y))

    args = next(iter(data))
    report = introspect.inspect(step, args=args, model=model, optimizer=list(optimizers))
    found = [(one.rule, one.variables) for one in report.findings]
    assert found == ([] if whole else [("INT201", RIGHT)])
    asked = Asked() if whole else Asked(raises=True, rules=("INT201",))
    assert ask_loop(step, args, model, model.left, asked).faults == []


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has MultiOptimizer since 3.15")
@pytest.mark.parametrize("frozen", [False, True])
def test_parts_of_a_multi_optimizer(frozen: bool) -> None:
    """The whole is what the step hands all to: it is named once, and none of its parts beside it."""
    keras.utils.clear_session()
    optimizers, data = keras.optimizers, make_data()
    parts = [layers.Dense(4, name="a"), layers.Dense(4, name="b"), layers.Dense(1, name="c")]
    model = keras.Sequential([keras.Input((3,)), *parts], name="net")
    chosen = optimizers.OptimizerMap(optimizers.SGD(name="rest"), {"net/a/.*|a/.*": optimizers.Adam(name="some")})
    model.compile(optimizers.MultiOptimizer(chosen, name="whole"), "mse")
    for layer in parts[:2]:
        layer.trainable = not frozen
    model.fit(data, verbose=0)
    for layer in parts[:2]:
        layer.trainable = True
    model.train_function = None
    found = tell(model, data)
    assert ["'whole' does not know 4 trainable variables" in one.message for one in found] == [True] * frozen
    asked = Asked(raises=True, rules=("INT201",)) if frozen else Asked()
    assert ask(model, data, asked).faults == []
