"""What a call does to Python, and to variables at once, while it is traced: a look leaves nothing of it, and training is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect

pytestmark = pytest.mark.tf

RANDOM = np.random.default_rng(2)
X, Y = RANDOM.random((8, 4), dtype="float32"), RANDOM.random((8, 1), dtype="float32")


class Register:
    """Named by a function, held by nobody."""

    count = 0
    items: list[int] = []  # noqa: RUF012


def remember(store: dict[str, int] = {}) -> int:  # noqa: B006
    store["calls"] = store.get("calls", 0) + 1
    return store["calls"]


def count_calls() -> int:
    count_calls.number = getattr(count_calls, "number", 0) + 1  # type: ignore[attr-defined]
    return int(count_calls.number)  # type: ignore[attr-defined]


def count_in_class(layer: Any) -> float:
    type(layer).number = getattr(type(layer), "number", 0) + 1
    return float(type(layer).number)


def count_elsewhere(layer: Any) -> float:
    Register.count += 1
    Register.items.append(Register.count)
    return float(len(Register.items))


def count_at_once(layer: Any) -> float:
    with tf.init_scope():
        return float(layer.held[0].assign_add(1.0))


def scatter_at_once(layer: Any) -> float:
    with tf.init_scope():
        layer.held[1].scatter_add(tf.IndexedSlices([1.0], [0]))
        return float(layer.held[1][0])


def draw_at_once(layer: Any) -> float:
    with tf.init_scope():
        return float(tf.random.uniform([]))


def draw_from_a_generator(layer: Any) -> float:
    with tf.init_scope():
        return float(layer.held[2].uniform([]))


ACTS: dict[str, Callable[[Any], float]] = {
    "default argument": lambda layer: float(remember()),
    "attribute of a function": lambda layer: float(count_calls()),
    **{
        act.__name__: act
        for act in (
            count_in_class,
            count_elsewhere,
            count_at_once,
            scatter_at_once,
            draw_at_once,
            draw_from_a_generator,
        )
    },
}


def play(keras: Any, act: Callable[[Any], float], look: bool) -> list[bytes]:
    """All weights after a training, before and in which one looks or does not, and what the acts have left."""

    class Scale(keras.layers.Layer):  # type: ignore[misc]
        number = 0

        def __init__(self) -> None:
            super().__init__(name="scale")
            counts = (tf.Variable(0.0, trainable=False), tf.Variable([0.0, 0.0], trainable=False))
            self.held = (*counts, tf.random.Generator.from_seed(1))

        def call(self, x: Any) -> Any:
            return x * (1.0 + 0.1 * act(self))

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    keras.backend.clear_session()
    keras.utils.set_random_seed(4)
    Register.count, count_calls.number = 0, 0  # type: ignore[attr-defined]
    Register.items.clear()
    remember.__defaults__[0].clear()  # type: ignore[index]
    layer = Scale()
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1, name="out")], name="m")
    model.compile("sgd", "mse")
    for _ in range(2):
        if look:
            assert introspect.inspect(model, data=(X, Y), batch_size=8, measure=True).ok
        model.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    left = (Scale.number, Register.count, len(Register.items), count_calls.number, remember(), *layer.held[:2])  # type: ignore[attr-defined]
    return [np.asarray(value).tobytes() for value in (*model.variables, *left, layer.held[2].state)]


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
@pytest.mark.parametrize("act", ACTS)
def test_a_look_leaves_nothing_of_a_call(act: str, name: str) -> None:
    keras = pytest.importorskip(name)
    assert play(keras, ACTS[act], look=True) == play(keras, ACTS[act], look=False)


class Tally(tf.Module):
    """A module of the user's that notes in dicts what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones([4, 1]))
        self.seen: dict[str, int] = {}
        self.parts: dict[str, tf.Variable] = {"bias": tf.Variable(tf.zeros([1]))}

    def step(self, x: tf.Tensor) -> tf.Tensor:
        self.seen["calls"] = self.seen.get("calls", 0) + 1
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ self.weight + self.parts["bias"]) ** 2)
        self.weight.assign_sub(0.1 * tape.gradient(loss, self.weight))
        return loss


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_what_a_step_traced_apart_wrote_into_can_still_be_saved(package: str, tmp_path: Path) -> None:
    keras = pytest.importorskip(package)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x, y = np.ones((4, 4), "float32"), np.ones((4, 1), "float32")

    def step(x: tf.Tensor, y: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        weights = model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    introspect.inspect(tf.function(step), args=(x, y), model=model)
    model.fit(x, y, verbose=0)
    tf.train.Checkpoint(optimizer=model.optimizer).save(str(tmp_path / "model"))
    introspect.recompile(model)


def test_a_module_with_dicts_can_still_be_saved(tmp_path: Path) -> None:
    tally = Tally()
    introspect.inspect(tf.function(tally.step), args=(np.ones((4, 4), "float32"),))
    assert tally.seen == {}
    tally.step(tf.ones([4, 4]))
    tf.train.Checkpoint(tally=tally).save(str(tmp_path / "tally"))
