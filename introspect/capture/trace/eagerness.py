"""What a step asks of its own form: whether it runs eagerly, whether a tensor has a value.

Python may take another way in a graph than it takes where the step runs eagerly. So such questions are noted while the
step is traced, or answered as an eager step hears them while it is followed. Only the user's own code and other installed
packages are answered so; TensorFlow and Keras need the truth.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from introspect.capture.frames import GENERATED, is_autograph, pick_frame, rank_file
from introspect.capture.trace.replaced import replaced
from introspect.records import Location

Answer = Callable[[str, Any, tuple[Any, ...]], Any]
"""(question, the true answer, arguments) -> what the user's code is told."""

BRANCHES = ("CondBranchFuncGraph", "WhileCondFuncGraph", "WhileBodyFuncGraph")
"""Graphs of what an eager step runs at once."""

_ORIGINALS: dict[str, Callable[..., Any]] = {}
_ASKED: list[Answer] = []
"""Of the trace that runs now. Of each thread, for replicas are traced in threads of their own."""


def executing_eagerly() -> Any:
    from introspect.capture.trace.eagerness import answer

    return answer("executing_eagerly")


def executing_eagerly_v1() -> Any:
    from introspect.capture.trace.eagerness import answer

    return answer("executing_eagerly_v1")


def inside_function() -> Any:
    from introspect.capture.trace.eagerness import answer

    return answer("inside_function")


def is_symbolic_tensor(tensor: Any) -> Any:
    from introspect.capture.trace.eagerness import answer

    return answer("is_symbolic_tensor", tensor)


STAND_INS = (executing_eagerly, executing_eagerly_v1, inside_function, is_symbolic_tensor)
"""Their code runs among the globals of TensorFlow's modules, so each imports what it calls."""


def answer(question: str, *args: Any) -> Any:
    """What the caller of a stand-in is told."""
    truth = _ORIGINALS[question](*args)
    if not _ASKED or not is_own(sys._getframe(2)):
        return truth
    return _ASKED[-1](question, truth, args)


def is_own(frame: Any) -> bool:
    """Whether code of the user's or of an installed package asks, also where AutoGraph has rewritten it."""
    while frame is not None and is_autograph(frame.f_code.co_filename):
        frame = frame.f_back
    file = frame.f_code.co_filename if frame is not None else ""
    return GENERATED in file or rank_file(file) > 0


def find_caller() -> Location | None:
    """The user's line that is running."""
    frames: list[tuple[str, int, str]] = []
    frame: Any = sys._getframe(1)
    while frame is not None:
        frames.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return pick_frame(frames)


@contextmanager
def questions(reply: Answer) -> Iterator[None]:
    """Let `reply` answer what is asked meanwhile. Seen on TensorFlow 2.19 to 2.21.

    The functions' code is exchanged, not the functions: code that has imported one by its name asks it too.
    """
    from tensorflow.python.eager import context
    from tensorflow.python.framework import ops

    with ExitStack() as undo:
        for stand_in in STAND_INS:
            function: Any = getattr(context, stand_in.__name__, None) or getattr(ops, stand_in.__name__)
            code = function.__code__
            _ORIGINALS[stand_in.__name__] = types.FunctionType(code, function.__globals__)
            undo.callback(setattr, function, "__code__", code)
            function.__code__ = stand_in.__code__
        _ASKED.append(reply)
        undo.callback(_ASKED.pop)
        yield


@contextmanager
def noted(model: Any) -> Iterator[list[Location | None]]:
    """Places where the step asks what it is told otherwise where it runs eagerly."""
    from tensorflow.python.framework.ops import SymbolicTensor

    asked: list[Location | None] = []

    def note(question: str, truth: Any, _: tuple[Any, ...]) -> Any:
        if truth != question.startswith("executing_eagerly"):
            asked.append(find_caller())
        return truth

    def read_numpy(tensor: Any) -> Any:
        if is_own(sys._getframe(1)):
            asked.append(find_caller())
        raise AttributeError(f"{type(tensor).__name__!r} object has no attribute 'numpy'")

    owner = next(base for base in type(model).__mro__ if "run_eagerly" in vars(base))
    setting = vars(owner)["run_eagerly"]

    def read_setting(asked_model: Any) -> Any:
        if asked_model is model and is_own(sys._getframe(1)):
            asked.append(find_caller())
        return setting.fget(asked_model)

    changes: list[tuple[type, str, property]] = [(SymbolicTensor, "numpy", property(read_numpy))]
    if isinstance(setting, property):
        changes.append((owner, "run_eagerly", property(read_setting, setting.fset)))
    with questions(note), replaced(changes):
        yield asked


def reply_eagerly(step: Any) -> Answer:
    """Answers as an eager step hears them; `step()` is the graph that stands for it."""

    def reply(question: str, truth: Any, args: tuple[Any, ...]) -> Any:
        import tensorflow as tf

        graph = args[0].graph if question == "is_symbolic_tensor" and truth else tf.compat.v1.get_default_graph()
        if not belongs(graph, step()):
            return truth
        return question.startswith("executing_eagerly")

    return reply


def belongs(graph: Any, step: Any) -> bool:
    """Whether ops of a graph run in the step itself, in its branches and loops too, not in a function that it calls."""
    while graph is not None and graph is not step and type(graph).__name__ in BRANCHES:
        graph = graph.outer_graph
    return graph is not None and graph is step
