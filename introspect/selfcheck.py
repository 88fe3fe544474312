"""On a version that nobody tried: does a step of which the truth is known come out right?"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from introspect.diagnosis import diagnose
from introspect.errors import IntrospectError, VersionError
from introspect.records import Report


def require_sound(report: Report) -> None:
    """Check the assumptions on an untried version before a report is given out; once for each Keras in a process.

    Raises:
        VersionError: a step of known truth is read wrongly, so that no verdict can be trusted here.
    """
    if report.environment.warnings and report.model.keras != "none":
        fault = find_fault(report.model.keras)
        if fault is not None:
            versions = f"TensorFlow {report.environment.tensorflow}, Keras {report.environment.keras}"
            raise VersionError(f"{versions}: untried, and {fault}; use the versions that the README names")


@cache
def find_fault(keras: str) -> str | None:
    """What is wrong with the reports on a specimen; None where all is right."""
    with ThreadPoolExecutor(1) as pool:  # a thread of its own stands in no scope of a strategy
        return pool.submit(try_specimen, keras).result()


def try_specimen(keras: str) -> str | None:
    """Read a step before it exists, train it, and read it once more with a flag that came too late."""
    from introspect.capture import capture_model
    from introspect.capture.trace.guard import preserve
    from introspect.capture.versions import make_specimen

    with preserve():
        model, data = make_specimen(sys.modules[keras])
        try:
            fault = find_difference(diagnose(capture_model(model, data=data)), FRESH, "traced")
            if fault is not None:
                return fault
            model.fit(*data, verbose=0)
            model.layers[-1].trainable = False
            return find_difference(diagnose(capture_model(model, data=data)), STALE, "compiled")
        except IntrospectError as error:
            return f"a model of two layers cannot be read ({error})"


Said = dict[str, tuple[bool, str, str]]
"""Layer to what is said of it: expected, updated, gradient."""

FRESH: Said = {"frozen": (False, "no", "none"), "trained": (True, "yes", "dense")}
STALE: Said = {"frozen": (False, "no", "none"), "trained": (False, "yes", "dense")}


def find_difference(report: Report, right: Said, source: str) -> str | None:
    """What the report says that is not so."""
    if report.source != source:
        return f"a {source} model of two layers is taken for {report.source}"
    said = {row.path.split("/")[-2]: (row.expected, row.updated, row.gradient) for row in report.variables}
    return None if said == right else f"a model of two layers is read as {said}"
