"""Looks at the values in training: the newest that was held against a report."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from introspect.errors import RecordError
from introspect.report import serde
from introspect.report.columns import ReportColumns, identify_paths
from introspect.report.metadata import PROOF_TAG
from introspect.report.proofs import ProofColumns

from .reports import Place, ReportLog

MAX_LOOKS = 1000
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Look:
    """One look, and where it stands in the log."""

    at: int
    wall_time: float
    proof: ProofColumns


def read_look(log: ReportLog, place: Place, columns: ReportColumns) -> Look | None:
    """The newest look that was held against the report; None where none was stored, or it is of other variables."""
    for limit in (1, MAX_LOOKS):
        try:
            data = log.read_series(place.run, [PROOF_TAG], limit).get(PROOF_TAG, ())
        except Exception:  # a hostile tensor fails inside TensorBoard, in any of numpy's ways
            _LOG.warning("the looks at the values of a run cannot be read", exc_info=True)
            return None
        found = next((look for look in _parse_newest_first(data, place.at) if _is_of(look.proof, columns)), None)
        if found is not None:
            return found
    return None


def _parse_newest_first(data: Iterable[Any], report_at: int) -> Iterator[Look]:
    for datum in reversed(list(data)):
        try:
            stored = bytes(datum.numpy.reshape(-1)[0])
            if serde.read_proof_place(stored) == report_at:
                yield Look(datum.step, datum.wall_time, serde.read_proof(stored))
        except (RecordError, IndexError, TypeError, ValueError) as error:
            _LOG.debug("a look at the values cannot be read: %s", error)


def _is_of(proof: ProofColumns, columns: ReportColumns) -> bool:
    slots = identify_paths(path or "" for path in columns.texts("slots", "path"))
    rows = columns.rows["variables"], columns.rows["variables"] + columns.rows["slots"]
    same = (proof.variables_id, proof.slots_id) == (columns.variables_id, slots)
    return same and (proof.variables, len(proof.ages)) == rows
