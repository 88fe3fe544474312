"""What gradients of the user's own (`tf.custom_gradient`) hand back while a step is traced.

Only watched, never answered otherwise: the call goes on as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from introspect.capture.trace.guard import PATCHING
from introspect.capture.trace.release import CUSTOM


@dataclass(frozen=True, slots=True)
class Reply:
    """One call of such a gradient.

    Attributes:
        values: what the op yields by which TensorFlow marks the forward pass; one for each of its inputs: results, then arguments.
        given: for which of these a gradient came. For a result none ever comes: it goes to the arguments.
    """

    values: tuple[Any, ...]
    given: tuple[bool, ...]

    @property
    def is_full(self) -> bool:
        """Whether one came for each argument; unsure where there may be several results, then no."""
        return len(self.given) > 1 and all(self.given[1:])


@contextmanager
def note_replies() -> Iterator[list[Reply]]:
    """What is handed back meanwhile, by whichever thread; inside `guard.preserve` only.

    A tape keeps the function itself, the gradient of a branch, a loop or a call looks it up in TensorFlow's registry.
    Seen on TensorFlow 2.19 to 2.21; elsewhere none is noted where the registry is no such object.
    """
    from tensorflow.python.eager import record as tapes
    from tensorflow.python.framework import ops

    found: list[Reply] = []
    with PATCHING:
        record = tapes.record_operation
        kind: Any = type(getattr(ops, "gradient_registry", None))
        register = getattr(kind, "register", None)
        tapes.record_operation = watch_record(record, found)
        if register is not None:
            kind.register = watch_register(register, found)
        try:
            yield found
        finally:
            tapes.record_operation = record
            if register is not None:
                kind.register = register


def watch_record(record: Callable[..., Any], found: list[Reply]) -> Callable[..., Any]:
    def record_watched(
        op_type: Any, output_tensors: Any, input_tensors: Any, backward_function: Any, *rest: Any, **more: Any
    ) -> Any:
        value = output_tensors[0] if isinstance(output_tensors, (list, tuple)) and output_tensors else None
        if value is not None and has_own_gradient(value):
            backward_function = watch(backward_function, lambda gradients: value.op, found)
        return record(op_type, output_tensors, input_tensors, backward_function, *rest, **more)

    return record_watched


def watch_register(register: Callable[..., Any], found: list[Reply]) -> Callable[..., Any]:
    def register_watched(self: Any, candidate: Any, name: Any = None) -> Any:
        if str(name).startswith(CUSTOM) and callable(candidate):
            candidate = watch(candidate, lambda arguments: arguments[0], found)
        return register(self, candidate, name)

    return register_watched


def watch(backward: Callable[..., Any], find: Callable[[Any], Any], found: list[Reply]) -> Callable[..., Any]:
    def hand_back_and_note(*arguments: Any) -> Any:
        answers = backward(*arguments)
        several = answers if isinstance(answers, (list, tuple)) else (answers,)
        found.append(Reply(tuple(find(arguments).outputs), tuple(answer is not None for answer in several)))
        return answers

    return hand_back_and_note


def has_own_gradient(value: Any) -> bool:
    """Whether TensorFlow marks with this value, of a graph, where a function with a gradient of its own ends."""
    import tensorflow as tf

    if not isinstance(value, tf.Tensor) or tf.is_symbolic_tensor(value) is False or value.op.type != "IdentityN":
        return False
    return bool(value.op.node_def.attr["_gradient_op_type"].s.startswith(CUSTOM.encode()))
