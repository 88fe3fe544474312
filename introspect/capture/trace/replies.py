"""What gradients of the user's own (`tf.custom_gradient`) hand back while a step is traced.

Only watched, never answered otherwise: the call goes on as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.trace.guard import PATCHING
from introspect.capture.trace.release import CUSTOM

FILLED = frozenset({"Const", "ZerosLike", "Fill"})
"""Ops that yield one number in all places."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One call of such a gradient.

    Attributes:
        values: what the op yields by which TensorFlow marks the forward pass; one for each of its inputs: results, then arguments.
        given: for which of these a gradient came that is no fixed number. For a result none ever comes: it goes to the arguments.
    """

    values: tuple[Any, ...]
    given: tuple[bool, ...]

    @property
    def is_full(self) -> bool:
        """Whether one came for each argument; unsure where there may be several results, then no."""
        return len(self.given) > 1 and all(self.given[1:])


@dataclass(slots=True)
class Listener:
    """Notes replies until it is told to stop; what TensorFlow keeps of it then holds no tensors."""

    found: list[Reply] | None = field(default_factory=list)

    def watch(self, backward: Callable[..., Any], find: Callable[[Any], Any]) -> Callable[..., Any]:
        """The same gradient; `find` gives the op that it is of, from its arguments."""

        def hand_back_and_note(*arguments: Any) -> Any:
            answers = backward(*arguments)
            if self.found is not None:
                several = answers if isinstance(answers, (list, tuple)) else (answers,)
                given = tuple(map(is_gradient, several))
                self.found.append(Reply(tuple(find(arguments).outputs), given))
            return answers

        return hand_back_and_note


@contextmanager
def note_replies() -> Iterator[list[Reply] | None]:
    """What is handed back meanwhile, by whichever thread; inside `guard.preserve` only. None where that cannot be seen.

    A tape keeps the function itself, the gradient of a branch, a loop or a call looks it up in TensorFlow's registry.
    Seen on TensorFlow 2.19 to 2.21.
    """
    from tensorflow.python.eager import record as tapes
    from tensorflow.python.framework import ops

    listener = Listener()
    with PATCHING:
        record: Any = getattr(tapes, "record_operation", None)
        kind: Any = type(getattr(ops, "gradient_registry", None))
        register = getattr(kind, "register", None)
        if record is None or register is None:
            yield None
            return
        tapes.record_operation, kind.register = watch_record(record, listener), watch_register(register, listener)
        try:
            yield listener.found
        finally:
            tapes.record_operation, kind.register = record, register
            listener.found = None


def watch_record(record: Callable[..., Any], listener: Listener) -> Callable[..., Any]:
    def record_watched(
        op_type: Any, output_tensors: Any, input_tensors: Any, backward_function: Any, *rest: Any, **more: Any
    ) -> Any:
        value = output_tensors[0] if isinstance(output_tensors, (list, tuple)) and output_tensors else None
        if value is not None and has_own_gradient(value):
            backward_function = listener.watch(backward_function, lambda gradients: value.op)
        return record(op_type, output_tensors, input_tensors, backward_function, *rest, **more)

    return record_watched


def watch_register(register: Callable[..., Any], listener: Listener) -> Callable[..., Any]:
    def register_watched(self: Any, candidate: Any, name: Any = None) -> Any:
        if str(name).startswith(CUSTOM) and callable(candidate):
            candidate = listener.watch(candidate, lambda arguments: arguments[0])
        return register(self, candidate, name)

    return register_watched


def is_gradient(answer: Any) -> bool:
    """Whether it may be more than a fixed number in all places, 0 for one."""
    op = getattr(answer, "op", None)
    return answer is not None and getattr(op, "type", None) not in FILLED


def has_own_gradient(value: Any) -> bool:
    """Whether TensorFlow marks with this value, of a graph, where a function with a gradient of its own ends."""
    import tensorflow as tf

    if not isinstance(value, tf.Tensor) or tf.is_symbolic_tensor(value) is False or value.op.type != "IdentityN":
        return False
    return bool(value.op.node_def.attr["_gradient_op_type"].s.startswith(CUSTOM.encode()))
