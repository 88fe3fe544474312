"""Older traces beside a step for this data that cannot be made: nothing is said of it as if it ran."""

from __future__ import annotations

from typing import Any

import pytest

import introspect
from tests.matrix.models import dense_model, freeze, make_data, unfreeze
from tests.oracle import Asked, ask

pytestmark = pytest.mark.tf


def make_batches(size: int, width: int = 3) -> Any:
    """Batches of one static shape, each of which has a trace of its own."""
    data = make_data(rows=2 * size, width=width).unbatch()
    return data.batch(size, drop_remainder=True)


def build(known: bool) -> Any:
    """A model that was fitted on batches of 2 while layer a was frozen; `known`: its optimizer was built with a too."""
    model = dense_model()
    model.compile("adam", "mse")
    if known:
        model.optimizer.build(model.trainable_variables)
    freeze("a")(model, None)
    model.fit(make_batches(2), verbose=0)
    unfreeze("a")(model, None)
    return model


def tell(model: Any, data: Any) -> tuple[str, str]:
    """Cause and first evidence of the finding that traces disagree."""
    found = introspect.inspect(model, data=data).findings
    finding = next(finding for finding in found if finding.rule == "INT106")
    return finding.cause, finding.evidence[0].note


def test_trace_whose_optimizer_does_not_know_a_variable() -> None:
    model, data = build(known=False), make_batches(4)
    cause, note = tell(model, data)
    assert "(fit/2) would do what the flags say, and never runs: making it raises (INT201)." in cause
    assert note.endswith("would train all of them, with a new optimizer")
    assert ask(model, data, Asked(raises=True, rules=("INT201", "INT106"))).faults == []


def test_trace_whose_optimizer_knows_all() -> None:
    model, data = build(known=True), make_batches(4)
    cause, note = tell(model, data)
    assert "The one for this data (fit/2) does what the flags say." in cause
    assert note.endswith("trains all of them")
    outcome = ask(model, data)
    assert (outcome.faults, outcome.rules) == ([], set())


def test_batch_that_does_not_fit() -> None:
    model, data = build(known=True), make_batches(4, width=5)
    model.fit(make_batches(4), verbose=0)
    cause, _ = tell(model, data)
    assert "The one for this data cannot be made: tracing it raises (INT202). The latest that was (fit/2) does" in cause
    assert ask(model, data, Asked(raises=True, rules=("INT202", "INT106"), arguable=True)).faults == []
