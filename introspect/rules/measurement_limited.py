"""The numbers of a measured step are missing, or of a batch that introspect made up.

What it does
    Says why `measure` gave no numbers, or that no data was given and the batch holds random values.

Why it matters
    Norms of a made-up batch tell the order of magnitude at best; labels are 0 and inputs are random in it.

Cause
    A step that runs Python, prints to a table or file, or reads an iterator of its own cannot be run on copies without
    leaving something behind; data that runs Python would be taken from.

Fix
    Give one real batch: `inspect(model, data=(x, y), measure=True)`.

Example
    inspect(model, measure=True)      # no data
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    reasons, measure = facts.capture.warnings, facts.capture.measure
    if reasons:
        done = facts.capture.data_given or facts.capture.failure is not None
        fix = "" if done else _say_how(facts)
        yield _report("The step was not measured.", f"{reasons[0][:1].upper()}{reasons[0][1:]}.", fix)
    elif measure is not None and measure.batch == "invented":
        yield _report("The step was measured on a made-up batch.", "No data was given.", _say_how(facts))


def _say_how(facts: Facts) -> str:
    """The call that measures a batch of the user's."""
    if facts.current is not None and is_own_loop(facts.current):
        return "introspect.inspect(step, args=(x, y), model=model, measure=True)"
    return "introspect.inspect(model, data=(x, y), measure=True)"


def _report(message: str, cause: str, fix: str) -> Finding:
    return RULE.finding(
        variables=(),
        layers=(),
        message=message,
        cause=cause,
        fix=fix,
    )


RULE = Rule("INT506", "measurement-limited", "info", "proven", __doc__ or "", check)
