"""The NodeDefs of a graph as columns, read from their bytes all at once.

A NodeDef is a row of fields, each a number, a length and that many bytes (node_def.proto: 1 name, 2 op, 3 input, 4 device,
5 attr; the wire format of protobuf). The first field of each node is read, then the second of each, and so on. What is
written in another way than protobuf writes it is handed to protobuf and read as that writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.graph.texts import Buffer, Ints, Texts

AT_ONCE = 1 << 16
"""How many messages are read together: the memory of their rounds."""
FEW = 32
"""So many messages that are left are read one by one: a node that waits for thousands has a field for each."""

NAME, OP, INPUT = 1, 2, 3
_FIELDS = 7
"""Fields of a NodeDef, each of them with a length."""
_LONGEST = 5
"""Bytes of a length, seven bits in each."""

Long = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Heads:
    """What messages begin with.

    Attributes:
        messages: [messages], each as a whole.
        names, ops: [messages], "" where there is none.
        counts: int32 [messages], how many inputs each has.
        inputs: of all, one after another.
    """

    messages: Texts
    names: Texts
    ops: Texts
    counts: Ints
    inputs: Texts


def read_heads(messages: Sequence[bytes], rewrite: Callable[[bytes], bytes]) -> Heads:
    """Names, ops and inputs.

    `rewrite` gives a NodeDef as protobuf writes it, and raises where it is none.
    """
    length = np.fromiter(map(len, messages), dtype=np.int64, count=len(messages))
    buffer = Buffer(messages)
    start = np.cumsum(length) - length
    parts = [_Rounds(buffer, start[i : i + AT_ONCE], length[i : i + AT_ONCE]) for i in range(0, len(length), AT_ONCE)]
    odd = [i * AT_ONCE + place for i, part in enumerate(parts) for place in part.odd]
    if odd:
        mended = list(messages)
        for place in odd:
            mended[place] = rewrite(mended[place])
        return read_heads(mended, rewrite)
    whole = Texts(buffer, start.astype(np.int32), length.astype(np.int32))
    return _join(whole, parts)


class _Rounds:
    """Some messages, field by field.

    Attributes:
        names, ops: int32 [2, messages], where each begins and how long it is.
        counts: int32 [messages], how many inputs were read of each.
        odd: messages that are not written as protobuf writes a NodeDef.
    """

    def __init__(self, buffer: Buffer, start: Long, length: Long) -> None:
        self.buffer = buffer
        self.end = start + length
        self.names = np.zeros((2, len(start)), dtype=np.int32)
        self.ops = np.zeros_like(self.names)
        self.counts = np.zeros(len(start), dtype=np.int32)
        self.odd: list[int] = []
        self._inputs: list[tuple[Long, Ints, Long, Long]] = []
        rows = np.flatnonzero(length)
        here = start[rows]
        while rows.size > FEW:
            rows, here = self._read_field(rows, here)
        for row, place in zip(rows.tolist(), here.tolist(), strict=True):
            self._read_alone(row, place)

    def place_inputs(self) -> Ints:
        """[2, inputs] where each begins and how long it is, one message after another."""
        first = np.cumsum(self.counts) - self.counts
        found = np.zeros((2, int(self.counts.sum())), dtype=np.int32)
        for rows, rank, begin, length in self._inputs:
            found[:, first[rows] + rank] = begin, length
        return found

    def _read_field(self, rows: Long, here: Long) -> tuple[Long, Long]:
        """The field that begins there of each; the messages that have another behind it, and where."""
        tag = self.buffer.bytes[here]
        length, begin = self._read_lengths(here + 1)
        behind = begin + length
        good = (tag & 7 == 2) & (tag > 7) & (tag >> 3 <= _FIELDS) & (length >= 0) & (behind <= self.end[rows])
        if not good.all():
            self.odd += rows[~good].tolist()
            rows, tag, begin, length, behind = (part[good] for part in (rows, tag, begin, length, behind))
        field = tag >> 3
        if (field <= INPUT).any():  # most rounds read attributes alone
            self._keep(field, rows, begin, length)
        more = behind < self.end[rows]
        return rows[more], behind[more]

    def _keep(self, field: NDArray[Any], rows: Long, begin: Long, length: Long) -> None:
        for number, texts in ((NAME, self.names), (OP, self.ops)):
            here = field == number
            texts[:, rows[here]] = begin[here], length[here]
        here = field == INPUT
        if here.any():
            rows = rows[here]
            self._inputs.append((rows, self.counts[rows], begin[here], length[here]))
            self.counts[rows] += 1

    def _read_lengths(self, at: Long) -> tuple[Long, Long]:
        """(the length that is written there, -1 where it is too long to be one; what stands behind it)."""
        first = self.buffer.bytes[at]
        length, behind = (first & 127).astype(np.int64), at + 1
        more = np.flatnonzero(first > 127)
        for byte in range(1, _LONGEST):
            if not more.size:
                break
            digit = self.buffer.bytes[at[more] + byte]
            length[more] |= (digit & 127).astype(np.int64) << 7 * byte
            behind[more] += 1
            more = more[digit > 127]
        length[more] = -1
        return length, behind

    def _read_alone(self, row: int, here: int) -> None:
        """What is left of one message, without a round for each of its fields."""
        inputs: list[tuple[int, int]] = []
        content, end = self.buffer.content, int(self.end[row])
        while here < end:
            field, kind, length, begin = content[here] >> 3, content[here] & 7, content[here + 1], here + 2
            if length > 127:
                length, begin = _read_length(content, here + 1)
            here = begin + length
            if kind != 2 or not 0 < field <= _FIELDS or length < 0 or here > end:
                self.odd.append(row)
                return
            if field == INPUT:
                inputs.append((begin, length))
            elif field in (NAME, OP):
                (self.names if field == NAME else self.ops)[:, row] = begin, length
        places = np.asarray(inputs, dtype=np.int64).reshape(-1, 2)
        rank = self.counts[row] + np.arange(len(inputs), dtype=np.int32)
        self._inputs.append((np.full(len(inputs), row), rank, places[:, 0], places[:, 1]))
        self.counts[row] += len(inputs)


def _read_length(content: bytes, here: int) -> tuple[int, int]:
    """`_Rounds._read_lengths` of one."""
    length = 0
    for byte in range(_LONGEST):
        digit = content[here + byte]
        length |= (digit & 127) << 7 * byte
        if digit < 128:
            return length, here + byte + 1
    return -1, here


def _join(messages: Texts, parts: list[_Rounds]) -> Heads:
    def texts(columns: list[Ints]) -> Texts:
        begin, length = np.concatenate(columns, axis=1) if columns else np.zeros((2, 0), dtype=np.int32)
        return Texts(messages.buffer, begin, length)

    return Heads(
        messages=messages,
        names=texts([part.names for part in parts]),
        ops=texts([part.ops for part in parts]),
        counts=np.concatenate([part.counts for part in parts]) if parts else np.zeros(0, dtype=np.int32),
        inputs=texts([part.place_inputs() for part in parts]),
    )
