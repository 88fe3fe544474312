"""The pytest fixture `introspect_trains`; loading this plugin imports neither introspect's parts nor TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from introspect.records import Report

Patterns = str | Sequence[str]


@pytest.fixture(scope="session")
def introspect_trains() -> Callable[..., Report]:
    """A function that asserts what the compiled step of a model trains; its failure message is the finding.

    `introspect_trains(model, trains="head/*", frozen="backbone/*", data=None)`: each of `trains` and `frozen` is one
    glob pattern or a sequence of them. Returns the report.
    """
    return check_trains


def check_trains(model: Any, trains: Patterns = (), frozen: Patterns = (), *, data: Any = None) -> Report:
    """Inspect `model` once, then hold `trains` and `frozen` against the report.

    Raises:
        AssertionError: a variable does otherwise, or a pattern matches nothing.
        TypeError: neither `trains` nor `frozen` is given.
        IntrospectError: the model cannot be analysed.
    """
    __tracebackhide__ = True
    from introspect.assertions import assert_frozen, assert_trains, obtain_report

    if not trains and not frozen:
        raise TypeError("introspect_trains needs trains= or frozen=, or it would assert nothing")
    report = obtain_report(model, data)
    if trains:
        assert_trains(report, *list_patterns(trains), data=data)
    if frozen:
        assert_frozen(report, *list_patterns(frozen), data=data)
    return report


def list_patterns(patterns: Patterns) -> tuple[str, ...]:
    """One pattern or several, as a tuple."""
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)
