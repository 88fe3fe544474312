"""How findings reach the user while training goes on: as warnings, in the log, or as an error."""

from __future__ import annotations

import logging
import sys
import warnings
import weakref
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from introspect.errors import IntrospectError, IntrospectWarning, MismatchError
from introspect.proof import Proof
from introspect.records import Finding, Report

OnMismatch = Literal["warn", "raise", "log"]
WAYS: tuple[OnMismatch, ...] = ("warn", "raise", "log")
TOLD = ("error", "warning")
"""Severities that are told; the rest stands in the report."""

_LOG = logging.getLogger("introspect")


@dataclass(frozen=True, slots=True)
class Message:
    """One finding in words, and whether training must stop for it."""

    text: str
    report: Report
    grave: bool


class Teller:
    """Tells each finding once, for as long as it lasts.

    Raises:
        IntrospectError: `on_mismatch` is none of "warn", "raise" and "log".
    """

    def __init__(self, on_mismatch: OnMismatch) -> None:
        if on_mismatch not in WAYS:
            raise IntrospectError(f"on_mismatch={on_mismatch!r} is not known; pass one of {', '.join(WAYS)}")
        self.on_mismatch = on_mismatch
        self._told: weakref.WeakKeyDictionary[Any, set[Hashable]] = weakref.WeakKeyDictionary()
        self._moved: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()
        self._waiting: list[Message] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"on_mismatch": self.on_mismatch}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Teller.__init__(self, **state)

    def note(self, report: Report, subject: object, epoch: int | None) -> None:
        """Keep what is new in a report until `tell`; `subject` is what is watched, `epoch` counts from 0."""
        told = self._told.get(subject, set())
        findings = {(f.rule, f.variables): f for f in report.findings if f.severity in TOLD}
        self._told[subject] = set(findings)
        for key, finding in findings.items():
            if key not in told:
                grave = finding.severity == "error" and self.on_mismatch == "raise"
                self._waiting.append(Message(describe_mismatch(finding, report, epoch), report, grave))

    def note_proof(self, proof: Proof, report: Report, subject: object, epoch: int) -> None:
        """Keep what moved though no op of the step writes it until `tell`; each variable once."""
        told = self._moved.setdefault(subject, set())
        fresh = [path for path in proof.moved if path not in told]
        told.update(fresh)
        if fresh:
            self._waiting.append(Message(describe_moved(fresh, proof, report, epoch), report, grave=False))

    def forget(self, subject: object = None) -> None:
        """Where errors are raised, each training raises them anew: all, or those of one subject."""
        if self.on_mismatch != "raise":
            return
        if subject is None:
            self._told.clear()
        else:
            self._told.pop(subject, None)

    def tell(self) -> None:
        """Tell what waits.

        Raises:
            MismatchError: an error waits, and errors are to be raised.
        """
        waiting, self._waiting = self._waiting, []
        for message in waiting:
            if message.grave:
                continue
            if self.on_mismatch == "log":
                _LOG.warning("introspect: %s", message.text)
            else:
                warn(message.text)
        for message in waiting:
            if message.grave:
                raise MismatchError(message.text, message.report)


def describe_mismatch(finding: Finding, report: Report, epoch: int | None) -> str:
    """Rule, model, epoch as Keras prints it, message, cause and fix, in one line."""
    when = "" if epoch is None else f", epoch {epoch + 1}"
    parts = [f"{finding.rule} {finding.name} ({report.model.name}{when}): {finding.message}", finding.cause]
    if finding.fix:
        parts.append(f"Fix: {finding.fix}")
    return " ".join(part.replace("\n", " ") for part in parts if part)


def describe_moved(paths: Sequence[str], proof: Proof, report: Report, epoch: int) -> str:
    """What moved, between which steps, and where to look for the reason, in one line."""
    names = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    window = f"steps {proof.since} and {proof.step}" if None not in (proof.since, proof.step) else "two looks"
    return (
        f"proof ({report.model.name}, epoch {epoch + 1}): {names} changed between {window}, and no op of the training "
        "step writes that. Something outside of it does: a callback, set_weights, assign, or another model's step."
    )


def warn(text: str) -> None:
    """Warn at the user's own line that trains, each time: a filter by place would show the first of them alone."""
    from introspect.capture.frames import pick_frame

    place = pick_frame(walk_frames())
    file, line = (place.file, place.line) if place is not None else ("introspect", 1)
    warnings.warn_explicit(text, IntrospectWarning, file, line)


def walk_frames() -> Iterator[tuple[str, int, str]]:
    """The stack, innermost frame first."""
    frame = sys._getframe(1)
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        frame = frame.f_back  # type: ignore[assignment]
