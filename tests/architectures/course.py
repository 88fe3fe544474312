"""A model's life, asked again and again: one real step and tf.GradientTape judge each report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from introspect.records import Report
from tests import recording
from tests.oracle import PLAIN, Asked, Outcome, ask, fit_once, hold


def ask_tape(model: Any, data: Any) -> dict[int, str]:
    """`{key of a variable: dense or sparse}` for the trainable variables that an eager GradientTape finds a gradient of."""
    x, y = next(iter(data.take(1)))
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
    variables = model.trainable_variables
    gradients = tape.gradient(loss, [recording.raw_of(v) for v in variables])
    return {
        recording.key_of(variable): "sparse" if isinstance(gradient, tf.IndexedSlices) else "dense"
        for variable, gradient in zip(variables, gradients, strict=True)
        if gradient is not None
    }


class Course:
    """One model, its data, and the faults that were seen.

    Attributes:
        tape: what the tape said when the step that is in force was traced.
    """

    def __init__(self, model: Any, data: Any, make_ready: Callable[[Any], None], asked: Asked = PLAIN) -> None:
        self.model = model
        self.data = data
        self.make_ready = make_ready
        self.asked = asked
        self.faults: list[str] = []
        self.tape: dict[int, str] | None = None
        self.compile()

    def compile(self) -> None:
        """Compile anew: the next step will be traced."""
        self.make_ready(self.model)
        self.tape = None

    def ask(self, when: str, asked: Asked | None = None, step: Any = fit_once) -> Outcome:
        """Inspect with the data, run one real step, note the faults."""
        return self.judge(when, lambda: ask(self.model, self.data, asked or self.asked, step))

    def hold(self, when: str, look: Callable[[], Report], asked: Asked | None = None) -> Outcome:
        """The same for a report that is had in another way."""
        return self.judge(when, lambda: hold(self.model, look, self.data, asked or self.asked, fit_once))

    def judge(self, when: str, run: Callable[[], Outcome]) -> Outcome:
        """Ask the tape where the step is still to be traced, then the oracle."""
        if self.tape is None:
            self.tape = ask_tape(self.model, self.data)
        outcome = run()
        self.faults += [f"{when}: {fault}" for fault in (*outcome.faults, *self.compare_tape(outcome.report))]
        return outcome

    def compare_tape(self, report: Report | None) -> list[str]:
        """Variables of which the report and the tape disagree."""
        return [] if report is None else self.compare_rows(report.to_dict()["variables"])

    def compare_rows(self, rows: list[dict[str, Any]]) -> list[str]:
        """The same of a report's rows as JSON has them, in the order of `model.variables`."""
        faults = []
        for variable, row in zip(self.model.variables, rows, strict=True):
            said = (self.tape or {}).get(recording.key_of(variable), "none")
            if row["gradient"] != said or row["updated"] != ("no" if said == "none" else "yes"):
                faults.append(f"{variable.path}: tape {said}, reported {row['gradient']}, updated {row['updated']}")
        return faults

    def expect(self, when: str, outcome: Outcome, *rules: str) -> None:
        """Note a fault where the loud findings are not of exactly these rules."""
        if outcome.rules != set(rules):
            self.faults.append(f"{when}: found {sorted(outcome.rules)}, not {sorted(rules)}")
