"""The report as a protobuf message: what the TensorBoard plugin reads."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.errors import IntrospectError
from introspect.outlets._base import Options
from introspect.records import Report


def render_message(reports: Sequence[Report], options: Options) -> bytes:
    """The serialised message of one report.

    Raises:
        IntrospectError: there are several reports; a file holds one message.
    """
    from introspect.report.serde import write_report

    if len(reports) != 1:
        raise IntrospectError(f"a .pb file holds one report, not {len(reports)}; write each model to a file of its own")
    return write_report(reports[0])
