"""Which constants, and what is made of them, are zeros."""

from __future__ import annotations

from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")

from introspect.evidence.tape import yields_zeros  # noqa: E402
from introspect.graph.flatten import flatten_graph  # noqa: E402
from introspect.graph.parse import ParsedGraph  # noqa: E402
from introspect.graph.walk import Edges  # noqa: E402

pytestmark = pytest.mark.tf

DTYPES = ("float32", "float64", "bfloat16", "float16", "int32", "int64", "uint8", "bool", "complex64")


def is_zeros(make: Any) -> bool:
    """Of the value that a graph made by `make` returns."""
    graph = tf.Graph()
    with graph.as_default():
        name = make().name
    flow = flatten_graph(ParsedGraph(graph.as_graph_def().SerializeToString(), [name]), lambda function, node: False)
    edges = Edges(flow)
    return yields_zeros(flow, edges, edges.producer[flow.outputs[0]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_constants_of_each_type(dtype: str, shape: tuple[int, ...]) -> None:
    assert is_zeros(lambda: tf.zeros(shape, dtype))
    assert not is_zeros(lambda: tf.ones(shape, dtype))


def test_one_number_that_is_none() -> None:
    assert not is_zeros(lambda: tf.constant([0, 0, 1]))
    assert not is_zeros(lambda: tf.constant([0.0, 2.0]))
    assert is_zeros(lambda: tf.constant([0, 0, 0]))


@pytest.mark.parametrize("value", [0, 1])
def test_what_keeps_zeros(value: int) -> None:
    def make() -> Any:
        whole = tf.fill([2, 2], tf.constant(value, tf.int32))
        return -tf.reshape(tf.cast(tf.transpose(whole), tf.float32), [4])

    assert is_zeros(make) is (value == 0)


def test_a_sum_is_not_followed() -> None:
    assert not is_zeros(lambda: tf.zeros([2]) + tf.zeros([2]))
