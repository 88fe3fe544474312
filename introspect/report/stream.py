"""One run directory's event file in this process: shared by its writers, followed by TensorBoard."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

from introspect.report import events
from introspect.report.events import EventFile, EventFiles

_LOOK_AGAIN_SECONDS = 10.0


class Stream:
    """The one event file that a process writes in a directory: TensorBoard's Python reader follows only the newest."""

    _shared: ClassVar[weakref.WeakValueDictionary[str, Stream]] = weakref.WeakValueDictionary()
    _sharing: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, files: EventFiles, directory: str) -> None:
        self.files = files
        self.directory = directory
        self.process = os.getpid()
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        self.lock = threading.Lock()
        self.file: EventFile | None = None
        self.name = ""
        self.serial = 0
        self.looked = 0.0
        self.base = -1
        self.last: dict[str, int] = {}

    @classmethod
    def share(cls, files: EventFiles, directory: str) -> Stream:
        """This process' stream of the directory."""
        key = f"{os.getpid()}:{directory}"
        with cls._sharing:
            stream = cls._shared.get(key)
            if stream is None:
                stream = cls._shared[key] = cls(files, directory)
            return stream

    def append(self, series: str, place: Callable[[int], int], values: list[Any], look: bool) -> tuple[int, int]:
        """Append one event; where it stands, and its size in bytes.

        After a failure the file may end in half a record, which readers never pass: the next event begins another file.
        """
        with self.lock:
            file = self._follow(look)
            last = max(self.base, *self.last.values()) if self.last else self.base
            at = max(place(last), self.last.get(series, self.base) + 1)
            record = events.make_event(at, values)
            self.last[series] = at
            try:
                file.write(record)
                file.flush()
            except BaseException:
                self._abandon(file)
                raise
            return at, len(record)

    def _abandon(self, file: EventFile) -> None:
        self.file = None
        with contextlib.suppress(OSError):
            file.close()

    def release(self, user: object) -> None:
        """Close the file when its last user goes."""
        with self.lock:
            self.users.discard(user)
            if not self.users and self.file is not None:
                self.file.close()
                self.file = None

    def _follow(self, look: bool) -> EventFile:
        """The open file; a new one where another process wrote a newer one, or someone removed ours."""
        if self.file is not None and not look and time.monotonic() - self.looked < _LOOK_AGAIN_SECONDS:
            return self.file
        names = events.list_event_files(self.files, self.directory)
        self.looked = time.monotonic()
        if self.file is not None and names and names[-1] == self.name:
            return self.file
        return self._roll(names)

    def _roll(self, names: list[str]) -> EventFile:
        if self.file is not None:
            self._abandon(self.file)
        self.base = max(events.read_last_step(self.files, self.directory), self.base, *self.last.values(), -1)
        self.last = {}
        self.name = events.name_event_file(names, self.serial)
        self.serial += 1
        file = self.files.create(self.directory, self.name)
        try:
            file.write(events.make_first_event())
        except BaseException:
            self._abandon(file)
            raise
        self.file = file
        return file
