"""What the record of flag writes tells about a stale step."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace

from introspect.capture.record import Capture, FlagWrite
from introspect.expectation import LayerTree
from introspect.records import EvidenceStep

MOST_NAMES = 2
MOST_PLACES = 4
BEFORE = -1
"""The order of what happened before the recording began."""


@dataclass(frozen=True, slots=True)
class FlagHistory:
    """The writes that the step missed, and what made the step before them."""

    writes: tuple[FlagWrite, ...]
    """The last effective one of each target, in order; at least one."""
    compiled: FlagWrite | None
    traced: FlagWrite | None
    held: bool = True
    """Whether the step holds the flags of before; one that introspect traced itself does not."""

    def tell(self) -> str:
        """ "base.trainable was set to True at finetune.py:41, after the step was compiled at finetune.py:30; …"."""
        text = f"{_name_targets(self.writes)} set to {self.writes[-1].value}{_name_places(self.writes)}"
        made = [
            f"{word}{_name_places([event])}"
            for word, event in (("compiled", self.compiled), ("traced", self.traced))
            if event is not None
        ]
        if made:
            text += f", after the step was {' and '.join(made)}"
        return text + ("; the step holds the flags of before." if self.held else ".")

    def list_steps(self) -> tuple[EvidenceStep, ...]:
        """Each place as evidence."""
        steps = [
            EvidenceStep(f"the step was {word} here", location=event.location, trace=event.target or None)
            for word, event in (("compiled", self.compiled), ("traced", self.traced))
            if event is not None and event.location is not None
        ]
        steps += [
            EvidenceStep(f"{write.target}.trainable was set to {write.value} here", location=write.location)
            for write in self.writes[-MOST_NAMES:]
            if write.location is not None
        ]
        return tuple(steps)


def find_history(capture: Capture, tree: LayerTree, indices: Sequence[int], frozen: bool) -> FlagHistory | None:
    """What `trace_flags` recorded of variables whose flags say `frozen` now, and of their layers; None for nothing.

    Writes before the current trace was made explain nothing: the trace has seen them. tf_keras goes by the flags of
    `compile`, whenever it traces.
    """
    traced = _find_trace(capture)
    compiles = [w for w in capture.flag_writes if w.kind == "compile"]
    made = compiles[-1:] if capture.model.keras == "tf_keras" else [traced] if traced else []
    since = made[0].order if made else -1
    targets = _list_targets(capture, tree, indices)
    last: dict[str, FlagWrite] = {}
    for write in capture.flag_writes:
        missed = write.kind == "trainable" and write.effective and write.order > since
        if missed and write.value != frozen and write.target in targets:
            last.pop(write.target, None)
            last[write.target] = write
    if not last:
        return None
    first = min(write.order for write in last.values())
    compiled = next((w for w in reversed(compiles) if w.order < first), None)
    held = capture.source == "compiled" or capture.model.keras == "tf_keras"
    writes = tuple(replace(write, target=_shorten(tree, write.target)) for write in last.values())
    return FlagHistory(writes, compiled, traced if traced and traced.order < first else None, held)


def find_step_flags(capture: Capture, tree: LayerTree, indices: Sequence[int], frozen: bool) -> tuple[FlagWrite, ...]:
    """What the step itself sets of the flags that rule these variables, where that decides and not what they say between.

    It does where it sets another value than they have: `frozen` says which. What is left as it was is not told.
    """
    targets, now, found = _list_targets(capture, tree, indices), dict[str, bool | None](), dict[object, FlagWrite]()
    for write in capture.step_flags:
        if write.kind == "trainable" and write.target in targets and now.get(write.target, not frozen) != write.value:
            now[write.target] = write.value
            found.setdefault((write.target, write.value, write.location), write)
    return tuple(replace(write, target=_shorten(tree, write.target)) for write in found.values())


def tell_step_flags(writes: Sequence[FlagWrite]) -> str:
    """ "discriminator.trainable at gan.py:30 (True) and gan.py:32 (False)"."""
    told = [f"{_name_places([write]).removeprefix(' at ') or 'some line'} ({write.value})" for write in writes]
    names = " and ".join(
        f"{target}.trainable" for target in list(dict.fromkeys(write.target for write in writes))[:MOST_NAMES]
    )
    return f"{names} at {', '.join(told[:MOST_PLACES])}"


def _shorten(tree: LayerTree, target: str) -> str:
    """A layer's path without the model's own name."""
    if tree.root is None or target not in tree.by_path:
        return target
    return target.removeprefix(f"{tree.root.path}/")


def _find_trace(capture: Capture) -> FlagWrite | None:
    """When the current trace was made; one that was there before the recording began, by the call that made it."""
    current = {trace.id: trace for trace in capture.traces if trace.current and trace.source == "compiled"}
    for write in reversed(capture.flag_writes):
        if write.kind == "trace" and write.target in current:
            return write
    made = next((trace for trace in current.values() if trace.location is not None), None)
    return FlagWrite("trace", made.id, None, BEFORE, made.location) if made is not None else None


def _list_targets(capture: Capture, tree: LayerTree, indices: Sequence[int]) -> set[str]:
    """Paths whose flags rule these variables: their own, their layers', their containers'."""
    targets = {capture.variables[index].path for index in indices}
    for index in indices:
        for owner in capture.variables[index].owners:
            targets.update(layer.path for layer in tree.ancestors(owner))
    return targets


def _name_targets(writes: Sequence[FlagWrite]) -> str:
    names = " and ".join(f"{write.target}.trainable" for write in writes[:MOST_NAMES])
    more = f" and {len(writes) - MOST_NAMES} more" if len(writes) > MOST_NAMES else ""
    return f"{names}{more} {'was' if len(writes) == 1 else 'were'}"


def _name_places(events: Sequence[FlagWrite]) -> str:
    places = [
        f"{posixpath.basename(event.location.file.replace(chr(92), '/'))}:{event.location.line}"
        for event in events
        if event.location is not None
    ]
    unique = list(dict.fromkeys(places))
    if not unique:
        return ""
    return f" at {unique[0]}" if len(unique) == 1 else f" from {unique[0]} to {unique[-1]}"
