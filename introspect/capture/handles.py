"""How a layer is reached from the one that holds it, as Python that the user could write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from introspect.capture.layers import LayerTree

MOST_NESTED = 2
"""Lists in lists that are looked through."""


def find_handles(tree: LayerTree) -> tuple[tuple[str, str], ...]:
    """(layer path, `.attribute`, `.blocks[0]`, `.parts["a"]`) for each layer that a public attribute of its parent holds."""
    parents = {tree.paths[id(layer)]: layer for layer in tree.layers}
    held: dict[str, dict[int, str]] = {}
    found = []
    for layer in tree.layers:
        above = tree.parents[id(layer)]
        if above is None:
            continue
        if above not in held:
            held[above] = dict(list_held(parents[above]))
        if id(layer) in held[above]:
            found.append((tree.paths[id(layer)], held[above][id(layer)]))
    return tuple(found)


def list_held(parent: Any) -> Iterator[tuple[int, str]]:
    """(identity, how it is reached) of what the attributes of a layer hold; the first that is named comes last."""
    for name, value in reversed(list(vars(parent).items())):
        if name.isidentifier() and not name.startswith("_") and not hasattr(type(parent), name):
            yield from list_items(value, f".{name}", MOST_NESTED)


def list_items(value: Any, reached: str, depth: int) -> Iterator[tuple[int, str]]:
    """The value itself, or what a list, tuple or dict holds."""
    if not isinstance(value, (list, tuple, dict)):
        yield id(value), reached
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs if depth else ():
        if isinstance(key, (str, int)):
            yield from list_items(item, f"{reached}[{key!r}]", depth - 1)
