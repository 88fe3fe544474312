"""The saved facts of one model and its compiled step: all that the analysis needs, and no TensorFlow.

A `Capture` is a plain value. Variables are named by their index in `Capture.variables`, functions and ops by the
names they have in the GraphDef. `Probe` is the one thing that may be alive: it answers questions about single ops
from the FuncGraphs while they exist; `freeze` (in capture/probe.py) turns it into a table that can be saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from introspect.capture.memo import GraphMemo
from introspect.records import Environment, LayerReport, Location, ModelSummary, Source

RECORD_VERSION = 1

Role = Literal["model", "optimizer", "metric", "untracked"]


class Probe(Protocol):
    """Facts of single ops that the GraphDef does not hold. `None` means unknown, never no.

    `function` is "" for the trace's own graph, else a name of the GraphDef's library.
    """

    @property
    def memo(self) -> GraphMemo | None:
        """What an earlier look has made of the graph; None where nothing is kept."""

    def location(self, function: str, node: str) -> Location | None:
        """The user's file and line that made the op."""

    def replayed(self, function: str, node: str) -> bool:
        """Whether a functional model ran the op from its record, so that `location` is only whose call ran the model."""

    def in_loss(self, function: str, node: str) -> bool:
        """Whether the loss that the model was compiled with made the op."""

    def made_by_tape(self, function: str, node: str) -> bool | None:
        """Whether a gradient tape (or tf.gradients) made the op, by the stack that created it."""

    def rank(self, function: str, node: str, output: int) -> int | None:
        """Static rank of an output."""


class VariableNature(NamedTuple):
    """What of a variable decides what a write to it is: nothing that is set between two steps, no flag."""

    role: Role
    shape: tuple[int | None, ...]
    dtype: str
    watched: bool
    seed: bool
    overwrite: bool
    is_metric: bool


@dataclass(frozen=True, slots=True)
class CapturedVariable:
    """One variable that the model, its optimizers, its metrics or the graph holds."""

    path: str
    """Unique in the capture."""
    shape: tuple[int | None, ...]
    dtype: str
    role: Role
    trainable: bool
    """The variable's own flag."""
    expected: bool
    """In `model.trainable_variables` now; for a variable outside of the model, its own flag."""
    watched: bool
    """Whether a GradientTape watches it by itself: the tf.Variable was created trainable."""
    device: str | None
    replicas: tuple[str, ...] = ()
    """Device of each replica's copy; empty where there is one copy."""
    layer: str | None = None
    """Path of the first owning layer."""
    owners: tuple[str, ...] = ()
    """Paths of all owning layers."""
    seed: bool = False
    """State of a random generator."""
    overwrite: bool = False
    """Keras' `overwrite_with_gradient`: the optimizer assigns the gradient itself."""
    creator: Location | None = None
    compiled: bool | None = None
    """Whether it trained by the flags of the last `compile`, which tf_keras keeps; None in Keras 3."""
    asked: bool | None = None
    """In the list that Keras' own `train_step` asks the model for, as it is now; None where it cannot be had."""
    metric: bool = False
    """State of a metric in an attribute, which tf_keras counts among the model's variables."""
    listed: bool = False
    """In `model.trainable_variables` though the model does not track it: the class overrides that list."""

    @property
    def is_metric(self) -> bool:
        """Whether it is the state of a metric, wherever Keras counts it."""
        return self.metric or self.role == "metric"

    @property
    def nature(self) -> VariableNature:
        """What decides what a write to it is."""
        return VariableNature(
            self.role, self.shape, self.dtype, self.watched, self.seed, self.overwrite, self.is_metric
        )


@dataclass(frozen=True, slots=True)
class CapturedSlot:
    """An optimizer variable that belongs to a variable, by the optimizer's own books."""

    variable: int
    slot: int
    name: str


@dataclass(frozen=True, slots=True)
class CapturedOptimizer:
    """One optimizer: the model's own, another that the model holds, or one that only the graph knows."""

    name: str
    class_name: str
    learning_rate: float | str | None
    built: bool
    tracks: tuple[int, ...]
    """Variables in the order that it was built with."""
    variables: tuple[int, ...]
    """All that it owns: slots, iterations, learning rate, accumulators, averages."""
    slots: tuple[CapturedSlot, ...]
    current: bool
    """Whether it is `model.optimizer` now."""
    settings: tuple[tuple[str, str], ...] = ()
    foreign: int = 0
    """How many variables it was built with that are none of the model's."""
    held: bool = True
    """Whether attributes of the model, names of its train step or the caller lead to it; else the graph, or `compile`, knows it."""
    own: bool = False
    """Whether its class is the user's."""
    inner: bool = False
    """Whether another one holds it."""
    attribute: str = ""
    """How the user reaches it from the model, or what a loop's is called: "optimizer", "parts[0]", "optimizer.inner"; else empty."""


@dataclass(frozen=True, slots=True)
class HelperPart:
    """What an object of the user's own holds, which an attribute of a layer leads to and Keras does not look into.

    `name` is free for an attribute of that layer, `code` is Python that reaches the part in the layer's own methods
    ("self.helper.net"), `kind` the object's class.
    """

    layer: str
    name: str
    code: str
    kind: str
    variables: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepCode:
    """How the user's own code reaches its step and its optimizer: "self.train_step".

    Attributes:
        below: (trace, Python) of the tf.functions that the step calls, for each trace that they hold.
    """

    step: str | None
    optimizer: str | None = None
    below: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """A captured input of a trace: placeholder name, the variable it holds, and which replica's copy."""

    placeholder: str
    variable: int
    replica: int = 0


@dataclass(frozen=True, slots=True)
class CapturedTrace:
    """One concrete function that a step can still use."""

    id: str
    caller: str
    signature: str
    graph: bytes
    """Serialized GraphDef with its function library; where `step` is given, a library alone."""
    bindings: tuple[Binding, ...]
    outputs: tuple[str, ...]
    """Names of the tensors that the function returns."""
    current: bool
    source: Source
    jit: bool = False
    tape_scopes: tuple[str, ...] = ("gradient_tape/",)
    """Name prefixes that TensorFlow gives to ops made by a tape, and to nothing else."""
    tape_ops: frozenset[tuple[str, str]] = frozenset()
    """(function, node) of further ops known to be made by a tape."""
    location: Location | None = None
    """The user's line whose call made the trace; None for one that introspect made."""
    step: str = ""
    """The function of the library that is the trace; "" where it is the GraphDef's own nodes."""
    arguments: tuple[str, ...] = ()
    """Placeholders of that function's arguments, by the names they have in the FuncGraph."""
    kept: frozenset[str] = frozenset()
    """Functions below it that are older than the trace itself: a tf.function of the user's had traced them before."""
    fixed: frozenset[str] = frozenset()
    """Placeholders of captured tensors: the same value at each call, but where Python runs the step."""


@dataclass(frozen=True, slots=True)
class FitEndWrite:
    """What `fit` writes in Python after its last step: EMA's `finalize_variable_values`.

    `source` is the average that lands in `target`; misaligned where it is another variable's average.
    """

    target: int
    source: int
    optimizer: str
    averaged: int
    """The variable whose average `source` is; equals `target` where all is well."""


@dataclass(frozen=True, slots=True)
class StepFailure:
    """The next step will raise."""

    kind: Literal[
        "unknown-variable",
        "late-optimizer",
        "late-variables",
        "retrace",
        "xla",
        "xla-open-loop",
        "xla-elsewhere",
        "fit-end",
        "no-average",
        "unused-optimizer",
        "unbuilt-metrics",
        "unbuilt-layer",
        "eager-float8",
        "eager-int8",
        "unfed-steps",
        "unfed-first-call",
        "unfed",
    ]
    message: str
    """What is raised, in one line."""
    variables: tuple[int, ...] = ()
    optimizer: str | None = None
    location: Location | None = None
    beside: tuple[StepFailure, ...] = ()
    """The same of further optimizers, which would raise once this one does not."""

    @property
    def by_xla(self) -> bool:
        """Whether XLA refuses the traced step."""
        return self.kind in ("xla", "xla-open-loop", "xla-elsewhere")

    @property
    def at_end(self) -> bool:
        """Whether all steps of `fit` run first."""
        return self.kind in ("fit-end", "no-average", "unused-optimizer", "unbuilt-metrics", "unbuilt-layer")


@dataclass(frozen=True, slots=True)
class SavedFile:
    """What a model file says about the training before it was saved."""

    path: str
    optimizer_variables: int | None
    """How many arrays the archive holds for the optimizer; None where it holds no optimizer."""
    expected_variables: int | None
    """How many the optimizer has that was built from the flags in the file."""
    trained: tuple[str, ...] | None
    """Paths of the weights that the saved slots belong to, where they can be told."""
    fits: bool
    """Whether the saved optimizer state fits the optimizer built from the flags."""
    named: bool = True
    """Whether the file says which optimizer the state is of; Keras builds its default one where not."""
    own_compile: bool = False
    """Whether the model's class has a `compile` of its own, which left its optimizer without variables at loading."""


@dataclass(frozen=True, slots=True)
class FlagWrite:
    """One recorded assignment of a `trainable` flag, or one compile, in order of `order`."""

    kind: Literal["trainable", "compile", "trace"]
    target: str
    """Path of the layer or variable; the trace's id for trace; "" for compile."""
    value: bool | None
    order: int
    location: Location | None
    effective: bool = True
    """False where the flag had the value already, which Keras 3 takes for no assignment at all."""


@dataclass(frozen=True, slots=True)
class PlacedOp:
    """One op of a trace in the graphs that the executor ran, after placement, Grappler and partitioning."""

    function: str
    """As in `Probe`: "" for the trace's own graph."""
    node: str
    path: str
    """Its name there: the calls, branches and loops around it, then the name."""
    device: str
    cluster: str | None = None
    """Name of the call that XLA compiled as a whole, where it stands in one."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A tensor that is sent from one device to another at each run: the op that made it, and the ends."""

    function: str
    node: str
    source: str
    target: str


@dataclass(frozen=True)
class CapturedPlacement:
    """Where the ops of one trace ran, read from the executed graphs.

    About two thirds of the ops are found; the others were folded, fused or pruned before anything ran.
    """

    trace: str
    """`CapturedTrace.id`."""
    ops: tuple[PlacedOp, ...]
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True)
class TapCall:
    """A call on the way to a function: the op's name, and which of its functions (a branch; 1 for a loop's body)."""

    node: str
    branch: int = 0


@dataclass(frozen=True, slots=True)
class Tap:
    """A value in a trace, by the names of the GraphDef, in one of the places that its function is called from."""

    calls: tuple[TapCall, ...]
    """From the trace's own graph inwards; empty for a value of that graph."""
    function: str
    node: str
    argument: str
    """Name of the op's output list; "" in the trace's own graph."""
    index: int
    """In that list; in the trace's own graph, among all outputs of the op."""


@dataclass(frozen=True, slots=True)
class GradientPoint:
    """Where a variable's gradient can be taken in a trace."""

    variable: int
    ends: tuple[Tap, ...]
    """Last values of the backward pass on the way to the variable."""
    joined: tuple[Tap, ...]
    """Values that only join or reduce these (replicas, all-reduce) and that every way passes, in order."""
    indices: tuple[Tap, ...]
    """The rows that the values belong to, where the gradient is sparse."""
    joined_indices: tuple[Tap, ...]
    reduced: bool
    """Whether gradients of several replicas are reduced on the way."""
    asked: tuple[Tap, ...]
    """What is added to the variable or subtracted from it."""
    scale: float | None = None
    """A constant that the gradient is divided by as it leaves the backward pass: a fixed loss scale."""
    scale_variable: int | None = None
    """The variable that the loss is multiplied by before the backward pass."""


@dataclass(frozen=True)
class StepPlan:
    """What a measurement of one trace looks at; made from the evidence."""

    trace: str
    points: tuple[GradientPoint, ...]
    written: tuple[tuple[int, int], ...]
    """(variable, replica) of all memory that the step writes."""


@dataclass(frozen=True, slots=True)
class MeasuredVariable:
    """Numbers of one variable in one real step on a copy; None where the step does not say."""

    variable: int
    weight_norm: float | None
    update_norm: float | None
    changed: bool | None
    """Whether any element would change."""
    gradient_norm: float | None = None
    """Loss scaling taken out; under a strategy of the gradient summed over the replicas."""
    zero_fraction: float | None = None
    finite: bool | None = None
    asked_norm: float | None = None
    """L2 norm of what the step adds or subtracts, before the variable's dtype rounds the sum; 0 where it ran none."""


@dataclass(frozen=True)
class CapturedMeasure:
    """Numbers of one real step, taken on copies of all that it writes."""

    trace: str
    batch: Literal["given", "invented"]
    rows: tuple[MeasuredVariable, ...]
    loss_scale: float | None = None
    seconds: float = 0.0
    """What the step on the copy took, its first run included."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Python asked for values of tensors while the current trace was made: it is the step's way on one batch."""

    batch: Literal["given", "invented", "none"]
    """`none`: the function takes no tensor, and makes its data itself."""
    asked: tuple[Location, ...]
    """The user's lines that asked, in order."""


@dataclass(frozen=True, slots=True)
class TapeValue:
    """What a tape differentiates, or hands back: a value of the current trace.

    `variables` are those that it was asked for as their gradient.
    """

    function: str
    """"" for the step's own graph."""
    node: str
    argument: str
    """Which of the op's output arguments, by its name."""
    output: int
    """The number in that argument."""
    variables: tuple[int, ...] = ()


@dataclass(frozen=True)
class Asked:
    """For which variables a step that introspect traced asks its tapes, and `tf.gradients`, for gradients.

    Attributes:
        variables: those that are asked for.
        given: those of which a gradient came.
        unsure: those asked for in a function of which it is not known whether the step runs it.
        places: the user's lines that ask.
        answers, targets: of the current trace, where introspect made it; no targets where not all of them are known.
        silent: of the current trace, ops of a `tf.custom_gradient` that was asked and handed no gradient back for an argument;
            None where that is not known.
    """

    variables: frozenset[int]
    given: frozenset[int]
    unsure: frozenset[int] = frozenset()
    places: tuple[Location, ...] = ()
    answers: tuple[TapeValue, ...] = ()
    targets: tuple[TapeValue, ...] = ()
    silent: tuple[TapeValue, ...] | None = None


@dataclass(frozen=True)
class Anew:
    """What a step that is traced now, with the flags as they are, does to the model's variables.

    Attributes:
        trains: those that it writes with their gradient.
        writes: all that it writes, counts and seeds aside.
        aside: variables that the model does not track, and that no value is made of which the step differentiates.
    """

    trains: frozenset[int]
    writes: frozenset[int]
    aside: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class KeptTraces:
    """The user's tf.functions, the outermost first, in whose older traces a step that is traced now does what it does.

    Attributes:
        writers: (variable, traces) of those that it writes.
        tapes: of those that it reads and does not write: the traces that take gradients.
    """

    writers: tuple[tuple[int, tuple[str, ...]], ...] = ()
    tapes: tuple[tuple[int, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a step that is traced now takes from the optimizers, by the attributes that they are reached by.

    Attributes:
        used: those of which it uses variables.
        rates: those with a schedule in whose place it may take the rate from a variable.
    """

    used: frozenset[str]
    rates: frozenset[str]


@dataclass(frozen=True)
class Capture:
    """All facts of one model at one moment."""

    model: ModelSummary
    environment: Environment
    variables: tuple[CapturedVariable, ...]
    """`model.variables` in their order, then untracked ones, then optimizers' and metrics'."""
    layers: tuple[LayerReport, ...]
    optimizers: tuple[CapturedOptimizer, ...]
    traces: tuple[CapturedTrace, ...]
    source: Source
    retraces: bool = False
    """Whether the data given will make Keras trace anew."""
    failure: StepFailure | None = None
    eager_error: str = ""
    """What Keras raises where the step runs eagerly and differentiates a float8 layer that the model holds."""
    eager_clashes: tuple[tuple[str, str], ...] = ()
    """Where the step runs eagerly, (layer path, error): layers whose gradient comes in another type than what went into them."""
    fit_end: tuple[FitEndWrite, ...] = ()
    saved: SavedFile | None = None
    flag_writes: tuple[FlagWrite, ...] = ()
    step_flags: tuple[FlagWrite, ...] = ()
    """Flags that the step itself sets while it is traced, in order; known only where introspect traced it."""
    data_given: bool = False
    fed: frozenset[int] = frozenset()
    """Variables that functions of the data set given use (`map`), or of one that the step holds, outside of the step."""
    feeds: tuple[CapturedTrace, ...] = ()
    """Those functions."""
    timings: tuple[tuple[str, float], ...] = ()
    probes: tuple[Probe | None, ...] = ()
    """One for each trace, while the graphs are alive or after `freeze`."""
    step: int | None = None
    """`optimizer.iterations` now."""
    version: int = RECORD_VERSION
    handles: tuple[tuple[str, str], ...] = ()
    """(layer path, Python that reaches it from the layer that holds it), where an attribute does."""
    shared: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(layer path, paths of the layers that hold it too) of layers that stand below several others."""
    sets_flags: bool = False
    """Whether the code of a layer of the user's own sets flags, in a method that the step may run."""
    odd_flags: tuple[tuple[str, str, bool], ...] = ()
    """(layer path, attribute, value) of attributes that look like a misspelt flag."""
    made_frozen: frozenset[str] = frozenset()
    """Paths of layers that were made with `trainable=False`, as far as Keras keeps that."""
    placements: tuple[CapturedPlacement, ...] = ()
    """Of traces whose executed graph was read."""
    measure: CapturedMeasure | None = None
    """Of the current trace, where one real step was run on a copy."""
    warnings: tuple[str, ...] = ()
    """What could not be done though it was asked for, one line each."""
    followed: Followed | None = None
    """Of the current trace, where the step runs eagerly and could not be traced for all batches."""
    takes_no_layers: str = ""
    """What kind of model it is, where it does not hold a layer that is assigned to an attribute of it."""
    own_lists: tuple[str, ...] = ()
    """`trainable_variables`, `trainable_weights`: those that the model's class overrides."""
    anew: Anew | None = None
    """Of a second step, where the traces that exist do not tell an old flag from what the user's code does."""
    kept: KeptTraces = KeptTraces()
    """Of that second step: older traces of the user's functions that it goes on with."""
    asked: Asked | None = None
    """Of the current trace if introspect made it, else of that second step; None where neither is known to tell all."""
    code: StepCode | None = None
    """Of a loop of the user's own, where the names of the line that called introspect lead to it."""
    renewed: Renewed | None = None
    """What a step that is traced now uses, where one was asked."""
    anew_failure: str = ""
    """Why such a second step cannot be traced, in one line."""
    unread: str = ""
    """Why the step that Keras would compile tells nothing of how the model trains; there are no traces then."""
    helper_parts: tuple[HelperPart, ...] = ()
    """Where variables are held that are to train and that the model does not track."""
