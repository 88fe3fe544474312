"""Texts in a buffer are compared, grouped and found again as Python's strings are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspect.graph import texts
from introspect.graph.flatten import flatten_graph
from introspect.graph.parse import NodeNames, ParsedGraph
from introspect.graph.text import parse_text
from introspect.graph.texts import Buffer, Texts

WORDS = st.lists(st.text(st.sampled_from("ab/é"), max_size=20), max_size=30)


def make_texts(words: list[str]) -> Texts:
    """The words, one behind another."""
    encoded = [word.encode() for word in words]
    length = np.asarray([len(word) for word in encoded], dtype=np.int32)
    return Texts(Buffer(encoded), (np.cumsum(length) - length).astype(np.int32), length)


@given(words=WORDS)
def test_as_strings(words: list[str]) -> None:
    found = make_texts(words)
    assert list(found) == [found[i] for i in range(len(found))] == words
    assert found.begin_with(("ab", "é/aabbaabb")).tolist() == [word.startswith(("ab", "é/aabbaabb")) for word in words]
    turned = np.arange(len(words))[::-1]
    same = [one == other for one, other in zip(words, words[::-1], strict=True)]
    assert found.equal(found.take(turned)).tolist() == same
    hashes = found.hashes().tolist()
    assert len(set(zip(hashes, words, strict=True))) == len(set(words)) == len(set(hashes))


@given(words=WORDS)
def test_groups(words: list[str]) -> None:
    numbers, different = make_texts(words).group()
    assert [different[number] for number in numbers.tolist()] == words
    assert sorted(different) == sorted(set(words))


@given(words=WORDS)
def test_groups_where_hashes_meet(words: list[str]) -> None:
    """The bytes decide, whatever the hash says."""
    found = make_texts(words)
    found.hashes = lambda: np.zeros(len(words), dtype=np.uint64)  # type: ignore[method-assign]
    numbers, different = found.group()
    assert [different[number] for number in numbers.tolist()] == words
    assert sorted(different) == sorted(set(words))


@given(words=WORDS)
def test_scopes(words: list[str]) -> None:
    assert list(make_texts(words).scopes()) == [word.rpartition("/")[0] for word in words]


def test_scopes_of_nodes() -> None:
    """In their functions, and by the names that the first ones are shown under."""
    text = "l/o/p = Const()\nb = PartitionedCall(l/o/p) f=@f\nq = Neg(b)\ndef f(x) -> y=m/n:o:0\n  m/n = Neg(x)\n"
    graph = ParsedGraph(parse_text(text))
    graph.main.names = NodeNames(graph.main.names._texts, ("shown/p",))
    flow = flatten_graph(graph, lambda *_: False)
    nodes = np.arange(flow.nodes, dtype=np.int32)
    asked: list[str] = []

    def tell(scope: str) -> str:
        asked.append(scope)
        return scope.upper()

    scopes = [name.rpartition("/")[0] for name in flow.names(nodes)]
    assert set(scopes) == {"shown", "m", ""}
    assert flow.scopes(nodes, tell) == [scope.upper() for scope in scopes]
    assert len(asked) == len(set(asked)) >= len(set(scopes))
    assert flow.scopes(nodes[:0], tell) == []


TEXT = "c = PartitionedCall(a) f=@f\na = Const()\ndef f(x) -> y=n:o:0, z=x\n  n = Neg(x, ^a)\n  a = Const()"


@pytest.mark.parametrize("meet", [False, True])
def test_references_where_hashes_meet(meet: bool, monkeypatch: Any) -> None:
    """Names of one hash are told apart by their text and their function."""
    if meet:
        monkeypatch.setattr(texts.Texts, "hashes", lambda self: np.zeros(len(self), dtype=np.uint64))
    graph = ParsedGraph(parse_text(TEXT))
    body = graph.body("f")
    assert [body.name_of(node) for node in range(body.nodes)] == ["a", "n"]
    assert body.input_port.tolist() == [0]
    assert body.returns == [1, 0]
    assert [graph.main.name_of(node) for node in range(2)] == ["a", "c"]
