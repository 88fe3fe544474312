"""Steps of the user's own: what is measured is what they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import introspect
from introspect.records import Report
from tests.measure.truth import read_state, same
from tests.measure.zoo import FLOATS, TARGET, perceptron

pytestmark = pytest.mark.tf


def norm(value: Any) -> float:
    return float(np.linalg.norm(np.asarray(value, np.float64)))


def measure(target: Any, **options: Any) -> Report:
    report = introspect.inspect(target, measure=True, **options)
    assert not [finding for finding in report.findings if finding.rule == "INT506"], report.findings
    return report


def ids(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def test_a_loop_of_ones_own() -> None:
    import keras
    import tensorflow as tf

    model, x, y = perceptron(keras)
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    x, y = tf.constant(x), tf.constant(y)
    step(x, y)
    before = read_state(model) if model.compiled else [np.array(v) for v in model.variables]
    report = measure(step, args=(x, y), model=model, optimizer=optimizer)
    assert same(before, [np.array(v) for v in model.variables])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - y) ** 2)
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        numbers = report.variable(variable.path).measured
        assert numbers.gradient_norm == pytest.approx(norm(gradient), rel=1e-4)
        assert numbers.update_norm == pytest.approx(0.5 * norm(gradient), rel=1e-3)


def look_ahead(settles: float) -> Any:
    """A model whose first step makes variables of a slow copy, which the weights are set back to."""
    import keras
    import tensorflow as tf

    class Slow(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            if not hasattr(self, "slow"):
                self.slow = [tf.Variable(v.value, trainable=False) for v in self.trainable_variables]
            logs = super().train_step(data)
            for fast, slow in zip(self.trainable_variables, self.slow, strict=True):
                slow.assign(slow + settles * (fast.value - slow))
                fast.assign(slow)
            return logs

    keras.utils.set_random_seed(3)
    model = Slow([keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    return model


@pytest.mark.parametrize("settles", [0.25, 1.0])
def test_variables_that_the_first_step_makes_are_made_on_the_copy(settles: float) -> None:
    model = look_ahead(settles)
    for _ in range(2):
        report = measure(model, data=(FLOATS, TARGET))
        before = [np.array(v) for v in model.trainable_variables]
        model.fit(FLOATS, TARGET, batch_size=len(FLOATS), shuffle=False, verbose=0)
        for variable, old in zip(model.trainable_variables, before, strict=True):
            numbers = report.variable(variable.path).measured
            assert numbers.update_norm == pytest.approx(norm(np.array(variable) - old), rel=1e-3)


def test_a_loop_with_specs_is_measured_on_a_made_up_batch() -> None:
    import tensorflow as tf

    weight = tf.Variable(tf.ones([4, 1]), name="weight")

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ weight) ** 2)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))
        return loss

    report = introspect.inspect(step, args=(tf.TensorSpec([None, 4]),), measure=True)
    assert ids(report) == ["INT506"]
    numbers = report.variables[0].measured
    assert numbers.update_norm == pytest.approx(0.1 * numbers.gradient_norm, rel=1e-4)


def test_an_iterator_of_the_steps_own_is_not_moved() -> None:
    import tensorflow as tf

    rows = iter(tf.data.Dataset.range(10).map(lambda row: tf.cast(row, tf.float32)))
    weight = tf.Variable(2.0, name="weight")

    @tf.function
    def step() -> Any:
        with tf.GradientTape() as tape:
            loss = weight * next(rows)
        weight.assign_sub(0.1 * tape.gradient(loss, weight))
        return loss

    step()
    report = introspect.inspect(step, args=(), measure=True)
    assert "iterator" in next(f.cause for f in report.findings if f.rule == "INT506")
    assert float(next(rows)) == 1.0


def test_train_on_batch_and_two_optimizers() -> None:
    """A GAN: each half is measured with its own optimizer's update."""
    import keras
    import tensorflow as tf

    class Gan(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.make = keras.layers.Dense(4, name="make")
            self.judge = keras.layers.Dense(1, name="judge")
            self.make_optimizer = keras.optimizers.SGD(0.1)

        def call(self, x: Any) -> Any:
            return self.judge(self.make(x))

        def train_step(self, data: Any) -> Any:
            x = data[0]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.judge(x) - 1.0) ** 2) + tf.reduce_mean(self(x) ** 2)
            own = self.judge.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - 1.0) ** 2)
            own = self.make.trainable_variables
            self.make_optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
            return {"loss": loss}

    model = Gan()
    model(FLOATS)
    model.compile(keras.optimizers.SGD(0.3), "mse")
    model.train_on_batch(FLOATS, TARGET)
    report = measure(model, data=(FLOATS, TARGET))
    before = {v.path: np.array(v) for v in model.variables}
    model.fit(FLOATS, TARGET, batch_size=8, verbose=0)
    for variable in model.variables:
        numbers = report.variable(variable.path).measured
        moved = norm(np.array(variable) - before[variable.path])
        rate = 0.3 if "judge" in variable.path else 0.1
        assert numbers.update_norm == pytest.approx(moved, rel=1e-3)
        assert numbers.gradient_norm == pytest.approx(moved / rate, rel=1e-3)


def test_a_gradient_penalty() -> None:
    """A tape in a tape."""
    import keras
    import tensorflow as tf

    class Smooth(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                with tf.GradientTape() as inner:
                    inner.watch(x)
                    out = self(x, training=True)
                slope = inner.gradient(out, x)
                loss = tf.reduce_mean((out - y) ** 2) + tf.reduce_mean(slope**2)
            own = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
            return {"loss": loss}

    model = Smooth([keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.2), "mse")
    model.fit(FLOATS, TARGET, batch_size=8, shuffle=False, verbose=0)
    report = measure(model, data=(FLOATS, TARGET))
    before = {v.path: np.array(v) for v in model.variables}
    model.fit(FLOATS, TARGET, batch_size=8, shuffle=False, verbose=0)
    for variable in model.variables:
        numbers = report.variable(variable.path).measured
        moved = norm(np.array(variable) - before[variable.path])
        assert numbers.gradient_norm == pytest.approx(moved / 0.2, rel=1e-3)


@pytest.mark.parametrize(("factors", "told"), [((1.0, 3.0), []), ((0.0, 1.0), []), ((0.0, 0.0), ["INT502"])])
def test_several_updates_of_a_step(factors: tuple[float, ...], told: list[str]) -> None:
    """The gradient is that of the weights as they are, so of the first update; the update is the whole step's."""
    import keras
    import tensorflow as tf

    class Repeated(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            own = self.trainable_variables
            for factor in factors:
                with tf.GradientTape() as tape:
                    loss = factor * tf.reduce_mean((self(x, training=True) - y) ** 2)
                self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
            return {"loss": loss}

    model = Repeated([keras.Input((4,)), keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.2), "mse")
    model.fit(FLOATS, TARGET, batch_size=8, shuffle=False, verbose=0)
    report = measure(model, data=(FLOATS, TARGET))
    assert ids(report) == told
    assert "A step has up to 2 updates; gradients are those of the first" in str(report)
    with tf.GradientTape() as tape:
        loss = factors[0] * tf.reduce_mean((model(FLOATS) - TARGET) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    before = {v.path: np.array(v) for v in model.variables}
    model.fit(FLOATS, TARGET, batch_size=8, shuffle=False, verbose=0)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        numbers = report.variable(variable.path).measured
        assert numbers.gradient_norm == pytest.approx(norm(gradient), rel=1e-4)
        assert numbers.update_norm == pytest.approx(norm(np.array(variable) - before[variable.path]), rel=1e-3)


def test_an_update_in_a_branch_of_the_steps_own() -> None:
    """Every second step trains; the other holds back."""
    import keras
    import tensorflow as tf

    class Seldom(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            own = self.trainable_variables
            gradients = tape.gradient(loss, own)
            count.assign_add(1)

            def move() -> int:
                for variable, gradient in zip(own, gradients, strict=True):
                    variable.assign_sub(0.1 * gradient)
                return 0

            tf.cond(count % 2 == 0, move, lambda: 0)
            return {"loss": loss}

    count = tf.Variable(0, trainable=False)
    model = Seldom([keras.Input((4,)), keras.layers.Dense(1, name="out")])
    model.compile("sgd", "mse")
    model.fit(FLOATS, TARGET, batch_size=8, verbose=0)
    due = measure(model, data=(FLOATS, TARGET))
    assert all(row.measured.resolved for row in due.variables if row.expected)
    model.fit(FLOATS, TARGET, batch_size=8, verbose=0)
    held = measure(model, data=(FLOATS, TARGET))
    assert "INT505" in ids(held)
    assert all(row.measured.update_norm == 0 and row.measured.gradient_norm for row in held.variables if row.expected)
    assert all(row.measured.resolved is None for row in held.variables if row.expected)


def test_accumulation_says_when_it_is_due() -> None:
    import keras

    model, x, y = perceptron(keras)
    model.compile(keras.optimizers.Adam(gradient_accumulation_steps=3), "mse")
    said = []
    for _ in range(4):
        model.fit(x, y, batch_size=8, verbose=0)
        report = measure(model, data=(x, y))
        said.append(next((f.cause for f in report.findings if f.rule == "INT505"), None))
    assert [cause is None for cause in said] == [False, True, False, False]
    assert "1 of 3 are in" in said[0]


def test_a_loss_scale_that_overflows_skips_the_step() -> None:
    import keras

    model, x, y = perceptron(keras)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=2.0**15), "mse")
    model.fit(x, y, batch_size=8, verbose=0)
    report = measure(model, data=(x * 1e18, y))
    assert ids(report) == ["INT504", "INT505"]
    assert "skips the step" in report.findings[0].cause
    assert "not finite" in report.findings[1].cause
    assert len(report.findings[0].variables) + len(report.findings[1].variables) == len(report.variables)
    assert all(row.measured.update_norm == 0 for row in report.variables)
    fine = measure(model, data=(x, y))
    assert ids(fine) == []


def test_a_schedule_that_gives_zero() -> None:
    import keras

    model, x, y = perceptron(keras)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.0])
    model.compile(keras.optimizers.SGD(schedule), "mse")
    first = measure(model, data=(x, y))
    assert ids(first) == []
    for _ in range(2):
        model.fit(x, y, batch_size=8, verbose=0)
    report = measure(model, data=(x, y))
    assert ids(report) == ["INT501"]
    assert "PiecewiseConstantDecay" in report.findings[0].cause


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_multiplier_of_a_layer(factor: float) -> None:
    """What an optimizer of one's own multiplies by 0 is not lost for its size."""
    import keras

    class Discriminative(keras.optimizers.SGD):
        def apply_gradients(self, pairs: Any, *args: Any, **options: Any) -> Any:
            scaled = [(g * factor if "hid" in v.path else g, v) for g, v in pairs]
            return super().apply_gradients(scaled, *args, **options)

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="hid"), keras.layers.Dense(1, name="out")])
    model.compile(Discriminative(0.1), "mse")
    model.fit(FLOATS, TARGET, batch_size=8, verbose=0)
    report = measure(model, data=(FLOATS, TARGET))
    assert ids(report) == ([] if factor else ["INT503"])
    assert not report.findings or "multiplies by 0" in report.findings[0].cause


def test_weights_of_several_types() -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, dtype="bfloat16"), keras.layers.Dense(1, dtype="float64")]
    )
    model.compile(keras.optimizers.SGD(0.5), "mse")
    model.fit(FLOATS, TARGET, batch_size=8, verbose=0)
    report = measure(model, data=(FLOATS, TARGET))
    assert all(row.measured.gradient_norm > 0 and row.measured.resolved for row in report.variables)


@pytest.mark.parametrize(
    ("rate", "constraint", "rules", "resolved"),
    [
        (0.1, "non_neg", ["INT505"], None),
        (1e-3, "max_norm", [], True),
        (1e-12, "max_norm", [], None),  # either may be why nothing moves
        (1e-12, None, ["INT503"], False),
        (0.0, "max_norm", ["INT501"], None),
    ],
)
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_constraint_that_undoes_the_update(
    name: str, rate: float, constraint: str | None, rules: list[str], resolved: bool | None
) -> None:
    keras = pytest.importorskip(name)
    start = "zeros" if constraint == "non_neg" else "ones"
    layer = keras.layers.Dense(1, use_bias=False, kernel_constraint=constraint, kernel_initializer=start)
    model = keras.Sequential([keras.layers.Input((4,)), layer])
    model.compile(keras.optimizers.SGD(rate), "mse")
    model.fit(abs(FLOATS), 0 * TARGET - 1, batch_size=8, verbose=0)
    report = measure(model, data=(abs(FLOATS), 0 * TARGET - 1))
    assert ids(report) == rules
    (row,) = report.variables
    assert row.measured is not None
    assert row.measured.resolved is resolved
    assert "constraint" in report.findings[0].cause if rules == ["INT505"] else True
