"""The nodes of all functions of a GraphDef in one table.

A step of Keras calls hundreds of small functions: what takes numpy a call for each array is done for all of them at once,
and a function is a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.errors import GraphError
from introspect.graph.messages import FunctionMessage, rewrite_node, write_head
from introspect.graph.texts import Bools, Ints, Texts, Words
from introspect.graph.wire import Heads, read_heads

CARET, COLON = ord("^"), ord(":")
_APART = np.uint64(0xD6E8FEB86659FD93)
"""Keeps the same name in two functions apart."""


@dataclass(frozen=True, slots=True)
class Names:
    """What references may name: the arguments and nodes of each function, one function after another.

    Attributes:
        texts: [names].
        function: int32 [names], whose it is.
        row: int32 [names], the node's row in the table; -1 for an argument.
        start: int32 [functions + 1], where each function's names begin: first its arguments.
    """

    texts: Texts
    function: Ints
    row: Ints
    start: Ints


@dataclass(frozen=True, slots=True)
class References:
    """Inputs of all nodes, then what each function returns.

    Attributes:
        control: [references] whether it is a control input.
        name: int32 [references], the place in `Names`; -1 where there is none.
        output: int32 [references], index into `outputs`.
        outputs: (name of the output argument, number in it); a plain GraphDef has no names.
    """

    control: Bools
    name: Ints
    output: Ints
    outputs: list[tuple[str, int]]


def sum_up(lengths: NDArray[Any] | Sequence[int]) -> Ints:
    """Where rows of these lengths begin and end, one after another."""
    start = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=start[1:])
    return start


class NodeTable:
    """The table, in the order of the file.

    Attributes:
        start: int32 [functions + 1], where each function's rows begin.
        messages, names: [rows], each NodeDef and its name.
        op: int32 [rows], index into `op_types`.
        counts: int32 [rows], how many references each has.
        known: what references may name.
        references: theirs, then what each function returns.
        returns: int32 [functions + 1], where those of each function begin.
        missing: by function, a reference to what it does not have.
    """

    def __init__(self, functions: Sequence[FunctionMessage]) -> None:
        self.start = sum_up([len(function.nodes) for function in functions])
        rows, many = int(self.start[-1]), len(functions)
        # Arguments and returns are read beside the nodes, as the inputs of messages of their own.
        arguments = (write_head(inputs=function.arguments) for function in functions)
        returns = (write_head(inputs=function.returns) for function in functions)
        nodes = chain.from_iterable(function.nodes for function in functions)
        heads = read_heads([*nodes, *arguments, *returns], rewrite_node)
        self.messages, self.names = heads.messages.take(slice(rows)), heads.names.take(slice(rows))
        _refuse_nameless(heads, rows)
        self.op, self.op_types = heads.ops.take(slice(rows)).group()
        self.counts, own, back = np.split(heads.counts, [rows, rows + many])
        inputs = sum_up(heads.counts)
        first, last = int(inputs[rows]), int(inputs[rows + many])
        self.known = self._list_names(heads.inputs.take(slice(first, last)), own)
        self.returns = inputs[rows + many :] - (last - first)
        read = np.concatenate([np.arange(first), np.arange(last, len(heads.inputs))])
        lengths = np.concatenate([np.diff(inputs[self.start]), back])
        self._resolve(heads.inputs.take(read), np.repeat(np.tile(np.arange(many, dtype=np.int32), 2), lengths))

    def _resolve(self, texts: Texts, function: Ints) -> None:
        self.references = _read_references(self.known, texts, function)
        wrong = np.flatnonzero(self.references.name < 0)
        self.missing = dict(zip(function[wrong].tolist(), texts.take(wrong), strict=True))

    def _list_names(self, arguments: Texts, counts: Ints) -> Names:
        """Each function's arguments, then its nodes."""
        lengths = np.diff(self.start)
        start = sum_up(counts + lengths)
        whose = np.repeat(np.arange(len(counts), dtype=np.int32), counts + lengths)
        row = np.arange(len(whose), dtype=np.int32) - (start[:-1] + counts - self.start[:-1])[whose]
        named = row >= self.start[:-1][whose]
        row[~named] = -1
        begin, length = np.zeros((2, len(whose)), dtype=np.int32)
        begin[named], length[named] = self.names.start, self.names.length
        begin[~named], length[~named] = arguments.start, arguments.length
        return Names(Texts(self.names.buffer, begin, length), whose, row, start)


def _refuse_nameless(heads: Heads, rows: int) -> None:
    if not (heads.names.length[:rows].all() and heads.ops.length[:rows].all()):
        raise GraphError("a node of the captured graph has no name or no op; capture it again")


def _read_references(names: Names, texts: Texts, function: Ints) -> References:
    control, node, output = _split_references(texts)
    code, written = output.group()
    meanings = [_split_output(text) for text in written]
    outputs = list(dict.fromkeys(meanings))
    numbers = {meaning: number for number, meaning in enumerate(outputs)}
    same = np.asarray([numbers[meaning] for meaning in meanings], dtype=np.int32)
    return References(control, _find_names(names, node, function), same[code], outputs)


def _split_references(texts: Texts) -> tuple[Bools, Texts, Texts]:
    """(whether it is a control input, the node's name, what stands behind the first colon) of each."""
    content = texts.buffer.bytes
    control = content[texts.start] == CARET
    start, end = texts.start + control, texts.start + texts.length
    colons = np.append(np.flatnonzero(content == COLON), len(content))
    colon = np.minimum(colons[np.searchsorted(colons, start)], end).astype(np.int32)
    colon[control] = end[control]
    behind = np.minimum(colon + 1, end)
    return control, Texts(texts.buffer, start, colon - start), Texts(texts.buffer, behind, end - behind)


def _split_output(text: str) -> tuple[str, int]:
    """(name of the output argument, number in it) of what stands behind a node's name."""
    name, _, index = text.rpartition(":")
    return name, int(index) if text else 0


def _find_names(names: Names, texts: Texts, function: Ints) -> Ints:
    """[texts] which name of its function each is; -1 for none.

    Where no two names of a graph share a hash, a reference has the hash of one name alone.
    """
    known = names.texts.hashes() ^ names.function.astype(np.uint64) * _APART
    wanted = texts.hashes() ^ function.astype(np.uint64) * _APART
    found = find_places(known, wanted)
    return _find_exactly(names, texts, function) if found is None else found


def find_places(known: Words, wanted: Words) -> Ints | None:
    """[wanted] where each stands in `known`, -1 where it does not; None where a hash stands there twice.

    The upper bits of a hash are its bucket, of which there are eight for each hash: what shares one is sorted.
    """
    bits = (8 * known.size + 1).bit_length()
    shift = np.uint64(64 - bits)
    bucket, place = known >> shift, np.arange(known.size, dtype=np.int32)
    head = np.full(1 << bits, -1, dtype=np.int32)
    head[bucket] = place
    rest = np.flatnonzero(head[bucket] != place).astype(np.int32)
    rest = rest[np.argsort(known[rest])]
    late = known[rest]
    if (late[1:] == late[:-1]).any() or (known[head[bucket[rest]]] == late).any():
        return None
    found: Ints = head[wanted >> shift]
    if known.size:
        found[known[found] != wanted] = -1
    if rest.size:
        left = np.flatnonzero(found < 0)
        there = rest[np.minimum(np.searchsorted(late, wanted[left]), rest.size - 1)]
        found[left] = np.where(known[there] == wanted[left], there, -1)
    return found


def _find_exactly(names: Names, texts: Texts, function: Ints) -> Ints:
    places = {named: i for i, named in enumerate(zip(names.function.tolist(), names.texts, strict=True))}
    found = [places.get(named, -1) for named in zip(function.tolist(), texts, strict=True)]
    return np.asarray(found, dtype=np.int32)
