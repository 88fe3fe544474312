"""What one cell of the matrix is: a model that is healthy twice, then an act that makes it stale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras

from tests.matrix.models import Built, freeze
from tests.oracle import PLAIN, Asked, Step, ask, fit_once

Act = Callable[[Any, Any], Any]


FREEZE_B = freeze("b")


@dataclass(frozen=True)
class Cell:
    """One way of training.

    Attributes:
        build: makes the model, compiled and never fitted, and its data.
        asked: how the healthy situations are judged: before the first step, and before the second.
        act: what is done then; by default layer b is frozen and nothing compiled. None ends the cell there.
        after: how the situation after it is judged.
        step: one real step.
    """

    build: Callable[[], Built]
    asked: Asked = PLAIN
    act: Act | None = FREEZE_B
    after: Asked | None = None
    step: Step = fit_once

    def run(self) -> list[str]:
        """All faults of the cell, each with the situation it was seen in."""
        keras.backend.clear_session()
        model, data = self.build()
        faults = [f"before the first step: {f}" for f in ask(model, data, self.asked, self.step).faults]
        faults += [f"before the second: {f}" for f in ask(model, data, self.asked, self.step).faults]
        if self.act is not None:
            model, data = self.act(model, data) or (model, data)
            after = replace(self.asked, rules=("INT101",)) if self.after is None else self.after
            faults += [f"after the act: {f}" for f in ask(model, data, after, self.step).faults]
        return faults
