"""How an op's outputs are told apart: by its output arguments, each of which may hold several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def output_lists(operation: Any) -> Iterator[tuple[str, int]]:
    """(name, length) of the output lists of an op."""
    for output in operation.op_def.output_arg:
        if output.number_attr:
            yield output.name, int(operation.get_attr(output.number_attr))
        elif output.type_list_attr:
            yield output.name, len(operation.get_attr(output.type_list_attr))
        else:
            yield output.name, 1


def name_output(op: Any, number: int) -> tuple[str, int]:
    """(output argument, number in it) of an op's output, of which TensorFlow counts all from the first on."""
    start = 0
    for name, size in output_lists(op):
        if number < start + size:
            return name, number - start
        start += size
    return "", number
