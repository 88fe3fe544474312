"""The values that a report is made of: frozen, picklable, free of TensorFlow and protobuf.

docs and CONTRACT names are the field names here; `Report.to_dict` and JSON carry exactly these.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import Any, Literal, NewType

SCHEMA = 1

Path = NewType("Path", str)
Updated = Literal["yes", "no", "some", "unknown"]
GradientKind = Literal["dense", "sparse", "none", "unknown"]
WriteKind = Literal[
    "gradient",
    "statistics",
    "decay",
    "average",
    "accumulate",
    "constraint",
    "state",
    "initial",
    "other",
]
Severity = Literal["error", "warning", "info"]
Certainty = Literal["proven", "likely"]
Source = Literal["compiled", "traced", "eager"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's own code (framework frames skipped)."""

    file: str
    line: int
    function: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Write:
    """One operation of the step that writes a variable."""

    kind: WriteKind
    op: str | None
    """Name of the op in its function's graph; None for a write that `fit` makes in Python."""
    op_type: str | None
    device: str | None
    """Where the variable lives, and so where the op runs, by TensorFlow's rule for resource ops."""
    placed: str | None
    """Device read from the executed graph; None where it was not read."""
    conditional: bool
    """Whether the op stands in a branch, so that not each step runs it."""
    trace: str | None
    """`TraceReport.id`."""
    function: str | None
    """The function of the graph that holds the op; "fit end"; or "Dataset.map", of what feeds the step."""
    location: Location | None


@dataclass(frozen=True, slots=True)
class SlotReport:
    """An optimizer variable that belongs to one variable of the model."""

    name: str
    """As the optimizer names it: momentum, velocity, …"""
    path: str
    updated: Updated
    device: str | None
    placed: str | None


@dataclass(frozen=True, slots=True)
class Measured:
    """Numbers of one real step on one batch, taken without side effect."""

    gradient_norm: float | None
    """L2 norm of the gradient, loss scaling taken out; of the first where one step updates the variable several times."""
    update_norm: float | None
    """L2 norm of the change that the step would make."""
    weight_norm: float | None
    zero_fraction: float | None
    """Share of the gradient's elements that are exactly 0, from 0 to 1."""
    finite: bool | None
    resolved: bool | None
    """Whether the dtype resolves the update: at least one element would change."""
    placed: str | None


@dataclass(frozen=True, slots=True)
class VariableReport:
    """What one variable is said to do, and what the compiled step does to it."""

    path: str
    shape: tuple[int | None, ...]
    dtype: str
    layer: str | None
    """Path of the owning layer."""
    device: str | None
    trainable: bool
    expected: bool
    updated: Updated
    gradient: GradientKind
    writes: tuple[Write, ...] = ()
    reason: str | None = None
    optimizer: str | None = None
    slots: tuple[SlotReport, ...] = ()
    gradient_device: str | None = None
    measured: Measured | None = None
    findings: tuple[str, ...] = ()
    tracked: bool = True
    """Whether `model.variables` holds it."""
    decided_by: str | None = None
    """Who decides `expected`: the path of the variable, of its layer, or of a container."""
    replicas: tuple[str, ...] = ()
    """Device of each replica's copy, under a distribution strategy."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer of the tree; `path` is unique, `parent` is another layer's path."""

    path: str
    name: str
    class_name: str
    parent: str | None
    trainable: bool
    built: bool = True
    variables: tuple[str, ...] = ()
    """Paths of the variables that this layer itself owns."""


@dataclass(frozen=True, slots=True)
class OptimizerReport:
    """One optimizer that the step uses or the model holds."""

    name: str
    class_name: str
    learning_rate: float | str | None
    """A number, or the schedule's class name."""
    tracks: tuple[str, ...]
    """Paths of the variables that it was built with."""
    built: bool
    settings: tuple[tuple[str, str], ...] = ()
    """use_ema, weight_decay, clipnorm, gradient_accumulation_steps … where they are set."""


@dataclass(frozen=True, slots=True)
class TraceReport:
    """One concrete function that a step can still use."""

    id: str
    signature: str
    nodes: int
    functions: int
    updated: tuple[str, ...]
    current: bool
    source: Source = "compiled"
    caller: str = "fit"
    """Who calls it: fit, train_on_batch, or the name of a function of the user's."""
    jit: bool = False
    location: Location | None = None
    """The user's line whose call made it; None for a trace that introspect made."""


@dataclass(frozen=True, slots=True)
class EvidenceStep:
    """One op on the way that proves a finding."""

    note: str
    op: str | None = None
    op_type: str | None = None
    device: str | None = None
    layer: str | None = None
    location: Location | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class FixResult:
    """What a step built with the fix on an isolated copy would train."""

    trains: tuple[str, ...]
    still_not: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class FixTrial(FixResult):
    """One of the things that a fix proposes, as a copy of the step showed it."""

    code: str
    """That part of the fix, with the comment lines that belong to it."""
    verified: bool
    """Whether it mends the finding."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement between what is said and what is."""

    rule: str
    name: str
    severity: Severity
    certainty: Certainty
    variables: tuple[str, ...]
    layers: tuple[str, ...]
    message: str
    cause: str
    fix: str
    evidence: tuple[EvidenceStep, ...] = ()
    verified: bool = False
    """Whether what the fix proposes first mends the finding on a copy."""
    fix_result: FixResult | None = None
    """What a copy showed of that; of the step made anew as it is, where the code has to change first."""
    trials: tuple[FixTrial, ...] = ()
    """Each proposal of the fix that could be tried, in its order."""


@dataclass(frozen=True, slots=True)
class FlowNode:
    """One node of the layer-level drawing of the step: a layer, an op outside all layers, the loss."""

    id: int
    label: str
    kind: Literal["input", "layer", "op", "cut", "loss"]
    layer: str | None = None
    op: str | None = None
    op_type: str | None = None
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """How values go from the variables' layers to the loss in the current trace.

    `edges` are (from node id, to node id, differentiable) in the direction of the forward pass.
    """

    nodes: tuple[FlowNode, ...] = ()
    edges: tuple[tuple[int, int, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """Versions and devices that the report was made with."""

    introspect: str
    tensorflow: str | None
    keras: str | None
    python: str
    devices: tuple[str, ...]
    strategy: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The model as a whole."""

    name: str
    class_name: str
    keras: Literal["keras", "tf_keras", "none"]
    trainable: bool
    compiled: bool
    run_eagerly: bool
    jit_compile: bool
    steps_per_execution: int
    file: str | None = None
    custom_train_step: bool = False
    """Whether the class overrides `train_step`."""


@dataclass(frozen=True, repr=False)
class Report:
    """All that one inspection found; the same object behind every outlet.

    Raises nothing on attribute access; `variable()` raises KeyError for an unknown path.
    """

    model: ModelSummary
    source: Source
    findings: tuple[Finding, ...]
    variables: tuple[VariableReport, ...]
    layers: tuple[LayerReport, ...]
    optimizers: tuple[OptimizerReport, ...]
    traces: tuple[TraceReport, ...]
    environment: Environment
    timings: tuple[tuple[str, float], ...] = ()
    """Seconds for each stage, in order."""
    flow: Flow = field(default_factory=Flow)
    reason: str | None = None
    """Why this report was made, where a callback made it: first trace, flag changed, recompiled, …"""
    step: int | None = None
    """`optimizer.iterations` when it was made, where that is known."""
    created: float = 0.0
    """Seconds since the epoch."""

    @property
    def ok(self) -> bool:
        """No finding of severity error or warning."""
        return all(f.severity == "info" for f in self.findings)

    def variable(self, path: str) -> VariableReport:
        """The row of one variable.

        Raises:
            KeyError: no variable has this path; the message names the nearest ones.
        """
        for row in self.variables:
            if row.path == path:
                return row
        import difflib

        near = difflib.get_close_matches(path, [row.path for row in self.variables], n=3)
        raise KeyError(f"no variable {path!r} in the report" + (f"; near: {', '.join(near)}" if near else ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists with the field names of these classes, `schema` on top."""
        plain = to_plain(self)
        return {"schema": SCHEMA, "ok": self.ok, **plain, "timings": dict(self.timings)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report in the format that the file's ending names: .txt .json .html .sarif .pb.

        Raises:
            IntrospectError: the ending names no format, or the file cannot be written.
        """
        from introspect.outlets import save_report

        save_report(self, path)

    def diff(self, earlier: Report) -> ReportDiff:
        """What changed from `earlier` to this report."""
        from introspect.report.diff import diff_reports

        return diff_reports(earlier, self)

    def __str__(self) -> str:
        from introspect.outlets import render_text

        return render_text(self)

    def __repr__(self) -> str:
        from introspect.outlets import render_brief

        return render_brief(self)

    def _repr_html_(self) -> str:
        from introspect.outlets import render_notebook

        return render_notebook(self)


@dataclass(frozen=True, slots=True)
class Change:
    """One variable's value of one field, before and after."""

    variable: str
    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ReportDiff:
    """What changed between two reports; empty when nothing did."""

    changes: tuple[Change, ...]
    findings_added: tuple[Finding, ...]
    findings_removed: tuple[Finding, ...]
    variables_added: tuple[str, ...]
    variables_removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in dataclasses.fields(self))

    def __str__(self) -> str:
        from introspect.outlets import render_diff

        return render_diff(self)


def to_plain(value: Any) -> Any:
    """Frozen records to dicts and lists, floats and strings left as they are."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value
