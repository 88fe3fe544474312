"""Measured numbers against an eager tape and against a real step."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

import introspect
from introspect.records import Report

CLOSE = 2e-4
NOISE = 1e-6
"""A gradient that is 0 but for rounding: a bias before BatchNorm."""


def read_state(model: Any) -> list[Any]:
    """All that a step can write."""
    optimizer = model.optimizer.variables
    found = [*model.variables, *(optimizer() if callable(optimizer) else optimizer)]
    found += [variable for metric in model.metrics for variable in metric.variables]
    return [np.array(tf.convert_to_tensor(variable)) for variable in found]


def same(one: list[Any], other: list[Any]) -> bool:
    """To the bit."""
    return len(one) == len(other) and all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def take_tape(model: Any, x: Any, y: Any) -> dict[int, Any]:
    """Gradients of the model's loss on one batch, eagerly, by the variable's identity."""
    with tf.GradientTape() as tape:
        prediction = model(x, training=True)
        loss = model.compute_loss(x=tf.constant(x), y=tf.constant(y), y_pred=prediction)
    variables = model.trainable_variables
    return {
        id(variable): None if gradient is None else np.array(tf.convert_to_tensor(gradient), np.float64)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True)
    }


def path_of(variable: Any) -> str:
    return str(getattr(variable, "path", None) or variable.name)


def check_measure(model: Any, x: Any, y: Any, **options: Any) -> Report:
    """Measure, compare with the tape, run the real step, compare with what it changed."""
    before = read_state(model)
    report = introspect.inspect(model, data=options.pop("data", (x, y)), measure=True)
    assert same(before, read_state(model)), "measuring changed something"
    measured = {row.path: row.measured for row in report.variables}
    assert all(measured[path_of(v)] is not None for v in model.trainable_variables), report.findings
    start = {id(v): np.array(tf.convert_to_tensor(v), np.float64) for v in model.trainable_variables}
    tape = take_tape(model, x, y) if options.pop("tape", True) else {}
    for variable, value in zip(model.variables, before[: len(model.variables)], strict=True):
        variable.assign(value)
    model.fit(x, y, batch_size=len(x), epochs=1, shuffle=False, verbose=0)
    averages = bool(getattr(model.optimizer, "use_ema", False))  # fit writes them at its end
    for variable in model.trainable_variables:
        numbers = measured[path_of(variable)]
        moved = np.array(tf.convert_to_tensor(variable), np.float64) - start[id(variable)]
        compare(path_of(variable), numbers, tape.get(id(variable)), None if averages else moved)
    return report


def compare(path: str, numbers: Any, gradient: Any, moved: Any) -> None:
    """One variable."""
    if gradient is not None:
        norm = np.linalg.norm(gradient)
        assert abs(numbers.gradient_norm - norm) <= CLOSE * norm + NOISE, (path, numbers, norm)
        assert abs(numbers.zero_fraction - np.mean(gradient == 0)) < 1e-9 or norm < NOISE, (path, numbers)
        assert numbers.finite is True
    if moved is None or (gradient is not None and np.linalg.norm(gradient) < NOISE):
        return
    change = np.linalg.norm(moved)
    assert abs(numbers.update_norm - change) <= 1e-2 * change + 1e-9, (path, numbers, change)
    assert bool(numbers.resolved) == bool(change), (path, numbers, change)
