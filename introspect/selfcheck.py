"""On a version that nobody tried: does a step of which the truth is known come out right?"""

from __future__ import annotations

import sys
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
    """What is wrong with the report on a specimen; None where all is right."""
    from introspect.capture import capture_model
    from introspect.capture.guard import preserve
    from introspect.capture.versions import make_specimen

    with preserve():
        model, data = make_specimen(sys.modules[keras])
        try:
            report = diagnose(capture_model(model, data=data))
        except IntrospectError as error:
            return f"a model of two layers cannot be read ({error})"
    said = {row.path.split("/")[-2]: (row.expected, row.updated, row.gradient) for row in report.variables}
    right = {"frozen": (False, "no", "none"), "trained": (True, "yes", "dense")}
    return None if said == right and report.ok else f"a model of two layers is read as {said}"
