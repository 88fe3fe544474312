"""Many texts inside one buffer: compared, grouped and found again without a Python string for each.

A million nodes name each other some two million times. All texts are read together, eight bytes at a time: a hash finds
what may be equal, and the bytes decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.graph.sorting import sort_numbers

Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]
Words = NDArray[np.uint64]

WORD = 8
_KEPT: Words = np.asarray([(1 << 8 * used) - 1 for used in range(WORD + 1)], dtype=np.uint64)
"""By how many bytes of a word belong to a text: those."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
MOST_BITS = 16
"""Of a hash, to choose a bucket by: 65,536 buckets, fewer for few texts."""


class Buffer:
    """Bytes that texts lie in, one part after another, and a word of zeros.

    Attributes:
        bytes: uint8.
        words: uint64, the eight bytes that begin at each place, the end of the last part included.
    """

    def __init__(self, parts: Iterable[bytes]) -> None:
        self.content = b"".join((*parts, bytes(WORD)))
        self.bytes: NDArray[np.uint8] = np.frombuffer(self.content, dtype=np.uint8)
        places = len(self.content) - WORD + 1
        self.words: Words = np.ndarray((places,), dtype="<u8", buffer=self.content, strides=(1,))

    @cached_property
    def slashes(self) -> Ints:
        """Places of all slashes."""
        return np.flatnonzero(self.bytes == ord("/")).astype(np.int32)


class Texts:
    """Texts of one buffer: int32 [texts], where each begins, and its bytes."""

    def __init__(self, buffer: Buffer, start: Ints, length: Ints) -> None:
        self.buffer = buffer
        self.start = start
        self.length = length

    def __len__(self) -> int:
        return int(self.start.shape[0])

    def __getitem__(self, place: int) -> str:
        return self.read_bytes(place).decode(errors="replace")

    def read_bytes(self, place: int) -> bytes:
        """One of them."""
        start = int(self.start[place])
        return self.buffer.content[start : start + int(self.length[place])]

    def __iter__(self) -> Iterator[str]:
        content = self.buffer.content
        for start, length in zip(self.start.tolist(), self.length.tolist(), strict=True):
            yield content[start : start + length].decode(errors="replace")

    def take(self, places: NDArray[Any] | slice) -> Texts:
        """Some of them."""
        return Texts(self.buffer, self.start[places], self.length[places])

    def scopes(self) -> Texts:
        """Each up to its last slash; empty where it has none."""
        before = np.searchsorted(self.buffer.slashes, self.start + self.length) - 1
        last = np.append(self.buffer.slashes, np.int32(-1))[before]
        return Texts(self.buffer, self.start, np.maximum(last - self.start, 0))

    def begin_with(self, prefixes: tuple[str, ...]) -> Bools:
        """[texts] whether each begins with one of these."""
        found = np.zeros(len(self), dtype=bool)
        for prefix in prefixes:
            wanted = prefix.encode()
            left = np.flatnonzero(self.length >= len(wanted))
            for begin in range(0, len(wanted), WORD):
                part = wanted[begin : begin + WORD]
                words = self.buffer.words[self.start[left] + begin] & _KEPT[len(part)]
                left = left[words == np.uint64(int.from_bytes(part, "little"))]
            found[left] = True
        return found

    def hashes(self) -> Words:
        """[texts], alike for equal texts, and hardly ever for others."""
        # The longest first: those that go on are what stands in front.
        order = sort_numbers(self.length.max(initial=0) - self.length)
        start, length = self.start[order].astype(np.int64), self.length[order]
        mixed, shortness = length.astype(np.uint64) * _ODD, -length
        for begin in range(0, int(self.length.max(initial=0)), WORD):
            on, whole = np.searchsorted(shortness, (-begin, -begin - WORD + 1))
            word = self.buffer.words[start[:on] + begin]
            word[whole:] &= _KEPT[length[whole:on] - begin]
            here = mixed[:on]
            here ^= word
            here *= _ODD
            here ^= here >> _HALF
        found = np.empty_like(mixed)
        found[order] = mixed
        return found

    def equal(self, others: Texts) -> Bools:
        """[texts] whether each is the text in the same place of others in the same buffer."""
        same: Bools = self.length == others.length
        left = np.flatnonzero(same)
        for begin in range(0, int(self.length.max(initial=0)), WORD):
            left = left[self.length[left] > begin]
            alike = self._read_words(begin, left) == others._read_words(begin, left)
            same[left] = alike
            left = left[alike]
        return same

    def group(self) -> tuple[Ints, list[str]]:
        """([texts] a number for each different text, those texts). Fast where few are different."""
        hashes = self.hashes()
        bits = min(MOST_BITS, (8 * len(self) + 1).bit_length())
        bucket = hashes >> np.uint64(64 - bits)
        head = np.full(1 << bits, -1, dtype=np.int32)
        head[bucket] = np.arange(len(self))
        used = np.flatnonzero(head >= 0)
        number = np.zeros(1 << bits, dtype=np.int32)
        number[used] = np.arange(used.size)
        numbers, first = number[bucket], head[used]
        rest = np.flatnonzero(~self.equal(self.take(head[bucket])))
        if rest.size:
            known: dict[str, int] = {}
            found = [known.setdefault(self[place], len(known)) for place in rest.tolist()]
            numbers[rest] = np.asarray(found) + used.size
            return numbers, [*self.take(first), *known]
        return numbers, list(self.take(first))

    def _read_words(self, begin: int, left: NDArray[np.int64]) -> Words:
        kept = np.minimum(self.length[left] - begin, WORD)
        return self.buffer.words[self.start[left] + begin] & _KEPT[kept]


def join_texts(parts: Sequence[Texts]) -> Texts:
    """Texts of one buffer behind one another."""
    return Texts(
        parts[0].buffer, np.concatenate([part.start for part in parts]), np.concatenate([part.length for part in parts])
    )
