"""How the user's own code reaches an object: the name or the attribute by which the line that called introspect finds it."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

from introspect.capture.frames import rank_file, rank_module
from introspect.capture.trace.methods import read_bound
from introspect.capture.trace.step import is_tensorflow_function

NAMESPACES = (SimpleNamespace, Namespace)

MOST_OBJECTS = 2000
"""Objects that are looked at in one frame."""
MOST_FRAMES = 8
MOST_ITEMS = 100
"""Of a dict or list that is looked into."""


def name_in_caller(value: Any, owned: bool = False) -> str | None:
    """ "step", "self.train_step", "holder.trainer.fast", "parts['step']": nothing is run for it. None where no name leads there.

    A helper's parameter is no name of the user's loop; the helper's caller has one.

    Args:
        value: a tf.function, an optimizer.
        owned: whether an object's attribute is meant before a plain name that it has too.
    """
    plain: list[str] = []
    items: list[str] = []
    for frame in list_user_frames():
        names = list(islice(walk_names(frame), MOST_OBJECTS))
        methods = (name for held, part in names for name in name_method(held, part, value))
        found = [name for name, part in names if part is value]
        attribute = next(methods, None) or next((name for name in found if "." in name), None)
        plain += [name for name in found if "." not in name and not is_handed_on(frame, name)]
        if attribute is not None and (owned or not plain):
            return attribute
        if plain and not owned:
            return plain[0]
        own = ((name, part) for name, part in names if not is_handed_on(frame, name))
        items += [item for name, part in own for item in name_items(name, part, value)]
    return next(iter([*plain, *items]), None)


def name_items(name: str, container: Any, value: Any) -> Iterator[str]:
    """ "parts['update']", "steps[0]": the object as an item of a small dict or list."""
    if type(container) in (dict, list) and len(container) <= MOST_ITEMS:
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        yield from (f"{name}[{key!r}]" for key, item in pairs if item is value and isinstance(key, (str, int)))


def list_user_frames() -> list[Any]:
    """Frames of the user's own, the innermost first."""
    frame: Any = sys._getframe(1)
    found: list[Any] = []
    while frame is not None and len(found) < MOST_FRAMES:
        if rank_file(frame.f_code.co_filename) == 2:
            found.append(frame)
        frame = frame.f_back
    return found


def is_handed_on(frame: Any, name: str) -> bool:
    """Whether the name is an argument of the frame's function, or of one around it."""
    code = frame.f_code
    return name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] or name in code.co_freevars


def walk_names(frame: Any) -> Iterator[tuple[str, Any]]:
    """(name, object) of what the frame's names lead to: locals, globals, then attributes, and theirs."""
    level = {**frame.f_globals, **frame.f_locals}
    near = [(name, value) for name, value in reversed(level.items()) if not name.startswith("__")]
    yield from near
    seen: set[int] = set()
    for _ in range(2):
        holders = {
            id(value): (name, value) for name, value in reversed(near) if is_holder(value) and id(value) not in seen
        }
        seen |= set(holders)
        near = [
            (f"{name}.{key}", value)
            for name, holder in reversed(holders.values())
            for key, value in vars(holder).items()
            if key.isidentifier() and not key.startswith("__")
        ]
        yield from near


def is_holder(value: Any) -> bool:
    """Whether it is an object of a class of the user's, or one of Python's that holds what a user puts there."""
    own = type(value) in NAMESPACES or rank_module(str(type(value).__module__)) == 2
    return own and isinstance(getattr(value, "__dict__", None), dict)


def name_method(name: str, holder: Any, function: Any) -> Iterator[str]:
    """The attribute by which an object gives a tf.function that was made of its class' method. Seen on TensorFlow 2.19 to
    2.21: the class' function keeps those of its objects.
    """
    for kind in type(holder).__mro__ if is_holder(holder) else ():
        for key, value in vars(kind).items():
            if is_tensorflow_function(value) and read_bound(value, holder) is function:
                yield f"{name}.{key}"
