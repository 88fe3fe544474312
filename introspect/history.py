"""What the record of flag writes tells about a stale step."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.capture.record import Capture, FlagWrite
from introspect.expectation import LayerTree


def tell_history(capture: Capture, tree: LayerTree, indices: Sequence[int], frozen: bool) -> str | None:
    """"set to True at finetune.py:41, after the step was compiled at finetune.py:30"; None where nothing is known."""
    targets = {capture.variables[index].path for index in indices}
    for index in indices:
        for owner in capture.variables[index].owners:
            targets.update(layer.path for layer in tree.ancestors(owner))
    writes = [w for w in capture.flag_writes if w.kind == "trainable" and w.target in targets and w.value != frozen]
    if not writes:
        return None
    last = writes[-1]
    text = f"{last.target}.trainable was set to {last.value}{_place(last)}"
    compiled = [w for w in capture.flag_writes if w.kind in ("compile", "trace") and w.order < last.order]
    if compiled:
        text += f", after the step was {'compiled' if compiled[-1].kind == 'compile' else 'traced'}{_place(compiled[-1])}"
    return text + "; the step holds the flags of before."


def _place(write: FlagWrite) -> str:
    return f" at {write.location}" if write.location is not None else ""
