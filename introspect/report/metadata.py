"""Names of the TensorBoard series, and the mark that each report leaves on the timeline."""

from __future__ import annotations

from dataclasses import dataclass

from introspect.report.columns import ReportColumns

PLUGIN_NAME = "introspect"
RUN_NAME = "introspect"
"""Directory below the log dir; TensorBoard takes it for a run."""
REPORT_TAG = "introspect/report"
"""Blob sequence of one blob: `serde.write_report`."""
TIMELINE_TAG = "introspect/timeline"
"""Tensor, DT_STRING [1]: `serde.write_mark`. One for each report, in the same event."""
NORMS_TAG = "introspect/norms"
"""Tensors, DT_FLOAT [4, n]: `<NORMS_TAG>/<variables_id>/<block>`, rows NORM_ROWS, columns variables in report order."""
NORM_ROWS = ("gradient_norm", "update_norm", "weight_norm", "zero_fraction")
NORM_BLOCK = 1024
"""Variables in one norms series; one variable's history is read without those of all others."""
NOT_MEASURED = -1.0
PROOF_TAG = "introspect/proof"
"""Tensor, DT_STRING [1]: `serde.write_proof`. One for each look at the values."""


def name_norms_tag(variables_id: str, block: int) -> str:
    """The tag of the norms of variables `block * NORM_BLOCK` and on."""
    return f"{NORMS_TAG}/{variables_id}/{block}"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many variables and findings of each sort a report has."""

    variables: int
    trainable: int
    """Own flag."""
    expected: int
    """Would train by the flags alone."""
    updated: int
    """`updated` is "yes"."""
    partly: int
    """`updated` is "some"."""
    unknown: int
    """`updated` is "unknown"."""
    expected_not_updated: int
    """Expected, and `updated` is "no"."""
    updated_not_expected: int
    """Not expected, and `updated` is "yes" or "some"."""
    errors: int
    warnings: int
    infos: int


@dataclass(frozen=True, slots=True)
class Mark:
    """One report as a point of the timeline: enough to draw it without reading the report."""

    step: int | None
    epoch: int | None
    reason: str | None
    detail: str | None
    created: float
    source: str
    model: str
    ok: bool
    headline: str | None
    """The verdict, or the message of the most severe finding that is an error or a warning."""
    rules: tuple[str, ...]
    """Ids of the findings' rules, each once, most severe first."""
    counts: Counts
    variables_id: str


def count_columns(columns: ReportColumns) -> Counts:
    """The counts of a report; O(variables)."""
    variables = columns.tables["variables"]
    updated = columns.texts("variables", "updated")
    pairs = list(zip(variables["expected"], updated, strict=True))
    severities = columns.texts("findings", "severity")
    return Counts(
        variables=len(updated),
        trainable=sum(variables["trainable"]),
        expected=sum(variables["expected"]),
        updated=updated.count("yes"),
        partly=updated.count("some"),
        unknown=updated.count("unknown"),
        expected_not_updated=pairs.count((1, "no")),
        updated_not_expected=pairs.count((0, "yes")) + pairs.count((0, "some")),
        errors=severities.count("error"),
        warnings=severities.count("warning"),
        infos=severities.count("info"),
    )


def mark_report(
    columns: ReportColumns, *, epoch: int | None = None, detail: str | None = None, headline: str | None = None
) -> Mark:
    """The mark of a report on the timeline.

    Args:
        columns: the report, flattened.
        epoch: the epoch that had ended or was running, from 0, where there is one.
        detail: one line on what changed, where the caller knows it.
        headline: the verdict in one sentence; without it the message of the most severe finding, if it is an error or
            a warning.
    """
    counts = count_columns(columns)
    rules = columns.texts("findings", "rule")
    grave = counts.errors + counts.warnings > 0
    return Mark(
        step=columns.step,
        epoch=epoch,
        reason=columns.reason,
        detail=detail,
        created=columns.created,
        source=columns.source,
        model=columns.model.name,
        ok=not grave,
        headline=_find_headline(columns) if headline is None else headline,
        rules=tuple(dict.fromkeys(rule for rule in rules if rule is not None)),
        counts=counts,
        variables_id=columns.variables_id,
    )


def _find_headline(columns: ReportColumns) -> str | None:
    messages = columns.texts("findings", "message")
    severities = columns.texts("findings", "severity")
    for severity in ("error", "warning"):
        if severity in severities:
            return messages[severities.index(severity)]
    return None
