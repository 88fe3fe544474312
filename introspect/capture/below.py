"""The tf.functions of the user's that a loop's step calls, as the user's code can put others in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from introspect.capture.handles import list_attributes
from introspect.capture.naming import is_holder, list_user_frames, name_in_caller
from introspect.capture.reached import walk_named
from introspect.capture.trace.guard import FIRST_CALL
from introspect.capture.trace.innerstate import MISSING
from introspect.capture.trace.methods import list_methods, read_bound
from introspect.capture.trace.step import is_function, is_tensorflow_function
from introspect.capture.trace.traces import list_live, read_cache

AS_NEW = ("_function_cache", *FIRST_CALL)


def reach_functions(function: Any) -> tuple[tuple[str, Any], ...]:
    """(Python, tf.function) of those below a step's function that hold traces; one that no code of the caller's replaces is left out.

    An attribute can be set from anywhere; a plain name only where the function looks it up.
    """
    found: dict[str, Any] = {}
    for name, value, home in walk_named(function, set()):
        if is_function(value) and read_cache(value) and is_replaceable(name, value, home):
            found.setdefault(name, value)
        for held in list_held(value):
            reached = name_in_caller(held, owned=True) if read_cache(held) else None
            if reached is not None and "." in reached:
                found.setdefault(reached, held)
    return tuple(found.items())


def name_traces(functions: Sequence[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    """(name that TensorFlow gave a trace, Python) of the functions that hold them."""
    return tuple((concrete.name.decode(), name) for name, function in functions for concrete in list_live(function))


def list_held(holder: Any, depth: int = 1) -> Iterator[Any]:
    """tf.functions among the methods and attributes of an object of the user's, and of those that it holds."""
    if not is_holder(holder):
        return
    bound = (read_bound(function, holder) for function in list_methods(type(holder)))
    yield from (function for function in bound if function is not None)
    for _, value in list_attributes(holder):
        if is_tensorflow_function(value):
            yield value
        elif depth:
            yield from list_held(value, depth - 1)


def is_replaceable(name: str, value: Any, home: dict[str, Any] | None) -> bool:
    """Whether an assignment to the name by the caller of introspect is one that the function sees; `home`: the globals that it is in."""
    for frame in list_user_frames():
        if home is None and name in frame.f_code.co_cellvars and frame.f_locals.get(name) is value:
            return True
        if home is not None and frame.f_globals is home and frame.f_locals.get(name, value) is value:
            return True
    return False


@contextmanager
def as_new(functions: Sequence[Any]) -> Iterator[None]:
    """Let these tf.functions have no trace meanwhile; around the guard, which puts back what a first call does. Seen on TensorFlow 2.19 to 2.21."""
    states = [(one, {name: getattr(one, name, MISSING) for name in AS_NEW}) for one in functions]
    try:
        for one in functions:
            one._function_cache = type(one._function_cache)()
            for name in FIRST_CALL:
                setattr(one, name, None)
        yield
    finally:
        for one, state in states:
            for name, value in state.items():
                delattr(one, name) if value is MISSING else setattr(one, name, value)
