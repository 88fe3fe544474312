"""A measurement leaves nothing behind: state, random numbers, data, output; and says so where it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.records import Report
from tests.measure.truth import read_state, same
from tests.measure.zoo import FLOATS, TARGET, perceptron

pytestmark = pytest.mark.tf


def reason_of(report: Report) -> str:
    """Why nothing was measured."""
    assert all(row.measured is None for row in report.variables)
    (finding,) = [finding for finding in report.findings if finding.rule == "INT506"]
    return finding.cause


def build_noisy(keras: Any, tf: Any) -> Any:
    """Random ops with seeds of their own, dropout, shuffled data."""

    class Noise(keras.layers.Layer):
        def call(self, inputs: Any, training: bool = False) -> Any:
            return inputs + tf.random.uniform(tf.shape(inputs), seed=3) if training else inputs

    keras.utils.set_random_seed(4)
    layers = [Noise(), keras.layers.Dense(6), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile("adam", "mse")
    data = tf.data.Dataset.from_tensor_slices((FLOATS, TARGET)).shuffle(8, seed=2).batch(4)
    return model, data


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_training_goes_on_as_if_nobody_had_looked(name: str) -> None:
    import tensorflow as tf

    keras = pytest.importorskip(name)
    runs = []
    for looks in (False, True):
        model, data = build_noisy(keras, tf)
        losses = list(model.fit(data, epochs=2, verbose=0).history["loss"])
        for _ in range(2):
            if looks:
                report = introspect.inspect(model, data=data, measure=True)
                assert all(row.measured for row in report.variables if row.expected)
            losses += model.fit(data, epochs=2, verbose=0).history["loss"]
        runs.append((losses, read_state(model)))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])


def test_output_of_the_step_is_not_repeated(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(tmp_path))

    class Talking(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            tf.print("a step")
            with writer.as_default(step=0):
                tf.summary.scalar("steps", 1.0)
            return super().train_step(data)

    model = Talking([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(FLOATS, TARGET, verbose=0)
    writer.flush()
    capfd.readouterr()
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    report = introspect.inspect(model, data=(FLOATS, TARGET), measure=True)
    writer.flush()
    assert report.variables[0].measured is not None
    assert report.variables[0].writes[0].placed is not None
    assert "a step" not in "".join(capfd.readouterr())
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) == size


def test_a_step_that_runs_python_is_not_run() -> None:
    import keras
    import tensorflow as tf

    calls = []

    class Calling(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            tf.py_function(lambda: calls.append(1), [], [])
            return super().train_step(data)

    model = Calling([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(FLOATS, TARGET, verbose=0)
    before = len(calls)
    report = introspect.inspect(model, data=(FLOATS, TARGET), measure=True)
    assert len(calls) == before
    assert "(EagerPyFunc)" in reason_of(report)


def test_a_table_that_the_step_fills_is_not_filled() -> None:
    import keras
    import tensorflow as tf

    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, default_value=-1)

    class Filling(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            table.insert(table.size(), table.size())
            return super().train_step(data)

    model = Filling([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(FLOATS, TARGET, verbose=0)
    size = int(table.size())
    report = introspect.inspect(model, data=(FLOATS, TARGET), measure=True)
    assert int(table.size()) == size
    assert "LookupTableInsertV2" in reason_of(report)


def test_data_that_runs_python_is_not_asked() -> None:
    import keras
    import tensorflow as tf

    asked = []

    def rows() -> Any:
        asked.append(1)
        yield from zip(FLOATS, TARGET, strict=True)

    spec = (tf.TensorSpec((4,)), tf.TensorSpec((1,)))
    data = tf.data.Dataset.from_generator(rows, output_signature=spec).batch(4)
    model, _, _ = perceptron(keras)
    model.compile("adam", "mse")
    model.fit(data, verbose=0)
    before = len(asked)
    report = introspect.inspect(model, data=data, measure=True)
    assert len(asked) == before
    assert "GeneratorDataset" in reason_of(report)


def test_a_cached_file_is_not_written(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((FLOATS, TARGET)).cache(str(tmp_path / "cache")).batch(4).repeat()
    model, _, _ = perceptron(keras)
    model.compile("adam", "mse")
    report = introspect.inspect(model, data=data, measure=True)
    assert report.variables[0].measured is not None
    assert list(tmp_path.iterdir()) == []


def test_without_data_a_batch_is_made_up_and_said() -> None:
    import keras

    model, x, y = perceptron(keras)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    report = introspect.inspect(model, measure=True)
    assert report.variables[0].measured is not None
    assert [finding.rule for finding in report.findings] == ["INT506"]
    assert "made-up batch" in report.findings[0].message


def test_a_batch_that_fails_is_told() -> None:
    import keras
    import tensorflow as tf

    class Picky(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            tf.debugging.assert_less(tf.reduce_max(data[0]), 1.0, "too large")
            return super().train_step(data)

    model = Picky([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(FLOATS / 2, TARGET, verbose=0)
    before = read_state(model)
    report = introspect.inspect(model, data=(FLOATS + 9, TARGET), measure=True)
    assert "too large" in reason_of(report)
    assert [finding.fix for finding in report.findings] == [""]
    assert same(before, read_state(model))


def test_a_made_up_batch_that_fails_asks_for_one() -> None:
    import keras
    import tensorflow as tf

    class Picky(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            tf.debugging.assert_greater(tf.reduce_min(data[0]), 5.0, "too small")
            return super().train_step(data)

    model = Picky([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    report = introspect.inspect(model, measure=True)
    assert "too small" in reason_of(report)
    assert [finding.fix for finding in report.findings] == ["introspect.inspect(model, data=(x, y), measure=True)"]
    report = introspect.inspect(model, data=(FLOATS + 9, TARGET), measure=True)
    assert report.ok
    assert all(row.measured for row in report.variables)


def test_eager_models_are_measured_on_a_trace_of_their_own() -> None:
    import keras

    model, x, y = perceptron(keras)
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(x, y, verbose=0)
    before = read_state(model)
    report = introspect.inspect(model, data=(x, y), measure=True)
    assert report.variables[0].measured is not None
    assert same(before, read_state(model))


def test_a_graph_that_is_gone_takes_its_kernels_along() -> None:
    import gc

    import keras

    from introspect.capture.measurement.known import KNOWN

    gc.collect()
    before = len(KNOWN)
    model, x, y = perceptron(keras)
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    introspect.inspect(model, data=(x, y), measure=True)
    assert len(KNOWN) == before + 1
    model.compile("adam", "mse")
    del model
    keras.backend.clear_session()
    gc.collect()
    assert len(KNOWN) == before


@pytest.mark.parametrize("at_once", [False, True])
def test_weights_share_their_memory_until_they_are_written(at_once: bool) -> None:
    """A frozen variable of a step is not copied."""
    import tensorflow as tf

    from introspect.capture.measurement.bulk import Copier
    from introspect.capture.measurement.shadow import Library, copy_variable, read_handle_value

    variable = tf.Variable(np.ones(1000, np.float32))
    with Library() as library:
        (handle,) = Copier([variable], library).copy([variable]) or () if at_once else (copy_variable(variable),)
    same_buffer = np.asarray(memoryview(read_handle_value(handle, tf.float32)))
    own = np.asarray(memoryview(variable.value()))
    assert same_buffer.__array_interface__["data"] == own.__array_interface__["data"]
    variable.assign_add(tf.ones(1000))
    assert float(read_handle_value(handle, tf.float32)[0]) == 1.0
    assert float(variable[0]) == 2.0
