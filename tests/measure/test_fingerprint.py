"""Fingerprints tell exactly what changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from introspect.capture.measurement.fingerprint import Fingerprinter, find_changed, fingerprint_model
from tests.measure.zoo import perceptron

pytestmark = pytest.mark.tf


def look(values: dict[str, Any]) -> tuple[Fingerprinter, dict[str, Any]]:
    import tensorflow as tf

    variables = {name: tf.Variable(value) for name, value in values.items()}
    return Fingerprinter(variables.items()), variables


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32", "int64", "int8", "complex64"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_one_bit_of_one_element(dtype: str, size: int) -> None:
    import tensorflow as tf

    finger, variables = look({"a": tf.cast(tf.range(size) + 1, dtype), "b": tf.ones([size])})
    before = finger.take()
    assert find_changed(before, finger.take()) == ()
    raw = bytearray(variables["a"].numpy().tobytes())
    for place in (0, len(raw) // 2, len(raw) - 1):
        raw[place] ^= 1
        changed = np.frombuffer(bytes(raw), variables["a"].numpy().dtype).reshape(size)
        variables["a"].assign(changed)
        after = finger.take()
        assert find_changed(before, after) == ("a",)
        before = after


def test_what_cancels_in_the_bits() -> None:
    import tensorflow as tf

    finger, variables = look({"signs": tf.constant([1.0, 2.0, 3.0, 4.0]), "empty": tf.zeros([0, 3])})
    before = finger.take()
    variables["signs"].assign(-variables["signs"])
    assert find_changed(before, finger.take()) == ("signs",)


def test_nan_that_stays_is_no_change() -> None:
    import tensorflow as tf

    finger, variables = look({"a": tf.constant([float("nan"), 1.0])})
    before = finger.take()
    assert find_changed(before, finger.take()) == ()
    variables["a"].assign([float("nan"), 2.0])
    assert find_changed(before, finger.take()) == ("a",)


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_a_training_with_a_frozen_layer(name: str) -> None:
    keras = pytest.importorskip(name)
    model, x, y = perceptron(keras)
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    model.fit(x, y, verbose=0)
    finger = fingerprint_model(model)
    before = finger.take()
    model.fit(x, y, verbose=0)
    after = finger.take()
    changed = find_changed(before, after)
    assert isinstance(after.step, int)
    assert after.step > (before.step or 0)
    model_paths = finger.paths[: len(model.variables)]
    moved = [path for path in changed if path in model_paths]
    assert len(moved) == 2
    assert not set(model_paths[:2]) & set(changed)
    assert len(changed) > 2
    norm = float(np.linalg.norm(model.get_weights()[0]))
    assert after.norm_of(model_paths[0]) == pytest.approx(norm, rel=1e-5)
    assert after.norm_of("nothing") is None
