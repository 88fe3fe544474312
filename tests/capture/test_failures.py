"""Steps that will raise, and models that cannot be captured."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from introspect.capture import capture_model, framework, read_capture, write_capture  # noqa: E402
from introspect.capture.record import Capture  # noqa: E402
from introspect.errors import (  # noqa: E402
    BackendError,
    DataError,
    IntrospectError,
    NotBuiltError,
    NotCompiledError,
    StepError,
)
from tests.capture import zoo  # noqa: E402
from tests.capture.zoo import failing, mlp  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)


def owners_of_slots(capture: Capture) -> set[int]:
    return {slot.variable for optimizer in capture.optimizers for slot in optimizer.slots}


@pytest.mark.parametrize("settings", [{}, {"run_eagerly": True}], ids=str)
@PACKAGES
def test_the_same_optimizer_compiled_again_after_unfreezing(package: Any, settings: dict[str, Any]) -> None:
    model = mlp(package, hid=False)
    optimizer = package.optimizers.Adam()
    model.compile(optimizer, "mse", **settings)
    model.fit(*zoo.arrays(), verbose=0)
    model.get_layer("hid").trainable = True
    model.compile(optimizer, "mse", **settings)
    capture = capture_model(model)
    assert capture.failure is not None
    assert capture.failure.kind == "unknown-variable"
    assert capture.failure.optimizer == optimizer.name
    prefix = "m/" if package is keras else ""
    assert failing(capture) == {f"{prefix}hid/kernel", f"{prefix}hid/bias"}
    assert "\n" not in capture.failure.message
    assert "value=" not in capture.failure.message
    (trace,) = capture.traces
    assert trace.current
    expected = {index for index, variable in enumerate(capture.variables) if variable.expected}
    assert expected <= owners_of_slots(capture)
    with pytest.raises((ValueError, KeyError)):
        model.fit(*zoo.arrays(), verbose=0)


@PACKAGES
def test_a_new_optimizer_does_not_fail(package: Any) -> None:
    model = mlp(package, hid=False)
    model.compile(package.optimizers.Adam(), "mse")
    model.fit(*zoo.arrays(), verbose=0)
    model.get_layer("hid").trainable = True
    model.compile(package.optimizers.Adam(), "mse")
    assert capture_model(model).failure is None
    model.fit(*zoo.arrays(), verbose=0)


@PACKAGES
def test_freezing_with_the_same_optimizer_does_not_fail(package: Any) -> None:
    model = mlp(package)
    optimizer = package.optimizers.Adam()
    model.compile(optimizer, "mse")
    model.fit(*zoo.arrays(), verbose=0)
    model.get_layer("hid").trainable = False
    model.compile(optimizer, "mse")
    assert capture_model(model).failure is None
    model.fit(*zoo.arrays(), verbose=0)


def test_a_retrace_that_would_meet_unknown_variables() -> None:
    model = mlp(keras, hid=False)
    model.compile("adam", "mse")
    x, y = zoo.arrays()
    model.fit(x, y, verbose=0)
    model.get_layer("hid").trainable = True
    assert capture_model(model, (x, y)).failure is None
    capture = capture_model(model, (x, y, y[:, 0]))
    assert capture.retraces
    assert failing(capture) == {"m/hid/kernel", "m/hid/bias"}
    assert [trace.current for trace in capture.traces] == [False, True]
    with pytest.raises(ValueError, match="Unknown variable"):
        model.fit(x, y, sample_weight=y[:, 0], verbose=0)
    model.fit(x, y, verbose=0)


def test_a_retrace_that_fails_for_another_reason() -> None:
    model = mlp(keras)
    model.compile("adam", "mse")
    x, y = zoo.arrays()
    model.fit(x, y, verbose=0)
    capture = capture_model(model, (np.zeros((8, 7), "float32"), y))
    assert capture.failure is not None
    assert capture.failure.kind == "retrace"
    assert [(trace.id, trace.current) for trace in capture.traces] == [("fit/1", True)]
    with pytest.raises(Exception, match="incompatible"):
        model.fit(np.zeros((8, 7), "float32"), y, verbose=0)


def assign_late(package: Any, first: str, late: str, **compiled: Any) -> tuple[Any, Any, Any]:
    """A model that has trained, then got another optimizer; data of its signature, and of another."""
    model = mlp(package)
    model.compile(first, "mse", metrics=["mae"], **compiled)
    x, y = zoo.arrays()
    data = tf.data.Dataset.from_tensor_slices((x[:8], y[:8])).batch(8, drop_remainder=True)
    model.fit(data, verbose=0)
    model.optimizer = package.optimizers.get(late)
    return model, data, data.unbatch().batch(4)


@PACKAGES
@pytest.mark.parametrize("compiled", [{}, {"steps_per_execution": 2}])
def test_an_optimizer_assigned_after_the_first_trace(package: Any, compiled: Any) -> None:
    """A retrace would make its slots, which tf.function refuses."""
    model, old, new = assign_late(package, "adam", "adam", **compiled)
    assert capture_model(model, old).failure is None
    capture = capture_model(model, new)
    assert capture.failure is not None
    assert capture.failure.kind == "late-optimizer"
    assert [trace.current for trace in capture.traces] == [False, True]
    with pytest.raises(ValueError, match="singleton"):
        model.fit(new, verbose=0)
    model.fit(old, verbose=0)
    introspect.recompile(model)
    assert capture_model(model, new).failure is None
    model.fit(new, verbose=0)


def test_a_legacy_optimizer_assigned_after_the_first_trace() -> None:
    model, _, new = assign_late(tf_keras, "adam", "sgd")
    model.optimizer = tf_keras.optimizers.legacy.Adam()
    failure = capture_model(model, new).failure
    assert failure is not None
    assert failure.kind == "late-optimizer"
    with pytest.raises(ValueError, match="singleton"):
        model.fit(new, verbose=0)


def test_an_optimizer_assigned_after_a_batch_by_itself() -> None:
    """`train_on_batch` traces the inner function, which the trace for `fit` calls."""
    model = mlp(keras)
    model.compile("adam", "mse")
    x, y = zoo.arrays()
    model.train_on_batch(x[:8], y[:8])
    model.optimizer = keras.optimizers.Adam()
    data = tf.data.Dataset.from_tensor_slices((x[:8], y[:8])).batch(4)
    failure = capture_model(model, data).failure
    assert failure is not None
    assert failure.kind == "late-optimizer"
    with pytest.raises(ValueError, match="singleton"):
        model.fit(data, verbose=0)


@pytest.mark.parametrize(
    ("package", "late"),
    [(keras, "built"), (keras, "sgd"), (keras, "eager"), (tf_keras, "built"), (tf_keras, "jit"), (tf_keras, "eager")],
)
def test_a_late_optimizer_that_makes_nothing_in_the_trace(package: Any, late: str) -> None:
    """Built before, with nothing to make, or, in tf_keras, made in a function of its own that each trace makes anew."""
    compiled = {"jit": {"jit_compile": True}, "eager": {"run_eagerly": True}}.get(late, {})
    model, _, new = assign_late(package, "adam", "sgd" if late == "sgd" else "adam", **compiled)
    if late == "built":
        model.optimizer.build(model.trainable_variables)
    assert capture_model(model, new).failure is None
    model.fit(new, verbose=0)


def test_load_and_unfreeze(tmp_path: Any) -> None:
    model = mlp(keras, hid=False)
    model.compile("adam", "mse")
    model.fit(*zoo.arrays(), verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert capture_model(loaded).failure is None
    loaded.get_layer("hid").trainable = True
    assert failing(capture_model(loaded)) == {"hid/kernel", "hid/bias"} or failing(capture_model(loaded)) == {
        "m/hid/kernel",
        "m/hid/bias",
    }


def test_a_failure_survives_the_saved_form(tmp_path: Any) -> None:
    model = mlp(keras, hid=False)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(*zoo.arrays(), verbose=0)
    model.get_layer("hid").trainable = True
    capture = capture_model(model)
    write_capture(capture, str(tmp_path / "m.capture"))
    assert read_capture(str(tmp_path / "m.capture")).failure == capture.failure


@PACKAGES
def test_a_model_that_was_never_compiled(package: Any) -> None:
    with pytest.raises(NotCompiledError, match=r"'m' was never compiled; call model\.compile"):
        capture_model(mlp(package))


@PACKAGES
def test_a_model_that_was_never_built(package: Any) -> None:
    class Net(package.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.dense = package.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Net()
    model.compile("sgd", "mse")
    for data in (None, zoo.arrays()):
        with pytest.raises(NotBuiltError, match="call it once on a batch"):
            capture_model(model, data)
        assert model.variables == []
        assert not model.dense.built
    model(zoo.arrays()[0])
    assert capture_model(model, zoo.arrays()).failure is None


def test_a_part_that_was_never_built() -> None:
    class Half(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="half")
            self.first = keras.layers.Dense(4)
            self.second = keras.layers.Dense(1)
            self.both = False

        def call(self, x: Any) -> Any:
            x = self.first(x)
            return self.second(x) if self.both else x

    model = Half()
    x, y = zoo.arrays()
    model(x)
    model.both = True
    model.compile("sgd", "mse")
    with pytest.raises(NotBuiltError, match="half"):
        capture_model(model, (x, y))
    assert len(model.variables) == 2
    assert not model.second.built
    model(x)
    assert len(capture_model(model, (x, y)).variables) > 4


@PACKAGES
def test_a_loss_that_does_not_fit_the_output(package: Any) -> None:
    model = mlp(package, outputs=3)

    def wrong(truth: Any, prediction: Any) -> Any:
        return tf.matmul(truth, prediction, name="wrong") + tf.zeros((2, 9))

    model.compile("sgd", wrong)
    for data in (None, (zoo.arrays()[0], np.zeros((8, 5), "float32"))):
        with pytest.raises(StepError, match="'m' cannot be traced") as caught:
            capture_model(model, data)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None


@PACKAGES
def test_no_variable_with_a_gradient(package: Any) -> None:
    model = mlp(package)
    model.compile("sgd", lambda truth, prediction: tf.stop_gradient(tf.reduce_mean((truth - prediction) ** 2)))
    with pytest.raises(StepError, match="No gradients provided"):
        capture_model(model)


@PACKAGES
def test_data_that_a_look_would_take_from(package: Any) -> None:
    model = mlp(package)
    model.compile("sgd", "mse")
    taken = []

    def batches() -> Any:
        for _ in range(3):
            taken.append(1)
            yield zoo.arrays()

    generator = batches()
    with pytest.raises(DataError, match="generator"):
        capture_model(model, generator)
    with pytest.raises(DataError, match="tuple of 4"):
        capture_model(model, (1, 2, 3, 4))
    with pytest.raises(DataError, match="3 and 8 rows"):
        capture_model(model, (np.zeros((8, 4)), np.zeros((3, 1))))
    with pytest.raises(DataError, match="cannot take this data"):
        capture_model(model, ("text", np.zeros((3, 1))))
    assert taken == []
    next(generator)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "batch_size=0 is no number"),
        ({"batch_size": "8"}, "batch_size='8' is no number"),
        ({"batch_size": 1.5}, "batch_size=1.5 is no number"),
        ({"batch_size": True}, "batch_size=True is no number"),
        ({"args": (), "data": (1, 2)}, "data and batch_size belong to a model"),
        ({"args": (), "batch_size": 8}, "data and batch_size belong to a model"),
        ({"args": 5}, "args= is a int"),
        ({"args": (), "model": 5}, "model= is a int"),
        ({"args": (), "model": []}, "model= is a list"),
        ({"args": (), "model": tf.Module()}, "model= is a Module"),
        ({"select": "INT999"}, "rule 'INT999'"),
    ],
)
def test_arguments_that_are_none(wrong: dict[str, Any], said: str) -> None:
    target: Any = mlp(keras) if "args" not in wrong else lambda: None
    with pytest.raises(IntrospectError, match=re.escape(said)):
        introspect.inspect(target, **wrong)


def test_data_that_keras_writes_out_is_cut() -> None:
    rows = np.zeros((1000, 3)).tolist()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(IntrospectError) as caught:
        introspect.inspect(model, data=(rows, rows))
    assert "Unrecognized data type" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_no_model() -> None:
    for value in (3, "text", keras.layers.Dense(1), tf.Module()):
        with pytest.raises(IntrospectError, match="no Keras model"):
            capture_model(value)


def test_a_model_made_without_eager_execution() -> None:
    with tf.Graph().as_default():
        model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    with pytest.raises(BackendError, match="sessions of TensorFlow 1"):
        capture_model(model)


def test_another_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp(keras)
    model.compile("sgd", "mse")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BackendError, match="KERAS_BACKEND=tensorflow"):
        capture_model(model)
    monkeypatch.undo()
    assert framework.require_model(model) == "keras"


@PACKAGES
def test_a_subclass_is_told_by_what_it_descends_from(package: Any) -> None:
    class Mine(package.Sequential):  # type: ignore[misc,name-defined]
        pass

    assert framework.name_keras(Mine()) == package.__name__
    assert framework.name_keras(3) == "none"
