"""Copies and comparisons of all variables at once against those of one after another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tf

DTYPES = ("float16", "bfloat16", "float32", "float64", "int32", "uint8", "bool", "complex64")


def make_variables() -> list[Any]:
    import tensorflow as tf

    random = np.random.default_rng(0)
    values = [tf.cast(tf.constant(random.normal(size=(3, 4)) * 5), dtype) for dtype in DTYPES]
    return [tf.Variable(value) for value in values]


def read(handle: Any, variable: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=variable.dtype).numpy()


def test_copies_are_apart_from_their_originals_and_from_each_other() -> None:
    import tensorflow as tf

    from introspect.capture.measurement.bulk import Copier
    from introspect.capture.measurement.shadow import Library

    variables = make_variables()
    before = [variable.numpy() for variable in variables]
    with Library() as library:
        copier = Copier(variables, library)
        one, other = copier.copy(variables), copier.copy(variables)
    assert one is not None
    assert other is not None
    for handle, variable in zip(one, variables, strict=True):
        tf.raw_ops.AssignVariableOp(resource=handle, value=tf.zeros_like(variable))
    for i, variable in enumerate(variables):
        assert not read(one[i], variable).any()
        assert read(other[i], variable).tobytes() == variable.numpy().tobytes() == before[i].tobytes()


def test_a_variable_without_a_value_is_no_failure() -> None:
    import tensorflow as tf

    from introspect.capture.measurement.bulk import Copier
    from introspect.capture.measurement.shadow import Library

    empty = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[2], shared_name="nothing", container="")
    hollow = type("Hollow", (), {"handle": empty, "dtype": tf.float32, "shape": tf.TensorShape([2])})()
    with Library() as library:
        assert Copier([hollow], library).copy([hollow]) is None
        assert Copier([], library).copy([]) == []


CHANGES = {
    "plain": (3.0, 0.25),
    "unchanged": (3.0, 0.0),
    "from zero": (0.0, 0.5),
    "tiny": (1e-20, 1e-21),
    "huge": (1e30, 1e29),
    "endless": (math.inf, 1.0),
    "no number": (math.nan, 1.0),
}


FLOATS = ("float16", "bfloat16", "float32", "float64")
WHOLE = [name for name, (value, _) in CHANGES.items() if math.isfinite(value)]
"""Those that integers can hold."""


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in CHANGES for dtype in FLOATS] + [(name, "int32") for name in WHOLE]
)
def test_norms_are_those_of_the_closer_look(name: str, dtype: str) -> None:
    import tensorflow as tf

    from introspect.capture.measurement.bulk import Differ
    from introspect.capture.measurement.shadow import Library
    from introspect.capture.measurement.statistics import comparer, read_row

    value, change = CHANGES[name]
    wide = tf.cast if dtype != "int32" else tf.saturate_cast
    before, after = (tf.Variable(wide(tf.constant([v, v, 1.0], tf.float64), dtype)) for v in (value, value + change))
    with Library() as library:
        found = Differ([before], library).compare([before.handle], [after.handle])
    line = comparer(before.dtype)(before, after).numpy()
    own, difference = read_row(line[:5]), read_row(line[5:10])
    assert not found or (dtype != "int32" and name not in ("unchanged", "endless", "no number"))
    assert found or dtype == "int32" or name not in ("plain", "from zero")
    for pair in found.values():
        assert line[-1] == 1
        assert pair[0].norm == pytest.approx(own.norm, rel=1e-6)
        assert pair[1].norm == pytest.approx(difference.norm, rel=1e-6)
        assert pair[0].finite
        assert pair[1].finite


def test_variables_of_several_types_in_one_call() -> None:
    from introspect.capture.measurement.bulk import Copier, Differ
    from introspect.capture.measurement.shadow import Library

    variables = make_variables()
    with Library() as library:
        handles = Copier(variables, library).copy(variables)
        assert handles is not None
        differ = Differ(variables, library)
        assert differ.compare([variable.handle for variable in variables], handles) == {}
        before = [variable.numpy() for variable in variables]
        for variable in variables[:4]:
            variable.assign(variable * 2)
        found = differ.compare(handles, [variable.handle for variable in variables])
    assert sorted(found) == [0, 1, 2, 3]
    for place, (own, change) in found.items():
        norm = np.linalg.norm(before[place].astype("float64"))
        assert own.norm == pytest.approx(norm, rel=1e-3)
        assert change.norm == pytest.approx(norm, rel=1e-3)
