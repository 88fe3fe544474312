"""How a loop's Python function leads to its optimizers: by what it closes over, its globals, the object it is a method of."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any

from introspect.capture.frames import rank_module
from introspect.capture.framework import PLAIN, name_keras
from introspect.capture.handles import list_attributes
from introspect.capture.naming import is_holder, name_in_caller
from introspect.capture.slots import open_optimizer
from introspect.capture.trace.ownfit import open_code, open_function
from introspect.capture.trace.step import is_tensorflow_function, read_cells


def reach_optimizers(function: Any) -> tuple[tuple[str, Any], ...]:
    """(Python, value) of what holds optimizers: "optimizer", "self.optimizers", "trainer.optimizer"; nothing is run for it."""
    found: dict[str, Any] = {}
    for name, value, _ in walk_named(function, set()):
        if open_optimizer(value):
            found.setdefault(name, value)
        elif is_holder(value) or name_keras(value) != "none":
            held = [(key, part) for key, part in list_attributes(value) if open_optimizer(part)]
            reached = (name or name_in_caller(value) or "self") if held else name
            found.update((f"{reached}.{key}", part) for key, part in held if f"{reached}.{key}" not in found)
    return tuple(found.items())


def open_reached(reached: Iterable[tuple[str, Any]]) -> list[Any]:
    """The optimizers in what `reach_optimizers` gives, with those that they hold; each once."""
    parts = (part for _, value in reached for part in open_optimizer(value))
    return list({id(part): part for part in parts}.values())


def walk_named(
    function: Any, seen: set[Any], caller: Any | None = None
) -> Iterator[tuple[str, Any, dict[str, Any] | None]]:
    """(name, value, globals that hold it) of what a function and those of the user's that it calls have names for.

    An owner comes without a name, what a closure holds without globals. `caller` is the object whose class' function it is.
    """
    owner, plain = find_owner(function)
    if owner is not None:
        yield "", owner, None
    owner = caller if owner is None else owner
    if not isinstance(plain, FunctionType) or plain in seen or rank_module(plain.__module__ or "") != 2:
        return
    seen.add(plain)
    names = {name for code in open_code(plain.__code__) for name in code.co_names}
    named = {name: plain.__globals__[name] for name in sorted(names & plain.__globals__.keys())}
    cells = read_cells(plain)
    yield from ((name, value, plain.__globals__) for name, value in named.items() if name not in cells)
    yield from ((name, value, None) for name, value in cells.items())
    for value in {**named, **cells}.values():
        called = open_called(value)
        if called is not None:
            yield from walk_named(called, seen)
    for method in list_called(owner, names):
        yield from walk_named(method, seen, owner)


def list_called(owner: Any | None, names: Iterable[str]) -> Iterator[FunctionType]:
    """The functions by which methods of these names are called on an object, as its class has them."""
    for name in sorted(names) if owner is not None else ():
        called = open_called(inspect.getattr_static(type(owner), name, None))
        if called is not None:
            yield called


def open_called(value: Any) -> FunctionType | None:
    """The Python function of what a function of the user's may call. Other objects are asked nothing: it might run code."""
    if is_tensorflow_function(value):
        value = value.python_function
    return None if issubclass(type(value), PLAIN) else open_function(value)


def find_owner(function: Any) -> tuple[Any | None, Any]:
    """The object that a method is bound to, or that is called itself, and the function of its class; else None and itself.

    TensorFlow binds a method that is a tf.function by a closure around a weak reference. Seen on TensorFlow 2.19 to 2.21.
    """
    while isinstance(function, functools.partial):
        function = function.func
    bound = read_cells(function).get("weak_instance")
    if isinstance(bound, weakref.ref) and hasattr(function, "__wrapped__"):
        plain = inspect.unwrap(function)
        return bound(), getattr(plain, "__func__", plain)
    if is_holder(function):
        called = type(function).__call__
        return function, getattr(called, "python_function", called)
    return getattr(function, "__self__", None), getattr(function, "__func__", function)
