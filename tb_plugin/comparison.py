"""What changed between two reports, as the page gets it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from introspect.records import Finding, Report, ReportDiff

from .answers import SCHEMA, Json


class _Strings:
    """The answer's strings; index 0 is null."""

    def __init__(self) -> None:
        self.all: list[str | None] = [None]
        self._index: dict[str | None, int] = {None: 0}

    def add(self, texts: Iterable[str | None]) -> list[int]:
        found = []
        for text in texts:
            at = self._index.setdefault(text, len(self.all))
            if at == len(self.all):
                self.all.append(text)
            found.append(at)
        return found


def show_comparison(later: Report, earlier: Report) -> Json:
    """The parts of `compare` that come from the reports themselves."""
    return show_diff(later.diff(earlier))


def show_diff(diff: ReportDiff) -> Json:
    """A diff with its paths as indexes into `strings`."""
    strings = _Strings()
    fields = ("variable", "field", "before", "after")
    changes = {name: strings.add(getattr(change, name) for change in diff.changes) for name in fields}
    return {
        "schema": SCHEMA,
        "changes": {"rows": len(diff.changes), **changes},
        "variables_added": strings.add(diff.variables_added),
        "variables_removed": strings.add(diff.variables_removed),
        "findings_added": [_show_finding(finding, strings) for finding in diff.findings_added],
        "findings_removed": [_show_finding(finding, strings) for finding in diff.findings_removed],
        "strings": strings.all,
    }


def _show_finding(finding: Finding, strings: _Strings) -> dict[str, Any]:
    shown = dataclasses.asdict(finding)
    shown["variables"] = strings.add(finding.variables)
    shown["layers"] = strings.add(finding.layers)
    results = [] if finding.fix_result is None else [(shown["fix_result"], finding.fix_result)]
    for told, result in (*results, *zip(shown["trials"], finding.trials, strict=True)):
        told["trains"] = strings.add(result.trains)
        told["still_not"] = strings.add(result.still_not)
    return shown
