"""Gradients that are made one number, which alone is spread again over what is written: a sum, a mean, a norm.

Such a number stands in every update that is clipped by it, also where zeros stand for a missing gradient; there it
carries nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from introspect.evidence.resources import Access
from introspect.evidence.scan import GRADIENT, NORM, ForwardScan
from introspect.evidence.tape import yields_zeros

PRODUCTS = frozenset({"Mul", "MulNoNan", "MatMul", "BatchMatMulV2", "BatchMatMulV3"})
QUOTIENTS = frozenset({"RealDiv", "Div", "DivNoNan", "Xdivy"})


@dataclass(frozen=True, slots=True)
class Spread:
    """Where numbers that are made of gradients go, outside of the tape.

    Attributes:
        ports: values that hold such a number and no gradient element by element.
        writes: nodes that write one.
        zeros: products of such a number and zeros.
    """

    ports: frozenset[int] = frozenset()
    writes: frozenset[int] = frozenset()
    zeros: frozenset[int] = frozenset()


NOWHERE = Spread()


def find_spread(scan: ForwardScan) -> Spread:
    """Follow the numbers from the ops that made them, through slots and accumulators."""
    ports, writes, zeros = set[int](), set[int](), set[int]()
    queue = list(_list_numbers(scan))
    seen = set(queue)
    while queue:
        node = queue.pop()
        if _is_zeros(scan, node):
            zeros.add(node)
            continue
        made = [port for port in scan.edges.outputs[node] if _is_number(scan, port)]
        ports.update(made)
        after = [reader for port in made for reader in scan.edges.readers[port] if _follows(scan, reader)]
        access = scan.resources.accesses.get(node)
        if access is not None and access.effect not in ("read", "touch"):
            writes.add(node)
            after += _list_reads(scan, access)
        queue += (reader for reader in after if reader not in seen)
        seen.update(after)
    return Spread(frozenset(ports), frozenset(writes), frozenset(zeros))


def _list_numbers(scan: ForwardScan) -> Iterator[int]:
    """The ops that make one number of gradients."""
    for node in scan.reductions:
        whole = any(port >= 0 and scan.tags[port] & GRADIENT for port in scan.edges.inputs[node])
        if whole and any(_is_number(scan, port) for port in scan.edges.outputs[node]):
            yield node


def _is_number(scan: ForwardScan, port: int) -> bool:
    return scan.tags[port] & (NORM | GRADIENT) == NORM


def _follows(scan: ForwardScan, node: int) -> bool:
    return not scan.marked[node] and node not in scan.sizes


def _is_zeros(scan: ForwardScan, node: int) -> bool:
    op = scan.flow.op_type(node)
    factors = scan.edges.inputs[node][: 1 if op in QUOTIENTS else None] if op in PRODUCTS | QUOTIENTS else ()
    makers = (scan.edges.producer[port] for port in factors if port >= 0)
    return any(maker >= 0 and yields_zeros(scan.flow, scan.edges, maker) for maker in makers)


def _list_reads(scan: ForwardScan, access: Access) -> Iterator[int]:
    return (node for place in access.places for node in scan.read_by.get(place, ()))
