"""Custom loops: the traces of a tf.function of the user's."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_function  # noqa: E402
from introspect.capture.record import Capture  # noqa: E402
from introspect.errors import DataError, IntrospectError, StepError  # noqa: E402
from tests.capture.observing import observe  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)


def loop(package: Any, **settings: Any) -> tuple[Any, Any, Any]:
    """(step, model, optimizer) of a hand-written loop."""
    layers = [package.layers.Input((4,)), package.layers.Dense(5, name="hid"), package.layers.Dense(1, name="out")]
    model = package.Sequential(layers, name="m")
    optimizer = package.optimizers.Adam()

    @tf.function(**settings)
    def step(x: Any, y: Any, scale: float = 1.0) -> Any:
        with tf.GradientTape() as tape:
            loss = scale * tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    return step, model, optimizer


def tensors(rows: int = 8) -> tuple[Any, Any]:
    return tf.zeros((rows, 4)), tf.zeros((rows, 1))


def listed(capture: Capture) -> list[tuple[str, bool, str]]:
    return [(trace.id, trace.current, trace.source) for trace in capture.traces]


@PACKAGES
def test_traces_that_exist_are_read(package: Any) -> None:
    step, model, optimizer = loop(package)
    step(*tensors(8))
    step(*tensors(4))
    capture = capture_function(step, tensors(8), model=model, optimizer=optimizer)
    assert listed(capture) == [("step/1", True, "compiled"), ("step/2", False, "compiled")]
    assert [(found.name, found.built, found.current) for found in capture.optimizers] == [(optimizer.name, True, True)]
    assert len(capture.optimizers[0].slots) == 8
    assert [variable.role for variable in capture.variables[:4]] == ["model"] * 4
    assert capture.model.name == "m"


@PACKAGES
def test_a_loop_that_never_ran_is_traced_aside(package: Any) -> None:
    step, model, optimizer = loop(package)
    before = observe(holder(model), step, optimizer)
    capture = capture_function(step, tensors(), model=model, optimizer=optimizer)
    assert observe(holder(model), step, optimizer) == before
    assert listed(capture) == [("step/1", True, "traced")]
    assert not capture.optimizers[0].built
    assert len(capture.optimizers[0].slots) == 8
    assert len(step._function_cache or ()) == 0
    assert step._created_variables is None


def holder(model: Any) -> Any:
    """`observe` asks for a train function, which an uncompiled model of tf_keras has as None."""
    model.train_function = getattr(model, "train_function", None)
    return model


@PACKAGES
def test_without_an_optimizer_those_of_the_graph_are_meant(package: Any) -> None:
    step, model, optimizer = loop(package)
    fresh = capture_function(step, tensors(), model=model)
    assert [(o.name, o.built, o.current) for o in fresh.optimizers] == [(optimizer.name, False, True)]
    step(*tensors())
    capture = capture_function(step, tensors(), model=model)
    assert [(o.name, o.built, o.current) for o in capture.optimizers] == [(optimizer.name, True, True)]


def test_another_optimizer_than_the_one_meant() -> None:
    step, model, _ = loop(keras)
    step(*tensors())
    meant = keras.optimizers.SGD(name="meant")
    capture = capture_function(step, tensors(), model=model, optimizer=meant)
    assert [(o.name, o.current) for o in capture.optimizers] == [("meant", True), ("adam", False)] or [
        o.current for o in capture.optimizers
    ] == [True, False]


def test_without_a_model_the_variables_of_the_graph_are_the_rows() -> None:
    step, _, _ = loop(keras)
    step(*tensors())
    capture = capture_function(step, tensors())
    assert [v.path for v in capture.variables if v.role == "model"] == [
        "m/hid/kernel",
        "m/hid/bias",
        "m/out/kernel",
        "m/out/bias",
    ]
    assert capture.model.keras == "none"
    assert capture.layers == ()


def test_a_call_that_would_retrace() -> None:
    step, model, optimizer = loop(keras)
    step(*tensors(8))
    capture = capture_function(step, tensors(4), model=model, optimizer=optimizer)
    assert listed(capture) == [("step/1", False, "compiled"), ("step/2", True, "traced")]
    assert capture.retraces
    assert len(step._function_cache) == 2  # the dead first trace and the live one


def test_keyword_arguments_and_python_values_count() -> None:
    step, model, optimizer = loop(keras)
    step(*tensors(), scale=2.0)
    same = capture_function(step, tensors(), {"scale": 2.0}, model=model, optimizer=optimizer)
    other = capture_function(step, tensors(), {"scale": 3.0}, model=model, optimizer=optimizer)
    assert (same.retraces, other.retraces) == (False, True)


def test_specs_do_for_arguments() -> None:
    step, model, optimizer = loop(keras)
    specs = (tf.TensorSpec((None, 4)), tf.TensorSpec((None, 1)))
    capture = capture_function(step, specs, model=model, optimizer=optimizer)
    assert capture.traces[0].signature.startswith("(float32[?, 4], float32[?, 1]")


def test_arguments_that_do_not_fit() -> None:
    step, model, optimizer = loop(keras)
    with pytest.raises(StepError, match="step cannot be traced"):
        capture_function(step, (tf.zeros((8, 9)), tf.zeros((8, 1))), model=model, optimizer=optimizer)
    step(*tensors())
    with pytest.raises(DataError, match="missing a required argument"):
        capture_function(step, tensors()[:1], model=model, optimizer=optimizer)


def test_an_optimizer_that_does_not_know_a_variable() -> None:
    step, model, optimizer = loop(keras)
    model.get_layer("hid").trainable = False
    step(*tensors(8))
    model.get_layer("hid").trainable = True
    capture = capture_function(step, tensors(4), model=model, optimizer=optimizer)
    assert capture.failure is not None
    assert capture.failure.kind == "unknown-variable"
    assert optimizer.built
    assert len(optimizer._trainable_variables) == 2
    with pytest.raises(ValueError, match="Unknown variable"):
        step(*tensors(4))


def test_a_plain_function_runs_eagerly() -> None:
    step, model, optimizer = loop(keras)
    capture = capture_function(step.python_function, tensors(), model=model, optimizer=optimizer)
    assert listed(capture) == [("step/1", True, "eager")]
    assert not optimizer.built


def test_a_method_and_its_xla_flag() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.weight = tf.Variable(2.0, name="weight")
            self.frozen = tf.Variable(1.0, trainable=False, name="frozen")

        @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
        def improve(self, x: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = (self.weight * x + self.frozen) ** 2
            self.weight.assign_sub(0.1 * tape.gradient(loss, self.weight))
            return loss

    trainer = Trainer()
    trainer.improve(tf.constant(1.0))
    capture = capture_function(trainer.improve, (tf.constant(1.0),))
    assert [(trace.id, trace.jit) for trace in capture.traces] == [("improve/1", True)]
    assert {v.path: v.expected for v in capture.variables} == {"weight:0": True, "frozen:0": False}


def test_what_cannot_be_called() -> None:
    with pytest.raises(IntrospectError, match="no function"):
        capture_function(3)
