"""A step that XLA refuses is announced before it runs, and one that it takes is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import introspect
from tests.oracle import Asked, ask, ask_loop

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")


def python(keras: Any, tf: Any) -> Any:
    class Python(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + tf.ensure_shape(tf.py_function(lambda value: value * 2.0, [x], tf.float32), x.shape)

    return Python()


def loop(keras: Any, tf: Any, **most: int) -> Any:
    class Loop(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1],), name="w", initializer="ones")

        def call(self, x: Any) -> Any:
            count = tf.reduce_sum(tf.cast(x[0] > -10.0, tf.int32))
            turn = lambda i, y: (i + 1, y * self.w + 1.0)  # noqa: E731
            return tf.while_loop(lambda i, y: i < count, turn, [0, x], **most)[1]

    return Loop()


def bounded(keras: Any, tf: Any) -> Any:
    return loop(keras, tf, maximum_iterations=4)


def dropout(keras: Any, tf: Any) -> Any:
    return keras.layers.Dropout(0.5)


def printed(keras: Any, tf: Any) -> Any:
    class Printed(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            tf.print("mean", tf.reduce_mean(x))
            return x

    return Printed()


def counted(keras: Any, tf: Any) -> Any:
    class Counted(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(shape[-1], 1), name="w", initializer="ones", trainable=False)

        def call(self, x: Any) -> Any:
            count = tf.cast(tf.reduce_sum(tf.abs(x @ self.w)), tf.int32)
            return x + tf.cast(tf.reduce_sum(tf.range(count)), tf.float32)

    return Counted()


REFUSED: dict[str, tuple[Callable[..., Any], str]] = {
    "py_function": (python, "cannot compile EagerPyFunc"),
    "open loop": (loop, "maximum_iterations"),
    "print": (printed, "cannot compile StringFormat"),
    "open shape": (counted, "cannot compile Range, whose size depends on values"),
}
TAKEN = {"bounded loop": bounded, "dropout": dropout}


def build(name: str, make: Callable[..., Any], **compiled: Any) -> tuple[Any, Any]:
    import tensorflow as tf

    keras = pytest.importorskip(name)
    keras.utils.set_random_seed(1)
    layers = [make(keras, tf), keras.layers.Dense(1, name="out")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("sgd", "mse", **compiled)
    data = tf.data.Dataset.from_tensor_slices((np.ones((8, 4), "float32"), np.ones((8, 1), "float32"))).batch(4)
    return model, data


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, name: str, steps: int) -> None:
    make, words = REFUSED[kind]
    model, data = build(name, make, jit_compile=True, steps_per_execution=steps)
    outcome = ask(model, data, Asked(raises=True, rules=("INT202",), opaque=kind == "py_function"))
    assert outcome.faults == []
    assert outcome.report is not None
    (finding,) = [finding for finding in outcome.report.findings if finding.rule == "INT202"]
    assert "when XLA compiles the step" in finding.message
    assert words in finding.message
    assert finding.evidence[0].location is not None
    assert finding.evidence[0].location.file.endswith("test_compiling.py")
    assert "jit_compile=False" in finding.fix
    again = introspect.inspect(model)  # after the fit that raised; its trace is there now
    assert [found.message for found in again.findings if found.rule == "INT202"] == [finding.message]


@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_xla_refuses_trains_without_it(kind: str, name: str) -> None:
    model, data = build(name, REFUSED[kind][0], jit_compile=False)
    assert ask(model, data, Asked(opaque=kind == "py_function")).faults == []


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("name", KERAS)
@pytest.mark.parametrize("kind", TAKEN)
def test_taken(kind: str, name: str, steps: int) -> None:
    model, data = build(name, TAKEN[kind], jit_compile=True, steps_per_execution=steps)
    outcome = ask(model, data)
    assert outcome.faults == []


@pytest.mark.parametrize("make", [python, dropout])
def test_a_function_of_ones_own(make: Callable[..., Any]) -> None:
    import tensorflow as tf

    model, _ = build("keras", make)
    optimizer, variables = model.optimizer, model.trainable_variables
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        optimizer.apply(tape.gradient(loss, variables), variables)

    refused = make is python
    outcome = ask_loop(
        step, (tf.ones((4, 4)), tf.ones((4, 1))), model, optimizer, Asked(raises=refused, opaque=refused)
    )
    assert outcome.faults == []
    assert outcome.report is not None
    again = introspect.inspect(step, args=(tf.ones((4, 4)), tf.ones((4, 1))), model=model, optimizer=optimizer)
    for report in (outcome.report, again):
        assert [found.fix for found in report.findings] == ["tf.function(jit_compile=False)"] * refused
        assert all(found.evidence[0].location is not None for found in report.findings)


@pytest.mark.parametrize("runs", [True, False])
def test_a_branch_that_perhaps_never_runs(runs: bool) -> None:
    """Nothing is foretold of a condition of the user's: whether it raises depends on the batch."""
    import tensorflow as tf

    model, _ = build("keras", dropout)
    optimizer, variables = model.optimizer, model.trainable_variables
    optimizer.build(variables)
    refused = tf.function(lambda x: tf.py_function(tf.reduce_sum, [x], tf.float32), jit_compile=True)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return tf.cond(tf.reduce_sum(x) > 0.0, lambda: refused(x), lambda: 0.0)

    x = tf.ones((4, 4)) if runs else tf.zeros((4, 4))
    report = introspect.inspect(step, args=(x, tf.ones((4, 1))), model=model, optimizer=optimizer)
    assert [found.rule for found in report.findings if found.rule == "INT202"] == []
    if not runs:
        step(x, tf.ones((4, 1)))  # does not raise
    else:
        with pytest.raises(tf.errors.InvalidArgumentError):
            step(x, tf.ones((4, 1)))


def test_a_shape_that_the_batch_gives() -> None:
    """XLA takes a label as a constant; an answer for any batch would say that it refuses."""
    import tensorflow as tf

    keras = pytest.importorskip("keras")

    class Counting(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
                loss += tf.cast(tf.reduce_sum(tf.range(tf.cast(y[0, 0], tf.int32))), tf.float32)
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

    model = Counting([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.compile("sgd", "mse", jit_compile=True)
    data = tf.data.Dataset.from_tensor_slices((np.ones((4, 4), "float32"), np.full((4, 1), 3.0, "float32"))).batch(4)
    assert ask(model, data).faults == []


def test_asking_draws_no_random_number() -> None:
    """TensorFlow's own way to a function's IR draws one, to learn where it is."""
    import tensorflow as tf

    model, data = build("keras", dropout, jit_compile=True)
    tf.random.set_seed(3)
    first = tf.random.uniform(()).numpy()
    tf.random.set_seed(3)
    introspect.inspect(model, data=data)
    assert tf.random.uniform(()).numpy() == first
