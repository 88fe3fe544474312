"""Who sets `trainable` flags, where and when, and when steps are compiled and traced: recorded while somebody asks for it.

What is patched, and put back exactly: `Layer.__setattr__` of Keras 3 and tf_keras (a property's setter is never reached
where Keras 3 takes an assignment for a no-op), the `trainable` property of Keras 3's variable, `compile` of both, and
`FunctionCache.add` of TensorFlow. Seen on Keras 3.13 to 3.15, tf_keras 2.19 to 2.21, TensorFlow 2.19 to 2.21.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

from introspect.capture.frames import pick_frame, rank_file
from introspect.capture.framework import import_keras
from introspect.capture.record import FlagWrite
from introspect.capture.slots import COPY_MARK
from introspect.capture.trace.guard import PATCHING
from introspect.errors import VersionError
from introspect.records import Location

MOST = 100_000
"""Events that are kept; older ones are forgotten."""

SETTERS = frozenset({"enable_lora"})
"""Functions of Keras that set flags on the user's behalf; whatever else sets them within Keras only carries a write on."""

Kind = Literal["trainable", "compile", "trace"]


@dataclass(frozen=True, slots=True)
class Event:
    """One write, compile or trace; `target` is the layer, variable, model or concrete function."""

    kind: Kind
    target: weakref.ref[Any]
    value: bool | None
    effective: bool
    order: int
    location: Location | None


@dataclass(frozen=True, slots=True)
class Patch:
    """One class attribute that was replaced."""

    owner: type
    name: str
    original: Any
    replacement: Any


_events: deque[Event] = deque(maxlen=MOST)
_apart: list[list[Event]] = []
"""Where events go meanwhile; the last one counts."""
_orders = itertools.count()
_patches: list[Patch] = []
_listeners = 0
_written = threading.local()
"""`.layers`: layers whose own flag was written since the assignment began, on this thread."""


def start_recording() -> None:
    """Begin to record, for all threads; may be nested.

    Raises:
        VersionError: what is to be patched is not where it was seen.
    """
    global _listeners
    with PATCHING:
        if not _listeners:
            forget_dead()
            install()
        _listeners += 1


def stop_recording() -> None:
    """End what `start_recording` began; the record stays."""
    global _listeners
    with PATCHING:
        _listeners -= 1
        if not _listeners:
            uninstall()


@contextmanager
def record_apart() -> Iterator[list[Event]]:
    """Record what a trace of introspect's own sets, beside the user's record; nothing where nothing can be patched."""
    found: list[Event] = []
    try:
        start_recording()
    except VersionError:
        yield found
        return
    _apart.append(found)
    try:
        yield found
    finally:
        _apart.pop()
        stop_recording()


def forget_dead() -> None:
    alive = [event for event in _events if event.target() is not None]
    _events.clear()
    _events.extend(alive)


def install() -> None:
    modules = [module for name in ("keras", "tf_keras") if (module := sys.modules.get(name)) is not None]
    if not modules:
        modules = [import_keras()]
    try:
        patches = [patch for module in modules for patch in make_patches(module)]
        patches.append(make_trace_patch())
    except (ImportError, KeyError, StopIteration, AttributeError) as error:
        raise VersionError(f"cannot record flags ({error!r}); tried on Keras 3.13 to 3.15 and tf_keras 2.21") from None
    for patch in patches:
        setattr(patch.owner, patch.name, patch.replacement)
    _patches.extend(patches)


def uninstall() -> None:
    """Put the originals back; where another patch was laid over one of these it stays, and records nothing more."""
    while _patches:
        patch = _patches.pop()
        if vars(patch.owner).get(patch.name) is patch.replacement:
            setattr(patch.owner, patch.name, patch.original)


def make_patches(module: Any) -> Iterator[Patch]:
    yield make_patch(find_owner(module.layers.Layer, "__setattr__"), "__setattr__", watch_layer)
    yield make_patch(find_owner(module.Model, "compile"), "compile", watch_compile)
    if module.__name__ == "keras":
        yield make_patch(find_owner(module.Variable, "trainable"), "trainable", watch_variable)


def make_trace_patch() -> Patch:
    from tensorflow.core.function.polymorphism.function_cache import FunctionCache

    return make_patch(FunctionCache, "add", watch_traces)


def make_patch(owner: type, name: str, watch: Callable[[Any], Any]) -> Patch:
    original = vars(owner)[name]
    return Patch(owner, name, original, watch(original))


def find_owner(kind: type, name: str) -> type:
    """The class that defines an attribute."""
    return next(base for base in kind.__mro__ if name in vars(base))


def watch_layer(original: Any) -> Any:
    @functools.wraps(original)
    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if name == "_trainable":
            written: set[int] | None = getattr(_written, "layers", None)
            if written is not None:
                written.add(id(self))
        writer = find_writer(sys._getframe(1)) if name == "trainable" and _listeners else None
        if writer is None:
            original(self, name, value)
            return
        before, around, mine = getattr(self, name, None), getattr(_written, "layers", None), set[int]()
        _written.layers = mine
        try:
            original(self, name, value)
        finally:
            _written.layers = around
        # Keras 3 takes the assignment of the very value that the flag has for none at all.
        record("trainable", self, writer, bool(value), before is not value or id(self) in mine)

    return __setattr__


def watch_variable(original: property) -> property:
    def set_trainable(self: Any, value: Any) -> None:
        before = original.__get__(self)
        original.__set__(self, value)
        writer = find_writer(sys._getframe(1)) if _listeners else None
        if writer is not None:
            record("trainable", self, writer, bool(value), before != bool(value))

    return property(original.fget, set_trainable, original.fdel, original.__doc__)


def watch_compile(original: Any) -> Any:
    @functools.wraps(original)
    def compile(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if _listeners and COPY_MARK not in vars(self):
            record("compile", self, sys._getframe(1))
        return result

    return compile


def watch_traces(original: Any) -> Any:
    @functools.wraps(original)
    def add(self: Any, function: Any, *context: Any, **named: Any) -> Any:
        result = original(self, function, *context, **named)
        if _listeners:
            record("trace", function, sys._getframe(1))
        return result

    return add


def find_writer(frame: FrameType | None) -> FrameType | None:
    """Who wrote an assignment: the user, or Keras for one; None where Keras only carries a write on to sublayers."""
    while frame is not None and frame.f_code.co_name == "__setattr__":
        frame = frame.f_back
    if frame is None:
        return None
    meant = rank_file(frame.f_code.co_filename) > 0 or frame.f_code.co_name in SETTERS
    return frame if meant else None


def record(kind: Kind, target: Any, frame: FrameType, value: bool | None = None, effective: bool = True) -> None:
    try:
        reference = weakref.ref(target)
    except TypeError:
        return
    (_apart[-1] if _apart else _events).append(Event(kind, reference, value, effective, next(_orders), locate(frame)))


def locate(frame: FrameType | None) -> Location | None:
    """The user's innermost frame; a user's own `compile` hands the place on to its caller."""

    def walk() -> Iterator[tuple[str, int, str]]:
        here = frame
        while here is not None:
            if here.f_code.co_name != "compile":
                yield here.f_code.co_filename, here.f_lineno, here.f_code.co_name
            here = here.f_back

    return pick_frame(walk())


def recorded_writes(
    model: Any, layers: Mapping[int, str], variables: Mapping[int, str], traces: Mapping[int, str]
) -> tuple[FlagWrite, ...]:
    """What was recorded of one model, in order: writes to its flags, its compiles, and the traces of its step.

    Args:
        layers, variables, traces: path or id of each by the identity of the object.
    """
    return name_events(tuple(_events), model, layers, variables, traces)


def name_events(
    events: Iterable[Event],
    model: Any,
    layers: Mapping[int, str],
    variables: Mapping[int, str],
    traces: Mapping[int, str],
) -> tuple[FlagWrite, ...]:
    """The same of these events."""
    return tuple(write for event in events if (write := name_event(event, model, layers, variables, traces)))


def name_event(
    event: Event, model: Any, layers: Mapping[int, str], variables: Mapping[int, str], traces: Mapping[int, str]
) -> FlagWrite | None:
    written = event.target()
    if written is None:
        return None
    target = vars(written).get(COPY_MARK, written) if hasattr(written, "__dict__") else written
    if event.kind == "compile":
        name = "" if target is model else None
    elif event.kind == "trace":
        name = traces.get(id(target))
    else:
        name = layers.get(id(target), layers.get(id(written), variables.get(id(target))))
    if name is None:
        return None
    return FlagWrite(event.kind, name, event.value, event.order, event.location, event.effective)
