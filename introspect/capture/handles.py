"""How a layer is reached from the one that holds it, as Python that the user could write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from introspect.capture.frames import rank_module
from introspect.capture.framework import PLAIN
from introspect.capture.layers import LayerTree
from introspect.capture.slots import COPY_MARK

BOOKS = frozenset({"_layers", "_operations", "_nodes", "_metrics", "_tracker", "_functional", "_inbound_nodes"})
MOST_NESTED = 2
"""Lists in lists that are looked through."""


def find_handles(tree: LayerTree) -> tuple[tuple[str, str], ...]:
    """(layer path, `.attribute`, `.blocks[0]`, `.parts["a"]`) for each layer that an attribute of its parent holds."""
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
    """(identity, how it is reached) of what the attributes of a layer hold; the best comes last.

    Public attributes are best, the first that is named before others; then the properties that Keras gives its own
    (`mha.value_dense`), then private attributes.
    """
    kind = type(parent)
    named = [(name, value) for name, value in reversed(list_attributes(parent)) if not hasattr(kind, name)]
    private = [(name, value) for name, value in named if name.startswith("_")]
    for name, value in private:
        yield from ((id(item), code) for code, item in open_items(value, f".{name}"))
    for name, value in ((name.lstrip("_"), value) for name, value in private):
        if hasattr(value, "trainable") and is_given(kind, name) and getattr(parent, name) is value:
            yield id(value), f".{name}"
    for name, value in named:
        if not name.startswith("_"):
            yield from ((id(item), code) for code, item in open_items(value, f".{name}"))


def is_book(name: str) -> bool:
    """Whether Keras or TensorFlow keeps its own lists there. Seen on Keras 3.13 to 3.15, tf_keras 2.19 to 2.21."""
    return name in BOOKS or name.startswith("_self_")


def is_given(kind: type, name: str) -> bool:
    """Whether a class of Keras' own has such a property; one of the user's is not read, for it may do anything."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    return owner is not None and not rank_module(owner.__module__) and isinstance(vars(owner)[name], property)


def open_items(value: Any, reached: str, depth: int = MOST_NESTED) -> Iterator[tuple[str, Any]]:
    """A value, or what stands in a list, tuple or dict, each with the Python that reaches it."""
    if issubclass(type(value), PLAIN) or not isinstance(value, (list, tuple, dict)):
        yield reached, value
        return
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in pairs if depth else ():
        if isinstance(key, (str, int)):
            yield from open_items(item, f"{reached}[{key!r}]", depth - 1)


def list_attributes(holder: Any) -> list[tuple[str, Any]]:
    """(name, value) of what an object's own attributes hold, plain values, Keras' own lists and copies' originals left out."""
    held = [(name, value) for name, value in vars(holder).items() if not issubclass(type(value), PLAIN)]
    return [(n, value) for n, value in held if n.isidentifier() and not is_book(n) and n != COPY_MARK]


def name_optimizers(roots: Iterable[tuple[str, Any]], optimizers: Sequence[Any]) -> dict[int, str]:
    """How each of these is reached from (name, object) of the roots, by identity: "optimizer", "parts[0]", "optimizer.inner"."""
    by_id = {id(optimizer): optimizer for optimizer in optimizers}
    names: dict[int, str] = {}
    queue = put_public_first(roots)
    for reached, value in queue:
        for name, part in open_items(value, reached):
            if id(part) in by_id and id(part) not in names:
                names[id(part)] = name
                if len(names) == len(by_id):
                    return names
                queue += [(f"{name}.{inner}", held) for inner, held in put_public_first(list_public(part))]
    return names


def list_public(optimizer: Any) -> list[tuple[str, Any]]:
    """(name, value) of an optimizer's attributes; what tf_keras' LossScaleOptimizer wraps by its property. Seen on 2.19 to 2.21."""
    wraps = isinstance(getattr(type(optimizer), "inner_optimizer", None), property)
    named = {"_optimizer": "inner_optimizer"} if wraps else {}
    return [(named.get(name, name), value) for name, value in list_attributes(optimizer)]


def put_public_first(attributes: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Private names last, each kind in its order."""
    return sorted(attributes, key=lambda one: one[0].startswith("_"))
