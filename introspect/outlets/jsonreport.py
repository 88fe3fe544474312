"""JSON, strict: `Report.to_dict` as it is. Not called json.py, so that nobody mistakes it for the standard module."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from introspect.outlets._base import Options
from introspect.records import Report


def render_json(reports: Sequence[Report], options: Options) -> str:
    """One object for one report, an array for several; ASCII, so that any encoding carries it."""
    plain = [replace_nonfinite(report.to_dict()) for report in reports]
    return json.dumps(plain[0] if len(plain) == 1 else plain, indent=2, allow_nan=False) + "\n"


def replace_nonfinite(value: Any) -> Any:
    """`value` with null in place of each number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_nonfinite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
