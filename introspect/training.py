"""Where the callback stands in a `fit`, and in those around it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from introspect.capture.live.watch import Watch


@dataclass
class Training:
    """One `fit`, or a loop of the user's own.

    Attributes:
        caller: the list of callbacks by which its hooks are called; None where the user calls them.
        begun: whether `on_train_begin` was called, and not yet `on_train_end`.
        epoch: counted from 0; None before the first and in a loop of the user's own.
        ran: whether a batch has begun.
        looked: whether there was a look in this epoch.
        entered: whether there was one in this `fit`.
        flags: what the watch knew of the flags outside of the `fit`, while another runs in it.
    """

    params: dict[str, Any] | None = None
    watch: Watch | None = None
    caller: weakref.ref[Any] | None = None
    begun: bool = False
    epoch: int | None = None
    ran: bool = False
    looked: bool = False
    entered: bool = False
    flags: Mapping[Any, bool] = field(default_factory=dict)

    def is_called_by(self, caller: Any | None) -> bool:
        """Whether its hooks come from this list of callbacks; from the user where it is None."""
        return caller is (self.caller() if self.caller is not None else None)

    def goes_on(self, callers: Sequence[Any]) -> bool:
        """Whether it is still under way, where these lists of callbacks are on the stack, the one that begins now first."""
        return self.begun and any(self.is_called_by(caller) for caller in callers if caller is not callers[0])


class Trainings:
    """The `fit` that the callback is called in, and those that it was begun in."""

    def __init__(self) -> None:
        self.current = Training()
        self._outer: list[Training] = []

    @property
    def nested(self) -> bool:
        """Whether the current one runs inside of another."""
        return bool(self._outer)

    def begin(self, params: dict[str, Any] | None) -> None:
        """Another one begins; those that were left without an end are forgotten."""
        from introspect.capture.live.running import find_callers

        callers = tuple(find_callers())
        self._outer = [one for one in (*self._outer, self.current) if one.goes_on(callers)]
        for one in self._outer:
            one.flags = one.watch.entry_flags if one.watch is not None else {}
        self.current = Training(params, caller=weakref.ref(callers[0]) if callers else None, begun=True)

    def find_flags(self, watch: Watch) -> Mapping[Any, bool]:
        """What a `fit` of the same model around the current one has put aside of its flags."""
        return next((one.flags for one in reversed(self._outer) if one.watch is watch), {})

    def find(self) -> Training:
        """The one whose hook is called now: an inner one that raised has called no `on_train_end`."""
        if self._outer:
            from introspect.capture.live.running import find_callers

            caller = next(find_callers(), None)
            if any(one.is_called_by(caller) for one in self._outer):
                while not self.current.is_called_by(caller):
                    self._go_back()
        return self.current

    def end(self) -> Training | None:
        """The current one is over; the one that goes on then, if there is one."""
        if self._outer:
            self._go_back()
            return self.current
        self.current = Training()
        return None

    def _go_back(self) -> None:
        self.current = self._outer.pop()
        if self.current.watch is not None:
            self.current.watch.entry_flags = self.current.flags
