"""What the numbers of a measured step say about each variable; each variable is told by one rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from introspect.capture.record import CapturedOptimizer, MeasuredVariable
from introspect.evidence.points import list_first
from introspect.facts import Facts

Verdict = Literal[
    "moves", "not finite", "zero gradient", "rate is zero", "held back", "put back", "not resolved", "unclear"
]

EPSILONS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass(frozen=True, slots=True)
class Numbers:
    """One variable that the current trace updates by its gradient."""

    index: int
    numbers: MeasuredVariable
    optimizer: CapturedOptimizer | None
    conditional: bool
    """Whether every write of its gradient stands in a branch."""
    overwritten: bool
    """Whether the step puts a value in the place of the updated one: of a constraint, an average, by hand."""
    several: bool
    """Whether the step updates it more than once, so that the gradient is that of the first update."""
    epsilon: float | None
    """Distance of 1 from the next number of its dtype."""

    @property
    def asked(self) -> float | None:
        """How much the step adds to the variable, before rounding; None where the graph does not show it."""
        return self.numbers.asked_norm

    @property
    def surely_resolved(self) -> bool:
        """Whether what the step adds changes some element: were each lost, their norm were below this part of the weights'."""
        weights, asked = self.numbers.weight_norm, self.asked
        if weights is None or asked is None or self.epsilon is None:
            return False
        return asked > self.epsilon * weights


def list_numbers(facts: Facts) -> list[Numbers]:
    """Of all variables measured, in their order."""
    measure, current = facts.capture.measure, facts.current
    if measure is None or current is None:
        return []
    trackers = {index: o for o in reversed(facts.capture.optimizers) for index in o.tracks}
    found = []
    for numbers in measure.rows:
        writes = current.gradient_writes(numbers.variable)
        conditional = bool(writes) and all(write.conditional for write in writes)
        overwritten = bool(current.overwrites(numbers.variable))
        epsilon = EPSILONS.get(facts.capture.variables[numbers.variable].dtype)
        tracker = trackers.get(numbers.variable)
        several = len(list_first(current, numbers.variable)) < len(
            {write.node for write in writes if not write.place[1]}
        )
        found.append(Numbers(numbers.variable, numbers, tracker, conditional, overwritten, several, epsilon))
    return found


def judge(one: Numbers) -> Verdict:
    """Why a variable does not move though its gradient is written to it."""
    numbers = one.numbers
    if numbers.finite is False:
        return "not finite"
    if numbers.gradient_norm == 0 and not (one.several and numbers.changed):
        return "zero gradient"
    if numbers.changed or numbers.changed is None:
        return "moves"
    if one.overwritten:
        return _judge_overwritten(one)
    if one.asked is not None and one.asked > 0:
        return "not resolved"
    if one.conditional:
        return "held back"
    return _judge_still(one)


def _judge_overwritten(one: Numbers) -> Verdict:
    """The variable is as it was, and the step puts a value in the place of the updated one."""
    if one.surely_resolved:
        return "put back"
    return "rate is zero" if _judge_still(one) == "rate is zero" else "unclear"


def _judge_still(one: Numbers) -> Verdict:
    """The variable stands still, and nothing is known to be added to it at a step that updates it."""
    rate = None if one.optimizer is None else one.optimizer.learning_rate
    if rate == 0 or (isinstance(rate, str) and one.asked == 0):
        return "rate is zero"
    return "not resolved" if isinstance(rate, float) and one.numbers.gradient_norm else "unclear"


def select(facts: Facts, verdict: Verdict) -> list[Numbers]:
    """The variables of one verdict."""
    return [one for one in list_numbers(facts) if judge(one) == verdict]


def setting_of(optimizer: CapturedOptimizer | None, name: str) -> str | None:
    """One setting of an optimizer, where it is set."""
    return None if optimizer is None else dict(optimizer.settings).get(name)


def by_optimizer(chosen: list[Numbers]) -> Iterator[tuple[CapturedOptimizer | None, list[Numbers]]]:
    """Groups, in the order of their first variables."""
    groups: dict[str | None, list[Numbers]] = {}
    for one in chosen:
        groups.setdefault(one.optimizer.name if one.optimizer else None, []).append(one)
    for group in groups.values():
        yield group[0].optimizer, group


def say_batch(facts: Facts) -> str:
    """ " on a made-up batch", or nothing."""
    measure = facts.capture.measure
    return " on a made-up batch" if measure is not None and measure.batch == "invented" else ""
