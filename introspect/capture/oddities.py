"""Attributes of layers that look like a misspelt `trainable`, layers made frozen, and layers whose own code sets flags."""

from __future__ import annotations

import difflib
import dis
from collections.abc import Hashable, Iterable, Iterator
from functools import cache
from types import CodeType
from typing import Any, cast

from introspect.capture.frames import list_owners

_KNOWN = frozenset({"trainable", "_trainable", "trainable_weights", "trainable_variables", "trainable_state"})

_BEFORE = frozenset({"__init__", "build"})
"""Methods that run before a step does."""


def sets_flags(layers: Iterable[Any]) -> bool:
    """Whether a method that a step may run, of a class of the user's own, assigns to an attribute `trainable`."""
    return any(map(_sets_flags, {cast(Hashable, type(layer)) for layer in layers}))


@cache
def _sets_flags(kind: type) -> bool:
    methods = (value for base in list_owners(kind) for name, value in vars(base).items() if name not in _BEFORE)
    codes = (getattr(method, "__code__", None) for method in methods)
    return any(
        step.opname == "STORE_ATTR" and step.argval == "trainable"
        for code in codes
        if code is not None
        for inner in _open(code)
        for step in dis.get_instructions(inner)
    )


def _open(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _open(constant)


def find_made_frozen(layers: dict[str, Any]) -> frozenset[str]:
    """Paths of the layers that were given `trainable=False` when they were made, by the arguments that Keras keeps of the call.

    Seen on Keras 3.13 to 3.15, as long as all arguments are plain; tf_keras keeps none.
    """
    kept = ((path, getattr(vars(layer).get("_auto_config"), "config", None)) for path, layer in layers.items())
    return frozenset(path for path, given in kept if isinstance(given, dict) and given.get("trainable") is False)


def find_odd_flags(layers: dict[str, Any]) -> tuple[tuple[str, str, bool], ...]:
    """(layer path, attribute, value) for each boolean attribute whose name is nearly `trainable`.

    `layers` maps paths to layers of Keras 3 or tf_keras.
    """
    names = set[str]().union(*map(vars, layers.values()))  # layers have theirs in common
    odd = {name for name in names - _KNOWN if _looks_like_flag(name)}
    if not odd:
        return ()
    flags = (
        (path, name, value) for path, layer in layers.items() for name, value in vars(layer).items() if name in odd
    )
    return tuple(flag for flag in flags if isinstance(flag[2], bool))


@cache
def _looks_like_flag(attribute: str) -> bool:
    word = attribute.strip("_").lower()
    if abs(len(word) - len("trainable")) > 2 or len(set(word) & set("trainable")) < 6:
        return False  # SequenceMatcher costs as much as reading a small graph, once for each attribute of each layer
    return word == "trainable" or difflib.SequenceMatcher(None, word, "trainable").ratio() >= 0.85
