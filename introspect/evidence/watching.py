"""Whether a tape took the derivative by a variable that no tape watches by itself.

The derivative of a product by one factor is made of the other one, and where no tape was asked for it, nobody uses what is.
"""

from __future__ import annotations

from collections.abc import Iterable

from introspect.evidence.scan import TO_BACKWARD, ForwardScan

PRODUCTS = {
    "Mul": frozenset({"Mul", "MulNoNan"}),
    "MatMul": frozenset({"MatMul"}),
    "BatchMatMulV2": frozenset({"BatchMatMulV2", "BatchMatMulV3"}),
    "Conv2D": frozenset({"Conv2DBackpropFilter"}),
    "Conv3D": frozenset({"Conv3DBackpropFilterV2"}),
    "DepthwiseConv2dNative": frozenset({"DepthwiseConv2dNativeBackpropFilter"}),
}
"""By op: the ops that a tape makes of its other input."""

UNCHANGED = frozenset({"Identity", "EnsureShape", "Cast", "Reshape", "ExpandDims", "Squeeze", "StridedSlice"})
"""Ops between a variable and its product."""


def may_be_watched(scan: ForwardScan, reads: Iterable[int]) -> bool:
    """False where every use of the variable that is read here is a product, and nobody uses its derivative by this factor."""
    edges = scan.edges
    queue = [port for node in reads if not scan.marked[node] for port in edges.outputs[node]]
    seen = set(queue)
    while queue:
        port = queue.pop()
        for reader in edges.readers[port]:
            if scan.marked[reader] or not scan.reached[reader] & TO_BACKWARD:
                continue
            op = scan.flow.op_type(reader)
            if op in UNCHANGED:
                queue += (made for made in edges.outputs[reader] if made not in seen)
                seen.update(edges.outputs[reader])
            elif op not in PRODUCTS or _is_derived(scan, reader, port, PRODUCTS[op]):
                return True
    return False


def _is_derived(scan: ForwardScan, product: int, port: int, derivatives: frozenset[str]) -> bool:
    """Whether a tape makes such an op of another input of the product than this one, and somebody uses the result."""
    edges, flow = scan.edges, scan.flow
    if edges.inputs[product].count(port) > 1:
        return True
    others = (other for other in edges.inputs[product] if other >= 0 and other != port)
    readers = (reader for other in others for reader in edges.readers[other])
    return any(
        scan.marked[reader] and flow.op_type(reader) in derivatives and _leaves_tape(scan, reader) for reader in readers
    )


def _leaves_tape(scan: ForwardScan, node: int) -> bool:
    """Whether anything outside of the backward pass reads what is made of it: a graph keeps what its tape computed for nobody."""
    edges, queue, seen = scan.edges, [node], {node}
    while queue:
        for reader in (reader for port in edges.outputs[queue.pop()] for reader in edges.readers[port]):
            if not scan.marked[reader]:
                return True
            if reader not in seen:
                seen.add(reader)
                queue.append(reader)
    return False
