"""A loop's plain function that takes values of tensors into Python: it is followed on its arguments, and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect
from introspect.errors import StepError
from tests.oracle import Asked, Outcome, ask_loop

pytestmark = pytest.mark.tf
PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=["keras", "tf_keras"])
X, Y = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")


class Loop:
    """A model, its optimizer and one step, which logs as loops do."""

    def __init__(self, package: Any, take: Callable[[Any], Any] = float) -> None:
        names = ("enc", "head")
        layers = [package.layers.Dense(4, name=name) for name in names]
        self.model = package.Sequential([package.layers.Input((4,)), *layers])
        self.optimizer = package.optimizers.Adam(0.1)
        self.take = take
        self.losses: list[Any] = []

    def step(self, x: Any, y: Any) -> dict[str, Any]:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.model(x, training=True) - y) ** 2)
        if np.isnan(self.take(loss)):
            return {}
        weights = self.model.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        self.losses.append(self.take(loss))
        return {"loss": self.losses[-1], "model": self.model}

    def ask(self, **asked: Any) -> Outcome:
        return ask_loop(self.step, (X, Y), self.model, self.optimizer, Asked(**asked))


@PACKAGES
@pytest.mark.parametrize("take", [float, lambda loss: loss.numpy()], ids=["float", "numpy"])
def test_a_step_that_logs_is_followed(package: Any, take: Callable[[Any], Any]) -> None:
    loop = Loop(package, take)
    for frozen in (False, True):
        loop.model.layers[0].trainable = not frozen
        done = len(loop.losses)
        outcome = loop.ask()
        assert not outcome.faults
        assert outcome.report is not None
        assert [finding.rule for finding in outcome.report.findings] == ["INT507"]
        assert "args=" in outcome.report.findings[0].fix
        assert len(loop.losses) == done + 1  # by the real step alone


@PACKAGES
def test_an_optimizer_that_does_not_know_what_is_unfrozen(package: Any) -> None:
    loop = Loop(package)
    loop.model.layers[0].trainable = False
    assert not loop.ask().faults
    loop.model.layers[0].trainable = True
    outcome = loop.ask(raises=True, rules=("INT201",))
    assert not outcome.faults
    assert outcome.report is not None
    assert outcome.report.findings[0].fix.startswith("self.optimizer = type(self.optimizer).from_config(")

    loop.optimizer = type(loop.optimizer).from_config(loop.optimizer.get_config())
    assert not loop.ask().faults


@PACKAGES
def test_a_loss_of_numpy_says_why_nothing_trains(package: Any) -> None:
    loop = Loop(package)

    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.constant(np.mean((loop.model(x).numpy() - y) ** 2))
        weights = loop.model.trainable_variables
        loop.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    with pytest.raises(StepError, match="as a tensor and not as numpy"):
        introspect.inspect(step, args=(X, Y), model=loop.model, optimizer=loop.optimizer)
    with pytest.raises(ValueError, match="No gradients provided"):
        step(X, Y)


@PACKAGES
def test_a_step_that_takes_no_tensor_is_followed_through_one_call(package: Any) -> None:
    loop = Loop(package)

    def episode() -> None:
        loop.step(X, Y)

    for frozen in (False, True):
        loop.model.layers[0].trainable = not frozen
        done = len(loop.losses)
        outcome = ask_loop(episode, (), loop.model, loop.optimizer)
        assert not outcome.faults
        assert outcome.report is not None
        (told,) = outcome.report.findings
        assert told.message.endswith("it was followed through one call of it.")
        assert "another call may go another way" in told.cause
        assert "args=" not in told.fix
        assert len(loop.losses) == done + 1  # by the real step alone


def make_net(package: Any) -> Any:
    model = package.Sequential(
        [package.layers.Input((4,)), package.layers.Dropout(0.5), package.layers.Dense(4, name="q")]
    )
    model.compile("sgd", "mse")
    return model


@PACKAGES
@pytest.mark.parametrize("method", ["predict", "predict_on_batch"])
def test_a_prediction_gives_its_values_and_no_gradient(package: Any, method: str) -> None:
    """As a step of Q-learning asks its target network, and itself, for them."""
    loop, target = Loop(package), make_net(package)

    def ask(model: Any, x: Any) -> Any:
        return getattr(model, method)(x, **({"verbose": 0} if method == "predict" else {}))

    def step(x: Any, y: Any) -> None:
        wanted = y + 0.9 * np.max(ask(target, np.asarray(x, "float64")), axis=1, keepdims=True)
        assert np.allclose(ask(target, x), target(x, training=False).numpy(), atol=1e-5)
        wanted += 0.1 * ask(loop.model, x)
        loop.step(x, wanted)

    for frozen in (False, True):
        loop.model.layers[0].trainable = not frozen
        outcome = ask_loop(step, (X, Y), loop.model, loop.optimizer)
        assert not outcome.faults
        assert outcome.report is not None
        assert "INT507" in {one.rule for one in outcome.report.findings}
        assert outcome.report.ok


@PACKAGES
def test_a_function_that_calls_fit_is_told_where_that_is_read(package: Any) -> None:
    model = make_net(package)

    def step(x: Any, y: Any) -> None:
        model.fit(x, y + model.predict(x, verbose=0), verbose=0)

    with pytest.raises(StepError, match=r"calls fit of model .* ask about that one: introspect\.inspect\(model"):
        introspect.inspect(step, args=(X, Y), model=model)
    step(X, Y)
    assert introspect.inspect(model, data=(X, Y)).ok


@PACKAGES
def test_a_train_step_of_keras_that_calls_predict_raises_and_is_told_what_to_call(package: Any) -> None:
    target = make_net(package)

    class Agent(package.Model):  # type: ignore[misc, name-defined]
        def train_step(self, data: Any) -> Any:
            return super().train_step((data[0], target.predict(data[0], verbose=0)))

    inputs = package.layers.Input((4,))
    model = Agent(inputs, package.layers.Dense(4)(inputs))
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(StepError, match=r"call the model itself there, model\(x, training=False\)") as told:
        introspect.inspect(model, data=(X, Y))
    with pytest.raises(RuntimeError, match="cross-replica context"):
        model.fit(X, Y, verbose=0)
    assert "RuntimeError: Method requires being in cross-replica context" in str(told.value)


@PACKAGES
def test_arguments_of_any_form_are_measured(package: Any) -> None:
    """A followed step takes its tensors one by one, whatever stood around them; INT502 shows the loop's own call."""
    loop = Loop(package)

    def run(batches: Any, scale: float, *, mask: Any) -> None:
        for x, y in batches:
            loop.step(x * mask * scale, y)

    args, kwargs = ([(X[:4], Y[:4]), (X[4:], Y[4:])], 0.5), {"mask": np.ones(4, "float32")}
    report = introspect.inspect(run, args=args, kwargs=kwargs, model=loop.model, measure=True)
    assert [finding.rule for finding in report.findings] == ["INT507"]
    assert all(row.measured is not None and row.measured.gradient_norm for row in report.variables)
    kwargs = {"mask": np.zeros(4, "float32")}
    report = introspect.inspect(run, args=args, kwargs=kwargs, model=loop.model, measure=True)
    (zero,) = (finding for finding in report.findings if finding.rule == "INT502")
    assert zero.fix.startswith("introspect.inspect(run, args=another_batch, model=model, measure=True)")


@PACKAGES
def test_a_data_set_that_python_goes_through(package: Any) -> None:
    """It has no end while it is traced: the advice says so, and holds. One that asks Python for nothing is traced."""
    loop = Loop(package)

    def run(batches: Any) -> None:
        for x, y in batches:
            loop.step(x, y)

    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(4)
    with pytest.raises(
        StepError, match=r"run cannot be traced: it loops over a data set .* args=\(list\(dataset.take\(2\)\),\)"
    ):
        introspect.inspect(run, args=(data,), model=loop.model, optimizer=loop.optimizer)
    outcome = ask_loop(run, (list(data.take(2)),), loop.model, loop.optimizer)
    assert not outcome.faults


@PACKAGES
@pytest.mark.parametrize("frozen", [False, True])
def test_methods_of_arrays_among_the_arguments(package: Any, frozen: bool) -> None:
    """A function that asks its arrays for what tensors do not have is given them as they are; they are left as they were."""
    loop = Loop(package)
    plain = loop.step

    def step(x: Any, y: Any) -> Any:
        return plain(x.astype("float32"), y.reshape(-1, 4).clip(-1.0, 1.0))

    loop.model.layers[0].trainable = not frozen
    x, y = X.astype("float64"), Y.copy()
    for _ in range(2):
        outcome = ask_loop(step, (x, y), loop.model, loop.optimizer)
        assert not outcome.faults
        assert outcome.report is not None
        (finding,) = outcome.report.findings
        assert finding.rule == "INT507"
    assert type(x) is type(y) is np.ndarray
    np.testing.assert_array_equal(y, Y)
