"""What the end of `fit` writes, and where it raises: averages over weights, and optimizers that the step does not use."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model  # noqa: E402
from introspect.capture.record import Capture  # noqa: E402
from tests.capture import zoo  # noqa: E402
from tests.capture.zoo import failing, mlp  # noqa: E402
from tests.oracle import PLAIN, Asked, ask  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has it since 3.15")
def test_several_optimizers_that_do_not_know_a_variable_end_the_fit() -> None:
    """At the end of fit MultiOptimizer looks up each trainable weight, averages or not."""
    model = mlp(keras, hid=False)
    x, y = zoo.arrays()
    model.compile(keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.Adam())), "mse")
    assert capture_model(model, (x, y)).failure is None
    model.fit(x, y, verbose=0)
    assert capture_model(model, (x, y)).failure is None
    model.get_layer("hid").trainable = True
    capture = capture_model(model, (x, y))
    assert failing(capture) == {"m/hid/kernel", "m/hid/bias"}
    assert capture.failure is not None
    assert capture.failure.kind == "fit-end"
    with pytest.raises(KeyError):
        model.fit(x, y, verbose=0)


def test_float8_has_no_averages() -> None:
    """Keras keeps no average of what its gradient overwrites, and puts one there all the same when fit ends."""
    model = mlp(keras)
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    model.quantize("float8")
    capture = capture_model(model)
    assert capture.failure is not None
    assert (capture.failure.kind, "m/hid/inputs_scale" in failing(capture)) == ("no-average", True)
    with pytest.raises(ValueError, match="None"):
        model.fit(*zoo.arrays(), verbose=0)
    model.optimizer.use_ema = False
    assert capture_model(model).failure is None
    model.fit(*zoo.arrays(), verbose=0)


def by_hand(package: Any) -> Any:
    """A model whose step uses no optimizer."""

    class ByHand(package.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(data[0]) - data[1]) ** 2)
            for variable, gradient in zip(
                self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True
            ):
                variable.assign_sub(0.1 * gradient)
            return {"loss": loss}

    inputs = package.Input((4,))
    return ByHand(inputs, package.layers.Dense(1)(inputs))


def several() -> Any:
    """An optimizer made of others."""
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.Adam()))


UNUSED = {
    "averages": (keras, lambda: keras.optimizers.SGD(use_ema=True)),
    "averages of tf_keras": (tf_keras, lambda: tf_keras.optimizers.SGD(use_ema=True)),
    **({"several": (keras, several)} if hasattr(keras.optimizers, "MultiOptimizer") else {}),
}


@pytest.mark.parametrize("name", UNUSED)
def test_an_optimizer_that_the_step_does_not_use_ends_the_fit(name: str) -> None:
    package, make = UNUSED[name]
    model = by_hand(package)
    model.compile(make())
    capture = capture_model(model, zoo.arrays())
    assert capture.failure is not None
    assert capture.failure.kind == "unused-optimizer"
    with pytest.raises(AttributeError):
        model.fit(*zoo.arrays(), verbose=0)
    model.optimizer = package.optimizers.SGD()
    assert capture_model(model, zoo.arrays()).failure is None
    model.fit(*zoo.arrays(), verbose=0)


def averaging(package: Any, outputs: int, optimizer: Any = None) -> Any:
    layers = [package.layers.Input((4,)), package.layers.Dense(4, name="d1"), package.layers.Dense(outputs, name="d2")]
    model = package.Sequential(layers, name="m")
    model.compile(optimizer or package.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    return model


def scaled(package: Any, optimizer: Any) -> Any:
    scaling = package.mixed_precision if package is tf_keras else package.optimizers
    return scaling.LossScaleOptimizer(optimizer)


def pairs(capture: Capture) -> set[tuple[str, str]]:
    """{(target, variable whose average lands there)}."""
    paths = [variable.path.removesuffix(":0").removeprefix("m/") for variable in capture.variables]
    return {(paths[write.target], paths[write.averaged]) for write in capture.fit_end}


ALIGNED = {(path, path) for path in ("d1/kernel", "d1/bias", "d2/kernel", "d2/bias")}


@PACKAGES
def test_averages_written_at_the_end_of_fit(package: Any) -> None:
    model = averaging(package, 4)
    assert pairs(capture_model(model)) == ALIGNED
    model.fit(*zoo.arrays(outputs=(4,)), verbose=0)
    capture = capture_model(model)
    assert pairs(capture) == ALIGNED
    assert all(capture.variables[write.source].role == "optimizer" for write in capture.fit_end)
    assert capture.failure is None


@PACKAGES
def test_averages_below_loss_scaling(package: Any) -> None:
    model = averaging(package, 4, scaled(package, package.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)))
    assert pairs(capture_model(model)) == ALIGNED
    model.fit(*zoo.arrays(outputs=(4,)), verbose=0)
    assert pairs(capture_model(model)) == ALIGNED


@pytest.mark.parametrize("wrap", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("known", [False, True], ids=["part", "all"])
def test_an_average_that_the_step_never_made_ends_the_fit(wrap: bool, known: bool) -> None:
    class Part(tf_keras.Model):
        def train_step(self, data: Any) -> Any:
            x, y = data
            weights = self.trainable_variables if known else self.get_layer("d2").trainable_variables
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    inputs = tf_keras.layers.Input((4,))
    hidden = tf_keras.layers.Dense(4, name="d1")(inputs)
    model = Part(inputs, tf_keras.layers.Dense(4, name="d2")(hidden), name="m")
    optimizer = tf_keras.optimizers.SGD(0.1, use_ema=True)
    model.compile(scaled(tf_keras, optimizer) if wrap else optimizer)
    failure = capture_model(model).failure
    assert (failure is None) == known
    x, y = zoo.arrays(outputs=(4,))
    if known:
        model.fit(x, y, verbose=0)
    else:
        assert failure is not None
        assert failure.kind == "fit-end"
        with pytest.raises(KeyError):
            model.fit(x, y, verbose=0)


@PACKAGES
def test_averages_after_a_freeze(package: Any) -> None:
    model = averaging(package, 4)
    x, y = zoo.arrays(outputs=(4,))
    model.fit(x, y, verbose=0)
    model.get_layer("d1").trainable = False
    found = pairs(capture_model(model))
    if package is tf_keras:  # by the flags of compile(), and each variable's own average
        assert found == ALIGNED
    else:
        assert found == {("d2/kernel", "d1/kernel"), ("d2/bias", "d1/bias")}
        averages = dict(zip(("kernel", "bias"), model.optimizer._model_variables_moving_average, strict=False))
        model.fit(x, y, verbose=0)
        assert (model.get_layer("d2").kernel.numpy() == averages["kernel"].numpy()).all()


def test_averages_whose_shapes_differ_end_the_fit() -> None:
    model = averaging(keras, 2)
    x, y = zoo.arrays(outputs=(2,))
    model.fit(x, y, verbose=0)
    model.get_layer("d1").trainable = False
    capture = capture_model(model)
    assert capture.failure is not None
    assert capture.failure.kind == "fit-end"
    with pytest.raises(ValueError, match="shape"):
        model.fit(x, y, verbose=0)


def test_averages_of_a_wrapped_optimizer() -> None:
    inner = keras.optimizers.SGD(0.1, use_ema=True)
    model = averaging(keras, 4, keras.optimizers.LossScaleOptimizer(inner))
    assert pairs(capture_model(model)) == ALIGNED


@PACKAGES
def test_without_averages_fit_writes_nothing_at_its_end(package: Any) -> None:
    assert capture_model(zoo.plain(package)[0]).fit_end == ()


def silent(package: Any, *kinds: type, **given: Any) -> Any:
    """A model whose step never updates the metrics that it is compiled with."""

    class Silent(package.Model):  # type: ignore[misc]
        def train_step(self, data: Any) -> dict[str, Any]:
            x, y = data[:2]
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            weights = self.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    ends = zoo.mlp(package)
    model = type("Own", (*kinds, Silent), {})(ends.inputs, ends.outputs)
    model.compile("sgd", "mse", **given)
    return model


class OwnList:
    """Lists no metric of compile."""

    @property
    def metrics(self) -> list[Any]:
        return []


class OwnResults:
    """Makes the results itself."""

    def get_metrics_result(self) -> dict[str, Any]:
        return {}


class Updates:
    """Updates the metrics, behind a train_step that does not."""

    def train_step(self, data: Any) -> Any:
        super().train_step(data)  # type: ignore[misc]
        return self.compute_metrics(*data, self(data[0]), None)  # type: ignore[attr-defined]


RAISES = Asked(raises=True, rules=("INT202",))


@pytest.mark.parametrize("given", [{"metrics": ["mae"]}, {"weighted_metrics": ["mae"]}, {"metrics": []}], ids=str)
@pytest.mark.parametrize("eager", [False, True])
def test_metrics_that_no_step_updates_end_the_epoch(given: dict[str, Any], eager: bool) -> None:
    """Before a fit and after one that has raised; with tf_keras, which lists none that was never updated, nothing raises."""
    model, data = silent(keras, **given, run_eagerly=eager), tf.data.Dataset.from_tensors(zoo.arrays())
    for _ in range(2):
        outcome = ask(model, data, RAISES)
        assert not outcome.faults
        assert outcome.report is not None
        (told,) = outcome.report.findings
        assert "at the end of its first epoch: ValueError: Cannot get result()" in told.message
        assert told.fix.startswith("# in train_step, update them:\nreturn self.compute_metrics(")
    model.train_on_batch(*zoo.arrays())
    assert not ask(silent(tf_keras, **given, run_eagerly=eager), data).faults


@pytest.mark.parametrize("kind", [OwnList, OwnResults, Updates])
def test_metrics_that_fit_does_not_ask_for_or_that_are_updated_raise_nothing(kind: type) -> None:
    outcome = ask(silent(keras, kind, metrics=["mae"]), tf.data.Dataset.from_tensors(zoo.arrays()))
    assert not outcome.faults
    assert outcome.report is not None
    assert not outcome.report.findings


def test_nor_do_those_that_evaluate_has_updated_or_none() -> None:
    data = tf.data.Dataset.from_tensors(zoo.arrays())
    model = silent(keras, metrics=["mae"])
    model.evaluate(data, verbose=0)
    assert not ask(model, data).faults
    assert not ask(silent(keras), data).faults


class Leaves:
    """Its own compute_metrics leaves them out."""

    def compute_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"seen": tf.ones(())}


class Hands:
    """Its own compute_metrics hands on to Keras'."""

    def compute_metrics(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_metrics(*args, **kwargs)  # type: ignore[misc]


def plain(*kinds: type) -> Any:
    """A model that is compiled with a metric, and trains by Keras' own step."""
    model = type("Own", (*kinds, keras.Sequential), {})([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


SCOPES = pytest.mark.parametrize("scope", [nullcontext, lambda: tf.distribute.MirroredStrategy(["CPU:0"]).scope()])
ROWS = tf.data.Dataset.from_tensors((np.ones((8, 4)), np.ones((8, 1))))


@SCOPES
def test_a_compute_metrics_that_leaves_them_out_is_told(scope: Any) -> None:
    with scope():
        model = plain(Leaves)
    for _ in range(2):
        outcome = ask(model, ROWS, RAISES)
        assert not outcome.faults
        assert outcome.report is not None
        assert "return super().compute_metrics(" in outcome.report.findings[0].fix


@SCOPES
def test_one_that_hands_on_is_not(scope: Any) -> None:
    with scope():
        model = plain(Hands)
    assert not ask(model, ROWS).faults


@pytest.mark.parametrize("kinds", [(), (Hands,), (Leaves,)], ids=str)
def test_under_a_strategy_fit_builds_them_itself(kinds: tuple[type, ...]) -> None:
    """By compute_metrics, whatever the step does."""
    data = tf.data.Dataset.from_tensors(zoo.arrays())
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = silent(keras, *kinds, metrics=["mae"])
    outcome = ask(model, data, RAISES if Leaves in kinds else PLAIN)
    assert not outcome.faults
    assert outcome.report is not None
    assert ["return super().compute_metrics(" in found.fix for found in outcome.report.findings] == [True] * (
        Leaves in kinds
    )
