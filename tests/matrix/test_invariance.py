"""Real steps: renaming every node, permuting their order and inlining calls changes no verdict and no finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import pytest

from introspect.capture import capture_model
from introspect.capture.record import Capture
from introspect.diagnosis import diagnose
from introspect.records import Report
from tests.graph.transforms import Changed, MovedProbe, inline, permute, rename, unfold
from tests.matrix import test_compilation, test_custom_training, test_kinds_of_layers, test_structures
from tests.matrix.cells import Cell

pytestmark = pytest.mark.tf

CHOSEN: dict[str, Cell] = {
    **{
        name: test_compilation.CELLS[name]
        for name in ("steps_per_execution", "mixed_float16", "own losses", "jit_compile")
    },
    **{name: test_kinds_of_layers.CELLS[name] for name in ("LSTM", "Embedding", "cond", "map_fn", "recompute_grad")},
    **{
        name: test_custom_training.CELLS[name]
        for name in (
            "gan",
            "momentum encoder",
            "inner tf.function",
            "gradient penalty",
            "update in a branch",
            "informed",
        )
    },
    **{name: test_structures.CELLS[name] for name in ("batchnorm", "unused", "cut by round", "tied")},
}


def say(report: Report) -> tuple[Any, ...]:
    """All that must stay: verdicts, writes, slots, findings; not the names of ops."""
    rows = [
        (
            row.path,
            row.expected,
            row.updated,
            row.gradient,
            sorted((write.kind, write.op_type, write.conditional, write.trace) for write in row.writes),
            sorted((slot.path, slot.updated) for slot in row.slots),
        )
        for row in report.variables
    ]
    found = sorted((f.rule, f.severity, f.variables) for f in report.findings)
    return rows, found, [(trace.id, trace.current, trace.updated) for trace in report.traces]


def change(capture: Capture, how: Callable[[Any], Changed | None]) -> Capture:
    """Each trace changed, with a probe that knows where its nodes come from."""
    traces, probes = list(capture.traces), list(capture.probes)
    for place, trace in enumerate(traces):
        changed = how(unfold(trace))
        if changed is not None:
            traces[place] = changed.trace
            probe = probes[place]
            probes[place] = MovedProbe(probe, changed.origin) if probe is not None else None
    return replace(capture, traces=tuple(traces), probes=tuple(probes))


CHANGES: dict[str, Callable[[Any], Changed | None]] = {
    "renamed": rename,
    "permuted": lambda trace: permute(trace, 5),
    "inlined": lambda trace: inline(trace, 0),
    "inlined elsewhere": lambda trace: inline(trace, 3),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_other_graphs_that_compute_the_same(name: str) -> None:
    """Before and after a layer was frozen too late, with each change alone and all of them together."""
    keras.backend.clear_session()
    cell = CHOSEN[name]
    model, data = cell.build()
    cell.step(model, data)
    if cell.act is not None:
        model, data = cell.act(model, data) or (model, data)
    capture = capture_model(model, data)
    expected = say(diagnose(capture))
    together = capture
    for what, how in CHANGES.items():
        assert say(diagnose(change(capture, how))) == expected, what
        together = change(together, how)
    assert say(diagnose(change(together, rename))) == expected
