"""What gradients of the user's own (`tf.custom_gradient`) hand back while a step is traced.

Only watched, never answered otherwise: the call goes on as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.trace.guard import PATCHING
from introspect.capture.trace.release import CUSTOM, watch_registry

FILLED = frozenset({"Const", "ZerosLike", "Fill"})
"""Ops that yield one number in all places."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One call of such a gradient.

    Attributes:
        value: the first that the op yields by which TensorFlow marks the forward pass.
        full: whether a gradient that is no fixed number came for each argument; no where several results make it unsure.
    """

    value: Any
    full: bool


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
                self.found.append(Reply(find(arguments).outputs[0], answers_fully(several)))
            return answers

        return hand_back_and_note


@contextmanager
def note_replies() -> Iterator[list[Reply] | None]:
    """What is handed back meanwhile, by whichever thread; inside `guard.preserve` only. None where that cannot be seen.

    A tape keeps the function itself, the gradient of a branch, a loop or a call looks it up in TensorFlow's registry.
    Seen on TensorFlow 2.19 to 2.21.
    """
    from tensorflow.python.eager import record as tapes

    def watch_registered(name: str, gradient: Any) -> Any:
        return listener.watch(gradient, lambda arguments: arguments[0])

    listener = Listener()
    record: Any = getattr(tapes, "record_operation", None)
    with PATCHING, watch_registry(watch_registered) as watched:
        if record is None or not watched:
            yield None
            return
        tapes.record_operation = watch_record(record, listener)
        try:
            yield listener.found
        finally:
            tapes.record_operation = record
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


def answers_fully(answers: Sequence[Any]) -> bool:
    """Whether there is one for each argument. For a result there is none ever, and the first is of a result."""
    return len(answers) > 1 and all(map(is_gradient, answers[1:]))


def is_gradient(answer: Any) -> bool:
    """Whether it may be more than a fixed number in all places, 0 for one."""
    op = getattr(answer, "op", None)
    return answer is not None and getattr(op, "type", None) not in FILLED


def has_own_gradient(value: Any) -> bool:
    """Whether TensorFlow marks with this value, of a graph, where a function with a gradient of its own ends."""
    import tensorflow as tf

    if not isinstance(value, tf.Tensor) or not tf.is_symbolic_tensor(value) or value.op.type != "IdentityN":
        return False
    return bool(value.op.node_def.attr["_gradient_op_type"].s.startswith(CUSTOM.encode()))
