"""Where the step ran, read from what TensorFlow keeps at the first step of a training."""

from __future__ import annotations

import gc
import importlib
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect.capture.measurement.placement import switch_collection
from introspect.records import Report
from tests.fixes.steps import make_data, make_model

pytestmark = pytest.mark.tf
LIBRARIES = ["keras", "tf_keras"]
CPU = "/job:localhost/replica:0/task:0/device:CPU:0"


def list_placed(report: Report) -> set[str | None]:
    """Devices of all writes of variables that train, and of their slots."""
    rows = [row for row in report.variables if row.updated == "yes"]
    assert rows
    return {write.placed for row in rows for write in row.writes} | {s.placed for row in rows for s in row.slots}


def make_compiled(library: str = "keras", **options: Any) -> Any:
    model = make_model(library, norm=True)
    model.compile("adam", "mse", **options)
    return model


def fit(model: Any, callbacks: list[Any], epochs: int = 2) -> None:
    x, y = make_data()
    model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)


def run_new_function() -> list[Any]:
    """Graphs that TensorFlow keeps of a function that runs for the first time."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    tf.function(lambda x: x * 2 + 1)(tf.constant(1.0))
    metadata = context.context().export_run_metadata()
    return [] if metadata is None else list(metadata.function_graphs)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_first_step_and_that_after_a_recompile_are_placed(library: str) -> None:
    keras = importlib.import_module(library)
    model = make_compiled(library)
    callback = introspect.IntrospectCallback(on_mismatch="log")

    class Freeze(keras.callbacks.Callback):  # type: ignore[name-defined, misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                model.get_layer("d1").trainable = False
                introspect.recompile(model)

    fit(model, [callback, Freeze()], epochs=4)
    assert [report.reason for report in callback.reports] == ["first trace", "recompiled", "train end"]
    assert [list_placed(report) for report in callback.reports] == [{CPU}] * 3
    assert list_placed(introspect.inspect(model)) == {CPU}
    assert run_new_function() == []


def test_a_step_that_has_run_before_is_derived() -> None:
    model = make_compiled()
    fit(model, [])
    callback = introspect.IntrospectCallback(on_mismatch="log")
    fit(model, [callback])
    assert [list_placed(report) for report in callback.reports] == [{None}] * 2
    assert run_new_function() == []


def test_an_eager_step_is_not_collected() -> None:
    model = make_compiled(run_eagerly=True)
    callback = introspect.IntrospectCallback(on_mismatch="log")
    fit(model, [callback])
    assert list_placed(callback.reports[0]) == {None}
    assert run_new_function() == []


@pytest.mark.parametrize("begins", ["before", "in between"])
def test_a_trace_of_the_users_own_gets_its_graphs(begins: str, tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    model = make_compiled()
    callback = introspect.IntrospectCallback(on_mismatch="log")
    writer = tf.summary.create_file_writer(str(tmp_path))

    class Tracing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if begins == "in between" and batch == 0:
                tf.summary.trace_on(graph=True)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            with writer.as_default():
                tf.summary.trace_export("step", step=0)

    if begins == "before":
        tf.summary.trace_on(graph=True)
    fit(model, [callback, Tracing()], epochs=1)
    writer.close()
    assert list_placed(callback.reports[0]) == {None}
    (file,) = tmp_path.iterdir()
    assert b"AssignSubVariableOp" in file.read_bytes()
    switch_collection(False)  # trace_export leaves it on, TensorFlow 2.21
    run_new_function()


def test_after_a_step_that_raises_the_next_training_ends_it() -> None:
    import keras

    model = make_compiled()
    callback = introspect.IntrospectCallback(on_mismatch="log")

    class Stop(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, [callback, Stop()])
    fit(model, [callback])
    assert list_placed(callback.reports[0]) == {CPU}
    assert run_new_function() == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_first_step_that_raises_ends_the_collection(library: str) -> None:
    import tensorflow as tf

    model = make_compiled(library)
    callback = introspect.IntrospectCallback(on_mismatch="log")
    x, y = make_data()
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError):
            raise_in_step(model, x, y, callback)
        assert not run_new_function()
    fit(model, [callback])
    assert callback.report is not None
    assert list_placed(callback.report) == {CPU}
    assert not run_new_function()


def raise_in_step(model: Any, x: Any, y: Any, callback: Any) -> None:
    """A fit whose first batch cannot be made."""
    import tensorflow as tf

    def refuse(*batch: Any) -> Any:
        with tf.control_dependencies([tf.debugging.Assert(tf.constant(False), ["refused"])]):
            return tuple(map(tf.identity, batch))

    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4).map(refuse)
    model.fit(data, verbose=0, callbacks=[callback])


def test_a_loop_that_raises_ends_the_collection_with_its_callback() -> None:
    model = make_compiled()
    callback = introspect.IntrospectCallback(on_mismatch="log")
    model.train_on_batch(*make_data())
    callback.inspect(model)
    introspect.recompile(model)
    callback.inspect(model)
    assert run_new_function()
    del callback
    gc.collect()
    assert not run_new_function()
