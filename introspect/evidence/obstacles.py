"""What stops a gradient between one op and the next."""

from __future__ import annotations

from functools import cached_property

from introspect.graph.dataflow import Dataflow
from introspect.graph.differentiable import DIFFERENTIABLE, INTEGER_OUTPUTS, NO_VALUE, is_discrete, is_discrete_output
from introspect.graph.ops import PYTHON_OPS

TYPED = ("Cast", "EagerPyFunc")
"""Ops that have a gradient where their result may have one."""


class Obstacles:
    """Answers for the ops of one program."""

    def __init__(self, flow: Dataflow) -> None:
        self.flow = flow
        self._discrete: dict[int, bool] = {}

    @cached_property
    def passes(self) -> list[bool]:
        """[op types] whether a tape carries a gradient through it."""
        return [name in DIFFERENTIABLE for name in self.flow.op_types]

    @cached_property
    def carries(self) -> list[bool]:
        """[op types] whether its result holds its input's value."""
        return [name not in NO_VALUE for name in self.flow.op_types]

    @cached_property
    def integer_outputs(self) -> dict[int, frozenset[tuple[str, int]]]:
        """By op type: outputs that are integers though the first is not."""
        names = enumerate(self.flow.op_types)
        return {code: INTEGER_OUTPUTS[name] for code, name in names if name in INTEGER_OUTPUTS}

    def is_discrete(self, node: int) -> bool:
        """Whether the op yields integers, booleans or strings alone, as far as its first output tells."""
        found = self._discrete.get(node)
        if found is None:
            flow = self.flow
            attributes = flow.body_of(node).def_of(int(flow.local[node])).attr
            found = self._discrete[node] = is_discrete(flow.op_type(node), attributes)
        return found

    def cuts(self, node: int) -> bool:
        """Whether no gradient goes from the op's outputs to its inputs."""
        if not self.passes[self.flow.op[node]]:
            return True
        return self.flow.op_types[self.flow.op[node]] in TYPED and self.is_discrete(node)

    def turns_whole(self, node: int, port: int) -> bool:
        """Whether this output carries no gradient though the op lets one through to another."""
        found = self.integer_outputs.get(int(self.flow.op[node]))
        if found is not None:
            return self.flow.output_of(port) in found
        return self._differs(node) and not self.cuts(node) and self._is_whole(node, port)

    def _differs(self, node: int) -> bool:
        """Whether the op runs Python, which has a type for each of its outputs."""
        return self.flow.op_types[self.flow.op[node]] in PYTHON_OPS

    def _is_whole(self, node: int, port: int) -> bool:
        """Whether this output of the op is made of integers, booleans or strings."""
        if not self._differs(node):
            return self.is_discrete(node)
        attributes = self.flow.body_of(node).def_of(int(self.flow.local[node])).attr
        return is_discrete_output(attributes, self.flow.output_of(port)[1])

    def find_cuts(self, node: int, port: int, reader: int) -> tuple[int, ...]:
        """Which of the two ops cut the way from one to the other.

        Integers carry no gradient, so what follows the op that made them is no further cut.
        """
        if self.turns_whole(node, port):
            return (node,)
        return (reader,) if self.cuts(reader) and not self._is_whole(node, port) else ()

    def has_own_gradient(self, node: int) -> bool:
        """Whether the user gave the gradient (`tf.custom_gradient`); it may hand nothing back."""
        if self.flow.op_type(node) not in ("IdentityN", "Identity"):
            return False
        attributes = self.flow.body_of(node).def_of(int(self.flow.local[node])).attr
        return "_gradient_op_type" in attributes and attributes["_gradient_op_type"].s.startswith(b"CustomGradient")
