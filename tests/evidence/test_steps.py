"""Verdicts on steps written as text, and on other graphs that compute the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from introspect.capture.record import Capture
from introspect.evidence.collect import collect_trace
from introspect.evidence.gradients import sources_of, targets_of
from tests.evidence.steps import STEPS, Step, make_capture
from tests.graph.transforms import inline, permute, rename


def judge(capture: Capture) -> dict[str, tuple[str, set[str]]]:
    """`{path: (gradient, kinds of its writes)}`."""
    evidence = collect_trace(capture, capture.traces[0], None)
    return {
        variable.path: (
            evidence.gradient(index)[0] if variable.role == "model" else "none",
            {write.kind for write in evidence.writes.get(index, ())},
        )
        for index, variable in enumerate(capture.variables)
    }


def with_trace(step: Step, trace: Any) -> Capture:
    """The step's capture with another trace."""
    return make_capture(
        step,
        trace.graph,
        trace.outputs,
        bindings=trace.bindings,
        tape_scopes=trace.tape_scopes,
        tape_ops=trace.tape_ops,
    )


@pytest.mark.parametrize("name", STEPS)
def test_verdict(name: str) -> None:
    """Each variable's gradient and the kinds of its writes."""
    step = STEPS[name]
    assert judge(make_capture(step)) == dict(step.truth)


@pytest.mark.parametrize("name", STEPS)
def test_both_ends_tell_the_same(name: str) -> None:
    """A variable goes into another where that is made of it."""
    capture = make_capture(STEPS[name])
    evidence = collect_trace(capture, capture.traces[0], None)
    made_of = {
        index: sources_of(evidence, [write.node for write in writes]) for index, writes in evidence.writes.items()
    }
    for variable in range(len(capture.variables)):
        expected = {index for index, sources in made_of.items() if variable in sources}
        assert targets_of(evidence, [variable]) == expected


@given(name=st.sampled_from(sorted(STEPS)), seed=st.integers(0, 2**32))
def test_order_of_nodes(name: str, seed: int) -> None:
    """The order in which nodes stand in the file says nothing."""
    step = STEPS[name]
    trace = make_capture(step).traces[0]
    assert judge(with_trace(step, permute(trace, seed).trace)) == dict(step.truth)


@given(name=st.sampled_from(sorted(STEPS)), seed=st.integers(0, 2**32))
def test_names(name: str, seed: int) -> None:
    """Names of nodes and functions say nothing, where the capture tells what a tape made."""
    step = STEPS[name]
    trace = rename(permute(make_capture(step).traces[0], seed).trace).trace
    assert judge(with_trace(step, trace)) == dict(step.truth)


@given(choice=st.integers(0, 5), seed=st.integers(0, 2**32))
def test_inlined(choice: int, seed: int) -> None:
    """A call and the nodes of what it calls are the same."""
    step = STEPS["called"]
    first = inline(make_capture(step).traces[0], choice)
    assert first is not None
    second = inline(first.trace, choice) or first
    trace = rename(permute(second.trace, seed).trace).trace
    assert judge(with_trace(step, trace)) == dict(step.truth)


def test_without_tape_marks_nothing_is_a_gradient() -> None:
    """The tests above would fail if names or marks were not used: with neither, the write is of the forward pass."""
    step = STEPS["plain"]
    trace = rename(make_capture(step).traces[0]).trace
    found = judge(make_capture(step, trace.graph, trace.outputs, bindings=trace.bindings, tape_scopes=("none/",)))
    assert found["w"] == ("none", {"statistics"})
