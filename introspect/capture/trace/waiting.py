"""What `tf.train.Checkpoint.restore` was given before it existed: values that wait, the slots of an optimizer above all.

A trace makes such slots for a twin. TensorFlow gives a waiting value to the first object that comes under its name, and
refuses it to the next, so that the user's own slots would stay zeros.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

BOOKS = (
    "object_by_proto_id",
    "matched_proto_ids",
    "all_python_objects",
    "unused_attributes",
    "slot_restorations",
    "deferred_slot_restorations",
)
"""Where a restoration notes what it has given to whom."""


@contextmanager
def keep_waiting() -> Iterator[None]:
    """Let what is made meanwhile, on this thread, have the values that wait for it, and let them wait on afterwards.

    Seen on TensorFlow 2.19 to 2.21; elsewhere such values are lost to the user's objects.
    """
    from tensorflow.python.checkpoint import restore

    position: Any = getattr(restore, "CheckpointPosition", None)
    bind: Any = getattr(position, "bind_object", None)
    if bind is None:
        yield
        return
    thread, books = threading.get_ident(), dict[int, tuple[Any, dict[str, Any]]]()

    def bind_and_note(self: Any, trackable: Any) -> Any:
        if threading.get_ident() == thread and id(self.checkpoint) not in books:
            books[id(self.checkpoint)] = self.checkpoint, read_books(self.checkpoint)
        return bind(self, trackable)

    position.bind_object = bind_and_note
    try:
        yield
    finally:
        position.bind_object = bind
        for checkpoint, kept in books.values():
            write_books(checkpoint, kept)


def read_books(checkpoint: Any) -> dict[str, Any]:
    """What a restoration has noted so far."""
    return {name: copy_book(getattr(checkpoint, name)) for name in BOOKS if hasattr(checkpoint, name)}


def copy_book(book: Any) -> Any:
    if isinstance(book, MutableMapping):
        return {key: list(value) if type(value) is list else value for key, value in book.items()}
    return list(book)


def write_books(checkpoint: Any, kept: dict[str, Any]) -> None:
    """Note the same again, in the same containers: the status that the user holds reads them too."""
    for name, items in kept.items():
        book = getattr(checkpoint, name)
        if isinstance(book, MutableMapping):
            book.clear()
            book.update(items)
            continue
        if isinstance(book, set):
            book.intersection_update(items)
            continue
        known = {id(item) for item in items}  # variables, which compare their values
        for item in [item for item in book if id(item) not in known]:
            book.discard(item)


def pass_on(old: Any, new: Any) -> None:
    """Let what waits for parts of one object wait for the parts of the same names of another. Seen on TensorFlow 2.19 to 2.21."""
    pairs, seen = [(old, new)], set[int]()
    while pairs:
        before, after = pairs.pop()
        if before is after or id(before) in seen or not hasattr(before, "_deferred_dependencies"):
            continue
        seen.add(id(before))
        for name, positions in before._deferred_dependencies.items():
            after._deferred_dependencies.setdefault(name, []).extend(positions)
        parts = list_parts(after)
        pairs.extend((part, parts[name]) for name, part in list_parts(before).items() if name in parts)


def list_parts(holder: Any) -> dict[str, Any]:
    """What TensorFlow tracks below an object, by name; nothing below a list that has lost an item, which no checkpoint takes.

    Keras 3 takes the rate out of its optimizer's list where a schedule takes its place. Seen on TensorFlow 2.19 to 2.21.
    """
    try:
        return dict(holder._trackable_children())
    except ValueError:
        return {}
