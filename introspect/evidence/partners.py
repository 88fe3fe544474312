"""Whose gradient a product of the backward pass is, by the graph alone: the gradient of a kernel takes what the kernel is
multiplied with.

Of `x @ kernel` the kernel's gradient is made of `x` and of the gradient that comes back. Where a kernel is only multiplied,
by what the loop of no `tf.while_loop` carries, and its update takes other inputs, which other kernels are multiplied with,
it is updated with theirs.
"""

from __future__ import annotations

from functools import cached_property

from introspect.evidence.collect import TraceEvidence
from introspect.evidence.gradients import walk_ends
from introspect.evidence.scan import TO_BACKWARD
from introspect.evidence.undone import find_turn

PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D", "Conv3D", "DepthwiseConv2dNative"})
"""Ops that multiply their first input with a kernel, their second."""

BACK = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2"}) | {
    "Conv2DBackpropFilter",
    "Conv3DBackpropFilterV2",
    "DepthwiseConv2dNativeBackpropFilter",
}
"""Ops that are a kernel's gradient."""

HANDED_ON = frozenset({"Identity", "EnsureShape", "Cast"})
"""Ops between a variable and its product, and between its gradient and its update."""

SUMMED = HANDED_ON | {"AddN", "IdentityN"}


class Partners:
    """Which kernels each value is multiplied with in the forward pass of one trace."""

    def __init__(self, evidence: TraceEvidence) -> None:
        self.evidence = evidence

    def find(self, variable: int) -> frozenset[int]:
        """The variables of whose gradients one of the kernels update is made, as far as each part of it shows; none where one does
        not, or where its own is among them.
        """
        found: set[int] = set()
        for port in walk_ends(self.evidence, variable, self._is_end):
            takes = self._name_inputs(self.evidence.edges.producer[port])
            if not takes or variable in takes:
                return frozenset()
            found |= takes
        return frozenset(found)

    def _is_end(self, port: int) -> bool:
        """Whether the backward pass yields it, and does not only sum there."""
        node = self.evidence.edges.producer[port]
        return bool(self.evidence.marked[node]) and self.evidence.flow.op_type(node) not in SUMMED

    def _name_inputs(self, node: int) -> set[int]:
        """Kernels that the forward values among the inputs of a product of the backward pass are multiplied with."""
        flow = self.evidence.flow
        if node < 0 or flow.op_type(node) not in BACK or find_turn(flow, node):
            return set()
        found: set[int] = set()
        for port in (port for port in self.evidence.edges.inputs[node] if port >= 0):
            found |= self._multiplied.get(self._find_root(port), set())
        return found

    @property
    def kernels(self) -> frozenset[int]:
        """Variables that the forward pass multiplies with a value and uses in no other way."""
        return self._products[0]

    @property
    def _multiplied(self) -> dict[int, set[int]]:
        return self._products[1]

    @cached_property
    def _products(self) -> tuple[frozenset[int], dict[int, set[int]]]:
        """(variables that the forward pass multiplies with a value and uses in no other way, by value: such variables)."""
        kernels, multiplied = set[int](), dict[int, set[int]]()
        for variable in self.evidence.forward:
            products = self._find_products(variable)
            if products:
                kernels.add(variable)
            for port in products or ():
                multiplied.setdefault(port, set()).add(variable)
        return frozenset(kernels), multiplied

    def _find_products(self, variable: int) -> set[int] | None:
        """The values that it is multiplied with; None where the forward pass uses it otherwise too."""
        flow, edges, marked = self.evidence.flow, self.evidence.edges, self.evidence.marked
        found: set[int] = set()
        queue = [(node, port) for node in self.evidence.reads.get(variable, ()) for port in edges.outputs[node]]
        while queue:
            node, port = queue.pop()
            if flow.op_type(node) not in ("ReadVariableOp", *HANDED_ON):
                return None
            for reader in edges.readers[port]:
                if marked[reader]:
                    continue
                if flow.op_type(reader) in HANDED_ON:
                    queue += [(reader, made) for made in edges.outputs[reader]]
                elif self._is_product(reader, port):
                    found.add(self._find_root(edges.inputs[reader][0]))
                elif self.evidence.reaches(reader, TO_BACKWARD):
                    return None
        return found

    def _is_product(self, node: int, port: int) -> bool:
        """Whether the op multiplies a value with the kernel behind this port, outside of all loops and branches."""
        flow, inputs = self.evidence.flow, self.evidence.edges.inputs[node]
        multiplies = flow.op_type(node) in PRODUCTS and port in inputs[1:2] and inputs[0] >= 0
        return multiplies and not find_turn(flow, node)

    def _find_root(self, port: int) -> int:
        """The port that a value comes from unchanged."""
        flow, edges = self.evidence.flow, self.evidence.edges
        node = edges.producer[port]
        while node >= 0 and flow.op_type(node) in ("Identity", "EnsureShape"):
            before = edges.inputs[node]
            if not before or before[0] < 0:
                break
            port = before[0]
            node = edges.producer[port]
        return port
