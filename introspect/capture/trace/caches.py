"""What functools.cache and functools.lru_cache remember, for a trace that must miss none of it and add nothing to it.

Such a cache of a method is keyed by the model, for which the twin stands; and what is once in it cannot be taken out. So
a stand-in takes its place while a trace runs: it answers for the twin as the cache would for the model, and keeps to
itself what it did not hold.
"""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from introspect.capture.slots import COPY_MARK

if TYPE_CHECKING:
    from introspect.capture.trace.snapshot import ObjectSnapshot

KIND = type(functools.lru_cache(lambda: None))

Entries = dict[Any, Any]


def is_cache(value: Any) -> bool:
    """Whether the object is a function with such a cache."""
    return type(value) is KIND


def read_entries(cache: Any) -> tuple[Entries, Any]:
    """(results by key, the oldest first; the mark that stands before keyword arguments in a key).

    Python shows neither; the garbage collector does. Seen on CPython 3.10 to 3.13; where it shows them otherwise, none are found.
    """
    held = gc.get_referents(cache)
    place = next((number for number, value in enumerate(held) if value is cache.__wrapped__), 0)
    table = held[place - 1] if place else None
    if not isinstance(table, dict):
        return {}, object()
    if cache.cache_parameters()["maxsize"] is None:
        return dict(table), held[place + 1]
    links = held[1 : place - 1]
    return {key: result for key, result in zip(links[::3], links[1::3], strict=False) if key in table}, held[place + 1]


def find_original(value: Any) -> Any:
    """The object that a copy of introspect's stands for; any other as it is."""
    state = getattr(value, "__dict__", None)
    return state.get(COPY_MARK, value) if isinstance(state, dict) else value


class StandIn:
    """In the place of one cache."""

    def __init__(self, cache: Any) -> None:
        settings = cache.cache_parameters()
        functools.update_wrapper(self, cache)
        self.__wrapped__: Callable[..., Any] = cache.__wrapped__
        self._cache = cache
        self._most, self._typed = settings["maxsize"], settings["typed"]
        self._entries, self._mark = read_entries(cache)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._most == 0:
            return self.__wrapped__(*args, **kwargs)
        key = self._make_key(tuple(map(find_original, args)), {name: find_original(v) for name, v in kwargs.items()})
        if key in self._entries:
            result = self._entries.pop(key)
        else:
            result = self.__wrapped__(*args, **kwargs)
            if self._most is not None and len(self._entries) >= self._most:
                del self._entries[next(iter(self._entries))]
        self._entries[key] = result
        return result

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else types.MethodType(self, owner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_cache"], name)

    def cache_clear(self) -> None:
        """Forget all, for this trace."""
        self._entries.clear()

    def _make_key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """As CPython makes it."""
        if not self._typed and not kwargs and len(args) == 1 and type(args[0]) in (int, str):
            return args[0]
        key = args
        if kwargs:
            key += (self._mark, *(part for pair in kwargs.items() for part in pair))
        if self._typed:
            key += (*map(type, args), *map(type, kwargs.values()))
        return key


@contextmanager
def stand_in(snapshot: ObjectSnapshot) -> Iterator[None]:
    """Put stand-ins wherever the objects of a snapshot hold caches, and take them away."""
    made: dict[int, StandIn] = {}

    def replace(cache: Any) -> StandIn:
        return made.setdefault(id(cache), StandIn(cache))

    with ExitStack() as undo:
        for (owner, name), member in snapshot.members.items():
            if (changed := replace_member(member, replace)) is not member:
                undo.callback(setattr, owner, name, member)
                setattr(owner, name, changed)
        for mapping, name, value in list_places(snapshot):
            if is_cache(value):
                undo.callback(mapping.__setitem__, name, value)
                mapping[name] = replace(value)
        for cell, value in snapshot.cells:
            if is_cache(value):
                undo.callback(setattr, cell, "cell_contents", value)
                cell.cell_contents = replace(value)
        yield


def list_places(snapshot: ObjectSnapshot) -> Iterator[tuple[Any, Any, Any]]:
    """(dict or list, key or index, value) of attributes, containers and globals."""
    for owner, attributes in snapshot.attributes:
        yield from ((vars(owner), name, value) for name, value in attributes.items())
    for values, items in snapshot.lists:
        yield from ((values, place, item) for place, item in enumerate(items))
    for mapping, pairs in snapshot.dicts:
        yield from ((mapping, key, value) for key, value in pairs)
    yield from snapshot.names


def list_callables(member: Any) -> tuple[Any, ...]:
    """The functions, with and without a cache, behind an attribute of a class."""
    if isinstance(member, types.FunctionType) or is_cache(member):
        return (member,)
    if isinstance(member, (staticmethod, classmethod)):
        return list_callables(member.__func__)
    if isinstance(member, property):
        return tuple(one for part in (member.fget, member.fset) for one in list_callables(part))
    return ()


def replace_member(member: Any, replace: Callable[[Any], Any]) -> Any:
    """The attribute with stand-ins in the place of caches; itself where it has none."""
    if is_cache(member):
        return replace(member)
    if isinstance(member, (staticmethod, classmethod)) and is_cache(member.__func__):
        return type(member)(replace(member.__func__))
    if isinstance(member, property) and is_cache(member.fget):
        return property(replace(member.fget), member.fset, member.fdel, member.__doc__)
    return member
