"""Looks at the values of a model in training, at intervals: which of them really changed since the last look."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from introspect.proof import NOT_LOOKED, Proof, judge_values
from introspect.records import Report

if TYPE_CHECKING:
    from introspect.capture.measurement.fingerprint import Fingerprint


class Prover:
    """Follows one model's values through one training; holds no variable between two looks."""

    def __init__(self) -> None:
        self.latest: Proof | None = None
        """The latest look that had one before it."""
        self._before: Fingerprint | None = None
        self._ages: dict[str, int] = {}
        self._parts: dict[Any, Any] = {}

    @property
    def begun(self) -> bool:
        """Whether there is a look to compare with."""
        return self._before is not None

    def begin(self, model: Any, optimizers: Sequence[Any]) -> None:
        """Take the look that the next one is compared with."""
        self._before = self._take(model, optimizers)
        self._ages = {}

    def look(
        self, model: Any, optimizers: Sequence[Any], batches: int, report: Report, reports: Sequence[Report]
    ) -> Proof:
        """Look, and hold what changed against the reports of the time; the next look is compared with this one.

        Args:
            model: the model in training.
            optimizers: those that train it.
            batches: how many were trained on since the last look.
            report: the one that was in force when the window began.
            reports: all that were in force in the window.
        """
        from introspect.capture.measurement.fingerprint import find_changed

        started, before = time.perf_counter(), self._before
        assert before is not None
        self._before = after = self._take(model, optimizers)
        steps = count_between(before, after, batches)
        changed = set(find_changed(before, after))
        compared = after.same_objects(before)
        self._ages = {
            path: (0 if path in changed else self._ages.get(path, 0) + steps) if path in compared else NOT_LOOKED
            for path in after.paths
        }
        variables, slots = judge_values(self._ages, report, reports)
        seconds = time.perf_counter() - started
        self.latest = Proof(after.step, before.step, steps, time.time(), seconds, variables, slots)
        return self.latest

    def _take(self, model: Any, optimizers: Sequence[Any]) -> Fingerprint:
        from introspect.capture.measurement.fingerprint import fingerprint_model

        return fingerprint_model(model, optimizers, self._parts).take()


def count_between(before: Fingerprint, after: Fingerprint, batches: int) -> int:
    """Steps between two looks: iterations where they rose, else the batches that were counted."""
    rose = before.step is not None and after.step is not None and after.step > before.step
    return after.step - before.step if rose else batches  # type: ignore[operator]
