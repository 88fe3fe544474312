"""Which layer a name scope belongs to where layers are numbered, as Keras numbers those that have no name."""

from __future__ import annotations

import pytest

from introspect.evidence.scopes import LayerScopes
from introspect.records import LayerReport


def tree(*paths: str) -> tuple[LayerReport, ...]:
    def report(path: str) -> LayerReport:
        parent, _, name = path.rpartition("/")
        return LayerReport(path, name, "Dense", parent or None, True)

    return (report("m"), *map(report, paths))


@pytest.mark.parametrize(
    ("scope", "numbered", "layer"),
    [
        ("m_1/dense_1", True, "m/dense"),
        ("m_1/dense_1_2", True, "m/dense_1"),
        ("m_1/block_1/dense_1_1", True, "m/block/dense_1"),
        ("m_1/head_1", True, "m/head"),
        ("m/dense", False, "m/dense"),
        ("m/dense_1", False, "m/dense_1"),
        ("m/head_1", False, "m/head"),
    ],
)
def test_scope_of_a_call(scope: str, numbered: bool, layer: str) -> None:
    scopes = LayerScopes(tree("m/dense", "m/dense_1", "m/block", "m/block/dense_1", "m/head"), numbered)
    assert scopes.layer_of(f"{scope}/MatMul") == layer
