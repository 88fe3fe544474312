"""XLA compiles the step, or the optimizer's updates, because a GPU is visible.

What it does
    Names the XLA clusters of the current trace on a machine where TensorFlow sees an accelerator.

Why it matters
    The same script runs without XLA on a machine without a GPU: numbers differ in the last digits, ops that XLA does not
    know fail, the first step takes longer, and tf.print or a py_function in the step is refused.

Cause
    Keras 3: `compile(jit_compile="auto")`, the default, turns it on with a GPU. tf_keras: its optimizers compile each
    variable's update into a cluster of its own.

Fix
    Nothing, where this is meant; else `compile(jit_compile=False)`, in tf_keras `Adam(jit_compile=False)`.

Example
    model.compile("adam", "mse")      # on a machine with a GPU
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.devices import is_accelerator, shorten_device
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._wording import count


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current = facts.current
    visible = any(is_accelerator(device) for device in facts.capture.environment.devices)
    clusters = list_clusters(current) if current is not None and visible else []
    if current is None or not clusters:
        return
    whole = facts.capture.model.jit_compile
    yield RULE.finding(
        variables=(),
        layers=(),
        message=f"XLA compiles {'the step' if whole else 'a part of the step'}: {count(len(clusters), 'cluster')}.",
        cause=(
            'compile(jit_compile="auto"), the default, turns it on where a GPU is visible.'
            if whole
            else "The optimizer compiles each variable's update where a GPU is visible."
        ),
        fix="nothing, where this is meant; else "
        + ("compile(jit_compile=False)" if whole else "Adam(jit_compile=False)"),
        evidence=tuple(_show(facts, current, name) for name in clusters[:3]),
    )


def list_clusters(current: TraceEvidence) -> list[str]:
    """Names of the calls that XLA compiles as a whole, in program order."""
    flow = current.flow
    calls = [f for f in flow.frames if f.jit and f.parent >= 0 and not flow.frames[f.parent].jit]
    names = [flow.bodies[flow.frames[frame.parent].body].name_of(frame.call) for frame in calls]
    return names or (["the whole step"] if current.trace.jit else [])


def _show(facts: Facts, current: TraceEvidence, name: str) -> EvidenceStep:
    placed = [op for one in facts.capture.placements if one.trace == current.trace.id for op in one.ops]
    device = next((op.device for op in placed if op.cluster is not None and op.cluster.endswith(name)), None)
    where = "" if device is None else f" on {shorten_device(device)}"
    return EvidenceStep(note=f"cluster {name}{where}", op=name, device=device, trace=current.trace.id)


RULE = Rule("INT604", "jit-by-default", "info", "likely", __doc__ or "", check)
