"""The next training step will raise.

What it does
    Traces, in isolation, the step that the next `fit` would trace, and tells what it would raise; or what the end of
    `fit` would.

Why it matters
    It comes after the data has been loaded and the first batch read, and its text names one variable out of many.

Cause
    The optimizer was built for the variables that trained then, and does not know those that were unfrozen since
    ("Unknown variable"); or averages (use_ema) no longer fit the variables.

Fix
    Compile with a new optimizer instance, or `introspect.recompile(model)`, which keeps the state of those that stay.

Example
    model = keras.models.load_model("frozen.keras"); model.trainable = True
    model.fit(x, y)            # ValueError: Unknown variable …
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._wording import RECOMPILE, agree, count, name_some

_NOTES = {"retrace": "the retrace", "fit-end": "the end of fit", "unknown-variable": "the step"}


def check_unknown(facts: Facts) -> Iterator[Finding]:
    """An optimizer that does not know a variable."""
    failure = facts.capture.failure
    if failure is None or failure.kind != "unknown-variable":
        return
    paths = facts.paths_of(failure.variables)
    who = f"optimizer {failure.optimizer!r}" if failure.optimizer else "the optimizer"
    number = len(paths)
    yield Finding(
        rule=UNKNOWN.id,
        name=UNKNOWN.name,
        severity="error",
        certainty="proven",
        variables=paths,
        layers=facts.layers_of(failure.variables),
        message=(
            f"The next fit raises: {who} does not know {count(number, 'trainable variable')}"
            f"{': ' + name_some(paths) if paths else ''}."
        ),
        cause=(
            f"The optimizer was built before {agree(number, 'it was', 'they were')} unfrozen, and takes no new variables "
            "once it is built."
        ),
        fix=f"{RECOMPILE}",
        evidence=(EvidenceStep(note=f"Keras says: {failure.message}", location=failure.location),),
    )


def check_failure(facts: Facts) -> Iterator[Finding]:
    """Any other failure to come."""
    failure = facts.capture.failure
    if failure is None or failure.kind == "unknown-variable":
        return
    where = _NOTES[failure.kind]
    yield Finding(
        rule=FAILS.id,
        name=FAILS.name,
        severity="error",
        certainty="proven",
        variables=facts.paths_of(failure.variables),
        layers=facts.layers_of(failure.variables),
        message=f"The next fit raises, in {where}: {failure.message}",
        cause=(
            "The averages that the optimizer keeps (use_ema) belong to the variables that trained when it was built; "
            "they no longer fit those that train now."
            if failure.kind == "fit-end"
            else "The data or the model changed so that the step must be traced again, and that fails."
        ),
        fix="model.compile(...) with a new optimizer instance after the flags are set"
        if failure.kind == "fit-end"
        else "mend what the message names, then compile again",
        evidence=(EvidenceStep(note=f"Keras says: {failure.message}", location=failure.location),),
    )


UNKNOWN = Rule("INT201", "optimizer-does-not-know-variable", "error", "proven", __doc__ or "", check_unknown)
FAILS = Rule("INT202", "next-step-fails", "error", "proven", __doc__ or "", check_failure)
