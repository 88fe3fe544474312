"""Layers of tf_keras that keep a vocabulary or a table among their weights, which is no variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect

pytestmark = pytest.mark.tf

TEXTS = np.array([["a b c"], ["b d"], ["e f a"], ["c c b"]])
DATA = (tf.constant(TEXTS), np.ones((4, 1), "float32"))


def make_model(vocabulary: bool = False) -> Any:
    """A text model; a vocabulary that is given stands in no weight, one that was learnt does."""
    words = [*"abcdef"] if vocabulary else None
    text = tf_keras.layers.TextVectorization(max_tokens=9, output_sequence_length=3, vocabulary=words, name="text")
    if not vocabulary:
        text.adapt(TEXTS)
    layers = [text, tf_keras.layers.Embedding(9, 2, name="emb"), tf_keras.layers.Flatten()]
    model = tf_keras.Sequential(
        [tf_keras.Input((1,), dtype="string"), *layers, tf_keras.layers.Dense(1, name="out")], name="net"
    )
    model.compile("adam", "mse")
    model.fit(*DATA, verbose=0)
    return model


def list_real(model: Any) -> list[Any]:
    return [variable for variable in model.variables if isinstance(variable, tf.Variable)]


@pytest.mark.parametrize("vocabulary", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_learnt_vocabulary_is_passed_over(vocabulary: bool, frozen: bool) -> None:
    model = make_model(vocabulary)
    assert (len(list_real(model)) == len(model.variables)) == vocabulary
    model.get_layer("emb").trainable = not frozen
    report = introspect.inspect(model, data=DATA, measure=True, try_fixes=True)
    assert [row.path for row in report.variables] == [variable.name for variable in list_real(model)]
    assert [(finding.rule, finding.verified) for finding in report.findings] == ([("INT101", True)] if frozen else [])
    introspect.recompile(model)
    before = model.get_layer("emb").get_weights()[0]
    model.fit(*DATA, verbose=0)
    assert np.array_equal(before, model.get_layer("emb").get_weights()[0]) == frozen
    assert introspect.inspect(model).ok


def test_in_the_callback_and_with_averages(tmp_path: Path) -> None:
    model = make_model()
    model.compile(tf_keras.optimizers.SGD(0.1, use_ema=True), "mse")
    callback = introspect.IntrospectCallback(log_dir=str(tmp_path), on_mismatch="raise")
    model.fit(*DATA, epochs=2, verbose=0, callbacks=[callback])
    assert callback.report is not None
    assert callback.report.ok
    introspect.recompile(model)
    assert introspect.inspect(model).ok


def test_before_the_first_fit() -> None:
    model = make_model()
    model.compile("sgd", "mse")
    report = introspect.inspect(model, data=DATA)
    assert report.source == "traced"
    assert report.ok
