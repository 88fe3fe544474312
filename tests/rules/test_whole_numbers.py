"""Weights of integers that were made to train: no gradient is computed of them, whatever follows."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf
import tf_keras

from tests.oracle import Asked, ask
from tests.rules.reported import Case, batches, require_silent, require_told

pytestmark = pytest.mark.tf


def scale(inputs: Any, table: Any) -> Any:
    return inputs * tf.cast(table, "float32")


def choose(inputs: Any, table: Any) -> Any:
    return inputs * tf.cast(tf.convert_to_tensor(table) > 0, "float32")


def pick(inputs: Any, table: Any) -> Any:
    return tf.gather(inputs, tf.convert_to_tensor(table), axis=1)


def build(library: Any, use: Any, dtype: str, trainable: bool, fitted: bool) -> Any:
    class Table(library.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.table = self.add_weight(name="table", shape=(4,), initializer="ones", dtype=dtype, trainable=trainable)
            self.built = True

        def call(self, inputs: Any) -> Any:
            return use(inputs, self.table)

    inputs = library.Input((4,))
    hidden = Table(name="held")(library.layers.Dense(4, name="hid")(inputs))
    model = library.Model(inputs, library.layers.Dense(1, name="out")(hidden))
    model.compile("sgd", "mse")
    if fitted:
        model.fit(batches(), verbose=0)
    return model


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("use", [scale, choose, pick])
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_a_trainable_weight_of_integers_is_told(library: Any, use: Any, fitted: bool) -> None:
    said = ("holds int32", "trainable=False")
    require_told(Case(lambda: build(library, use, "int32", True, fitted), "INT104", said, ("frozen. Flags", "compile")))


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_one_that_is_none_or_holds_floats_is_no_alarm(library: Any, dtype: str, fitted: bool) -> None:
    require_silent(lambda: build(library, scale, dtype, dtype == "float32", fitted))


def count(library: Any, read: bool, written: bool) -> Any:
    """A model that counts its steps in a tf.Variable, which trains by its flag: tf_keras lists it, Keras 3 does not track it."""

    class Counts(library.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.out = library.layers.Dense(1, name="out")
            self.steps = tf.Variable(1, dtype="int64", name="steps")

        def call(self, inputs: Any) -> Any:
            return self.out(inputs) * (tf.cast(self.steps, "float32") if read else 1.0)

        def train_step(self, data: Any) -> Any:
            if written:
                self.steps.assign_add(1)
            return super().train_step(data)

    model = Counts()
    model(tf.zeros((1, 4)))
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_a_count_that_the_step_keeps_is_no_alarm(library: Any, read: bool) -> None:
    outcome = ask(count(library, read, True), batches(), Asked(rules=("INT301",) if library is tf_keras else ()))
    assert not outcome.faults
    assert outcome.report is not None
    assert outcome.report.ok
    assert all("whole numbers, of which there is no gradient" in told.cause for told in outcome.report.findings)


def test_one_that_nothing_reads_or_writes_is_told_by_its_type() -> None:
    said = ("holds int64", "trainable=False")
    require_told(Case(lambda: count(tf_keras, False, False), "INT104", said, ("does not read it",)))
