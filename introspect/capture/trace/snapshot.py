"""Python state of the objects below a model: taken before a trace, put back after it.

Tracing runs the user's `call` and `train_step` and Keras' own code; both may write attributes, lists and dicts of
objects that the real model shares (`layer._losses`, a metric that is built late, a list in a user's model). Attributes
and containers are compared by identity afterwards and only what changed is written back, past every `__setattr__`.
The user's own objects and Keras' are all walked; those of other installed packages as far as `MOST_FOREIGN` goes.
"""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from introspect.capture.frames import list_owners, rank_module
from introspect.capture.framework import list_bases
from introspect.capture.naming import NAMESPACES
from introspect.capture.trace.caches import is_cache, list_callables, read_entries
from introspect.capture.trace.innerstate import (
    MISSING,
    ArrayRoom,
    Restore,
    has_inner,
    list_slots,
    read_slots,
    restore_slots,
    save_inner,
)

ATOMS = (str, bytes, int, float, complex, bool, type(None), type, types.ModuleType, range)
KERAS = ("keras", "tf_keras")
GRAPH_CLASSES = ("KerasTensor", "Node", "SymbolicArguments", "Location")
"""Keras' record of functional calls: large, never written by a trace (lists of nodes are restored as lists)."""

MOST_FOREIGN = 4000
"""Objects and functions of installed packages that one snapshot looks into, the nearest first."""

SHARED = ("_thread", "threading", "queue", "multiprocessing", "concurrent", "asyncio", "socket")
"""Modules of what an object holds that works together with other threads; such an object is not written back to."""

PROXIES = ("_DictWrapper", "_TupleWrapper")
"""TensorFlow's tracked dict and tuple, which pass every write on to the plain one inside."""

HOLDERS = (*NAMESPACES, UserDict, UserList, ChainMap)
"""Python's own classes whose objects hold what a user puts there."""

WEAK_CONTAINERS = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)

WRAPPERS = ("ListWrapper", "List")
"""TensorFlow's tracked lists: the plain list inside is an attribute."""


@dataclass
class ObjectSnapshot:
    """Shallow copies of every attribute dict and container reachable from some roots."""

    attributes: list[tuple[Any, dict[str, Any]]] = field(default_factory=list)
    lists: list[tuple[list[Any], list[Any]]] = field(default_factory=list)
    dicts: list[tuple[dict[Any, Any], list[tuple[Any, Any]]]] = field(default_factory=list)
    sets: list[tuple[set[Any], set[Any]]] = field(default_factory=list)
    cells: list[tuple[types.CellType, Any]] = field(default_factory=list)
    classes: dict[type, dict[str, Any]] = field(default_factory=dict)
    """What the user's classes hold beside functions."""
    names: list[tuple[dict[str, Any], str, Any]] = field(default_factory=list)
    """Globals that functions of the user's name, and what they were bound to."""
    members: dict[tuple[type, str], Any] = field(default_factory=dict)
    """Functions with a cache among the attributes of the user's classes."""
    inner: list[Restore] = field(default_factory=list)
    room: ArrayRoom = field(default_factory=ArrayRoom)

    def restore(self) -> None:
        """Write back what changed since."""
        for owner, attributes in self.attributes:
            restore_dict(vars(owner), attributes)
        for values, items in self.lists:
            if len(values) != len(items) or any(a is not b for a, b in zip(values, items, strict=True)):
                list.__setitem__(values, slice(None), items)
        for mapping, pairs in self.dicts:
            restore_dict(mapping, dict(pairs))
        for members, kept in self.sets:
            if {id(member) for member in members} != {id(member) for member in kept}:
                set.clear(members)
                set.update(members, kept)
        for restore in self.inner:
            restore()
        self._restore_names()

    def _restore_names(self) -> None:
        for kind, members in self.classes.items():
            restore_members(kind, members)
        for cell, value in self.cells:
            if cell.cell_contents is not value:
                cell.cell_contents = value
        for names, name, value in self.names:
            if names.get(name, MISSING) is value:
                continue
            if value is MISSING:
                del names[name]
            else:
                names[name] = value


def restore_dict(mapping: dict[Any, Any], kept: dict[Any, Any]) -> None:
    """Make `mapping` equal to `kept`, order included, touching it only where they differ."""
    if len(mapping) == len(kept) and all(a is b and mapping[a] is kept[b] for a, b in zip(mapping, kept, strict=True)):
        return
    if isinstance(mapping, dict):
        dict.clear(mapping)
        dict.update(mapping, kept)
        return
    mapping.clear()
    mapping.update(kept)


def restore_members(kind: type, members: dict[str, Any]) -> None:
    """Make what a class holds beside functions what it was."""
    now = list_members(kind)
    for name in now.keys() - members.keys():
        type.__delattr__(kind, name)
    for name, value in members.items():
        if now.get(name, MISSING) is not value:
            type.__setattr__(kind, name, value)


def take_snapshot(roots: Iterable[Any]) -> ObjectSnapshot:
    """Snapshot all that is reachable from `roots` through attributes, containers and closures."""
    snapshot = ObjectSnapshot()
    seen: set[int] = set()
    stack, foreign, left = list(roots), deque[Any](), MOST_FOREIGN
    while stack or (foreign and left):
        if stack:
            value = open_proxy(stack.pop())
            if isinstance(value, ATOMS) or id(value) in seen:
                continue
            seen.add(id(value))
            if is_foreign(value):
                foreign.append(value)
                continue
        else:
            value, left = foreign.popleft(), left - 1
        stack.extend(record(value, snapshot))
    return snapshot


def open_proxy(value: Any) -> Any:
    """What a weak proxy stands for, None where that is gone; any other object itself."""
    if type(value) not in weakref.ProxyTypes:
        return value
    try:
        return getattr(value.__repr__, "__self__", None)
    except ReferenceError:
        return None


def record(value: Any, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """Enter one object into the snapshot; yields what hangs below it."""
    if type(value).__name__ in PROXIES:
        yield value.__wrapped__
        if has_attributes(value):  # what a checkpoint compares the dict with; vars() of a tuple's proxy fails
            snapshot.attributes.append((value, dict(vars(value))))
            yield from vars(value).values()
        return
    if isinstance(value, types.FunctionType):
        yield from record_closure(value, snapshot)
        yield from record_globals(value, snapshot)
        yield from record_function(value, snapshot)
        return
    if is_cache(value):
        yield value.__wrapped__
        yield from read_entries(value)[0].values()
        return
    yield from record_items(value, snapshot)
    yield from record_attributes(value, snapshot)


def record_items(value: Any, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a container holds; of what holds an object without attributes, that object."""
    kind: Any = type(value)
    if has_inner(kind) and (restore := save_inner(value, snapshot.room)) is not None:
        snapshot.inner.append(restore)
    if isinstance(value, (list, deque)):
        if isinstance(value, list):
            snapshot.lists.append((value, list(value)))
        yield from value
    elif isinstance(value, dict):
        pairs = list(value.items())
        snapshot.dicts.append((value, pairs))
        yield from (item for pair in pairs for item in pair)
    elif isinstance(value, (set, frozenset)):
        if isinstance(value, set):
            snapshot.sets.append((value, set(value)))
        yield from list(value)
    elif isinstance(value, tuple):
        yield from value
    elif isinstance(value, np.ndarray):
        yield from value.flat if value.dtype == object else ()
    else:
        yield from record_held(value, snapshot)


def record_held(value: Any, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a method is bound to, what a partial calls and gives, what a weak reference leads to."""
    if isinstance(value, types.MethodType):
        yield from record_named(value.__self__, snapshot)
        yield value.__func__
    elif isinstance(value, types.BuiltinFunctionType):  # `self.seen.append`
        yield value.__self__
    elif isinstance(value, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif isinstance(value, types.MappingProxyType):
        yield from list(value.values())
    elif isinstance(value, weakref.ref):  # TensorFlow binds a method that is a tf.function so to its object
        yield value()


def record_closure(function: types.FunctionType, snapshot: ObjectSnapshot) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        snapshot.cells.append((cell, content))
        yield from record_named(content, snapshot)


def record_globals(function: types.FunctionType, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a function of the user's reads or writes in its module: a loop's optimizer, a teacher model, a counter."""
    if not rank_module(function.__module__ or ""):
        return
    codes, names = [function.__code__], function.__globals__
    while codes:
        code = codes.pop()
        codes.extend(constant for constant in code.co_consts if isinstance(constant, types.CodeType))
        for name in code.co_names:
            snapshot.names.append((names, name, names.get(name, MISSING)))
            if name in names:
                yield from record_named(names[name], snapshot)
                yield from record_module(names[name], code, snapshot)


def record_function(function: types.FunctionType, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a function of the user's holds itself: attributes, and defaults that it may write to."""
    if rank_module(function.__module__ or ""):
        snapshot.dicts.append((function.__dict__, list(function.__dict__.items())))
        yield from function.__dict__.values()
        yield from function.__defaults__ or ()
        yield from (function.__kwdefaults__ or {}).values()


def record_named(value: Any, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a function of the user's has a name for; of a class also what it holds."""
    yield value
    if isinstance(value, type):
        yield from record_class(value, snapshot)


def record_class(kind: Any, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a class of the user's, and those that it is made of, hold beside functions: a counter, a register."""
    for owner in list_owners(kind):
        if owner not in snapshot.classes:
            members = snapshot.classes[owner] = list_members(owner)
            yield from members.values()


def list_members(kind: type) -> dict[str, Any]:
    """A class's own attributes, but for Python's, its functions and properties, and classes in it."""
    own = ((name, value) for name, value in vars(kind).items() if not name.startswith("__") and name != "_abc_impl")
    return {name: value for name, value in own if not isinstance(value, type) and not hasattr(type(value), "__get__")}


def record_module(value: Any, code: types.CodeType, snapshot: ObjectSnapshot) -> Iterator[Any]:
    """What a function names of another module of the user's."""
    if isinstance(value, types.ModuleType) and rank_module(value.__name__):
        members = vars(value)
        for name in code.co_names:
            if name in members:
                snapshot.names.append((members, name, members[name]))
                yield from record_named(members[name], snapshot)


def record_attributes(value: Any, snapshot: ObjectSnapshot) -> Iterator[Any]:
    if isinstance(value, WEAK_CONTAINERS):
        yield vars(value)["data"]
        return
    if type(value).__name__ == "ObjectIdentityDictionary":
        yield value._storage
        return
    kind: Any = type(value)
    if not has_state(value):
        return
    attributes = dict(vars(value)) if has_attributes(value) else None
    fixed = read_slots(value)
    held = (*(attributes or {}).values(), *fixed.values())
    if is_foreign(value) and any(map(is_shared, held)):
        return
    if attributes is not None:
        snapshot.attributes.append((value, attributes))
    if fixed:
        snapshot.inner.append(functools.partial(restore_slots, value, fixed))
    yield from held
    yield from record_class(kind, snapshot)
    for owner in list_owners(kind):
        for name, member in vars(owner).items():
            functions = list_callables(member)
            if any(map(is_cache, functions)):
                snapshot.members[owner, name] = member
            yield from functions


def has_state(value: Any) -> bool:
    """Whether the object's own attributes are restored: all but those of TensorFlow, numpy and Python's own classes."""
    kind: Any = type(value)
    if rank_kind(kind) == 0:
        return isinstance(value, threading.local)
    return bool(list_slots(kind)) or has_attributes(value)


def has_attributes(value: Any) -> bool:
    """Whether the object has a dict of attributes; a proxy may raise anything when it is asked."""
    try:
        return isinstance(vars(value), dict)
    except Exception:
        return False


def is_foreign(value: Any) -> bool:
    """Whether a function, or an object that is no Keras one, comes from another installed package."""
    if isinstance(value, types.FunctionType):
        return rank_module(value.__module__ or "") == 1
    kind: Any = type(value)
    return rank_kind(kind) == 1


@functools.cache
def rank_kind(kind: Any) -> int:
    """2 for a class of the user's or of Keras', 1 for another installed package's, 0 for one whose objects stay as they are."""
    if kind.__name__ in GRAPH_CLASSES:
        return 0
    if kind in HOLDERS or kind.__name__ in WRAPPERS or any(package in KERAS for package, _ in list_bases(kind)):
        return 2
    return rank_module(str(kind.__module__))


def is_shared(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in SHARED
