"""What is known of a live trace beyond its graph, for as long as the trace lives: where it ran, and what measures it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from introspect.capture.measurement.placement import read_placement
from introspect.capture.record import CapturedPlacement, CapturedTrace

if TYPE_CHECKING:
    from introspect.capture.measurement.measure import Measurer


@dataclass
class Known:
    """Of one concrete function.

    Attributes:
        measurer: runs the step on copies; None until it was measured.
        placement: where its ops ran; None where that was not seen.
        executed: graphs that TensorFlow kept when the function may have run first, not yet read.
    """

    measurer: Measurer | None = None
    placement: CapturedPlacement | None = None
    executed: Sequence[Any] = field(default=(), repr=False)


KNOWN: weakref.WeakKeyDictionary[Any, Known] = weakref.WeakKeyDictionary()


def note_executed(concretes: Iterable[Any], graphs: Sequence[Any]) -> None:
    """Keep graphs for those of the concrete functions whose placement is not known; each may be among them."""
    for concrete in concretes:
        known = KNOWN.setdefault(concrete, Known())
        if known.placement is None:
            known.executed = graphs


def place_traces(pairs: Iterable[tuple[Any, CapturedTrace]]) -> Iterator[CapturedPlacement]:
    """The placement of each trace where it is known; `pairs` are (concrete function, trace)."""
    for concrete, trace in pairs:
        known = KNOWN.get(concrete)
        if known is None:
            continue
        if known.placement is None and known.executed:
            known.placement, known.executed = read_placement(known.executed, trace), ()
        if known.placement is not None:
            yield replace(known.placement, trace=trace.id)
