"""How often one step updates a variable: the gradient that is measured of one is that of the first time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable

import numpy as np

from introspect.records import VariableReport
from introspect.report.columns import ReportColumns


def count_updates(row: VariableReport) -> int:
    """How often a step writes the gradient of one variable, by the trace that does it most."""
    traces = (write.trace for write in row.writes if write.kind == "gradient" and not write.conditional)
    return count_most(traces, len(row.replicas))


def count_most(traces: Iterable[Hashable], copies: int) -> int:
    """The same of the traces in which its gradient is written, each as often as it is; `copies` on several devices."""
    return max(Counter(traces).values(), default=0) // max(1, copies)


def list_updates(columns: ReportColumns) -> list[int]:
    """The same of each variable of a report in columns."""
    variables, writes = columns.tables["variables"], columns.tables["writes"]
    kind = columns.strings.index("gradient") if "gradient" in columns.strings else -1
    gradients = np.equal(writes["kind"], kind) & np.equal(writes["conditional"], 0)
    before = np.concatenate(([0], np.cumsum(gradients)))
    starts = np.asarray(variables["writes_start"])
    found: list[int] = np.diff(before[starts]).tolist()
    for row in [row for row, number in enumerate(found) if number > 1]:
        first, end = starts[row : row + 2].tolist()
        traces = (writes["trace"][place] for place in range(first, end) if gradients[place])
        replicas = variables["replicas_start"]
        found[row] = count_most(traces, replicas[row + 1] - replicas[row])
    return found


def tell_first(updates: int) -> str:
    """ "first of 5 updates": of which of them a measured gradient is; nothing where there is one."""
    return f"first of {updates} updates" if updates > 1 else ""


def tell_most(rows: Iterable[VariableReport]) -> str:
    """The same of several variables, as a sentence."""
    most = max(map(count_updates, rows), default=0)
    return f"A step has up to {most} updates; gradients are those of the first" if most > 1 else ""
