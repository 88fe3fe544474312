"""Training steps written as text, with what must be found in each: no TensorFlow is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.record import Binding, Capture, CapturedTrace, CapturedVariable
from introspect.graph.text import parse_text
from introspect.records import Environment, LayerReport, ModelSummary


@dataclass(frozen=True)
class Step:
    """A step and the truth about it.

    Attributes:
        text: the graph; a placeholder with the path of a variable is its handle.
        truth: `{path: (gradient, kinds of its writes)}`.
        roles: of variables that are not the model's trained ones: "frozen", "state", "optimizer", "metric", "seed".
    """

    text: str
    truth: Mapping[str, tuple[str, set[str]]]
    roles: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("loss:0",)


def make_variable(path: str, role: str, shape: tuple[int, ...] = (2, 2)) -> CapturedVariable:
    """One row; `role` as in `Step.roles`, or "trained"."""
    own = role in ("trained", "frozen", "state", "seed")
    return CapturedVariable(
        path=path,
        shape=() if role in ("metric", "seed") else shape,
        dtype="float32",
        role="model" if own else role,  # type: ignore[arg-type]
        trainable=role == "trained",
        expected=role == "trained",
        watched=role in ("trained", "frozen"),
        device=None,
        layer="net" if own else None,
        owners=("net",) if own else (),
        seed=role == "seed",
    )


def make_capture(step: Step, graph: bytes | None = None, outputs: Sequence[str] | None = None, **trace: Any) -> Capture:
    """A capture with one trace; `graph` and `outputs` in the place of the step's own."""
    names = [*step.truth, *(name for name in step.roles if name not in step.truth)]
    variables = tuple(make_variable(name, step.roles.get(name, "trained")) for name in names)
    bindings = trace.pop("bindings", None) or tuple(Binding(name, index) for index, name in enumerate(names))
    captured = CapturedTrace(
        id="fit/1",
        caller="fit",
        signature="",
        graph=parse_text(step.text) if graph is None else graph,
        bindings=bindings,
        outputs=tuple(step.outputs if outputs is None else outputs),
        current=True,
        source="compiled",
        **trace,
    )
    summary = ModelSummary("net", "Net", "keras", True, True, False, False, 1)
    environment = Environment("0", None, None, "3", ())
    layers = (LayerReport("net", "net", "Net", None, True, True, tuple(names)),)
    return Capture(summary, environment, variables, layers, (), (captured,), "compiled")


_FORWARD = """
    w = Placeholder() dtype=resource
    x = Placeholder() dtype=float
    y = Placeholder() dtype=float
    axes = Const()
    read = ReadVariableOp(w)
    out = MatMul(x, read)
    diff = Sub(out, y)
    square = Square(diff)
    loss = Mean(square, axes)
    seed = Const()
    gradient_tape/tile = Tile(seed, axes)
    gradient_tape/mul = Mul(gradient_tape/tile, diff)
    gradient_tape/matmul = MatMul(x, gradient_tape/mul) transpose_a=true
"""

PLAIN = Step(
    _FORWARD
    + """
    rate = Const()
    scaled = Mul(rate, gradient_tape/matmul)
    update = AssignSubVariableOp(w, scaled)
    """,
    {"w": ("dense", {"gradient"})},
)

FROZEN = Step(
    """
    w = Placeholder() dtype=resource
    x = Placeholder() dtype=float
    read = ReadVariableOp(w)
    loss = MatMul(x, read)
    """,
    {"w": ("none", set())},
    {"w": "frozen"},
)

ADAM = Step(
    _FORWARD
    + """
    m = Placeholder() dtype=resource
    v = Placeholder() dtype=resource
    steps = Placeholder() dtype=resource
    rate = Const()
    beta = Const()
    one = Const()
    m_read = ReadVariableOp(m)
    m_diff = Sub(gradient_tape/matmul, m_read)
    m_part = Mul(m_diff, beta)
    m_update = AssignAddVariableOp(m, m_part)
    v_read = ReadVariableOp(v)
    v_square = Square(gradient_tape/matmul)
    v_diff = Sub(v_square, v_read)
    v_part = Mul(v_diff, beta)
    v_update = AssignAddVariableOp(v, v_part)
    m_new = ReadVariableOp(m, ^m_update)
    v_new = ReadVariableOp(v, ^v_update)
    root = Sqrt(v_new)
    whole = RealDiv(m_new, root)
    scaled = Mul(whole, rate)
    update = AssignSubVariableOp(w, scaled)
    count = AssignAddVariableOp(steps, one, ^update)
    """,
    {
        "w": ("dense", {"gradient"}),
        "m": ("none", {"accumulate"}),
        "v": ("none", {"accumulate"}),
        "steps": ("none", {"state"}),
    },
    {"m": "optimizer", "v": "optimizer", "steps": "optimizer"},
)

DECAYED = Step(
    """
    w = Placeholder() dtype=resource
    x = Placeholder() dtype=float
    read = ReadVariableOp(w)
    loss = MatMul(x, read)
    rate = Const()
    again = ReadVariableOp(w)
    part = Mul(again, rate)
    update = AssignSubVariableOp(w, part)
    """,
    {"w": ("none", {"decay"})},
)

STATISTICS = Step(
    _FORWARD
    + """
    mean = Placeholder() dtype=resource
    momentum = Const()
    mean_read = ReadVariableOp(mean)
    batch = Mean(x, axes)
    change = Sub(mean_read, batch)
    part = Mul(change, momentum)
    mean_update = AssignSubVariableOp(mean, part)
    update = AssignSubVariableOp(w, gradient_tape/matmul)
    """,
    {"w": ("dense", {"gradient"}), "mean": ("none", {"statistics"})},
    {"mean": "state"},
)

TARGET = Step(
    _FORWARD
    + """
    slow = Placeholder() dtype=resource
    tau = Const()
    update = AssignSubVariableOp(w, gradient_tape/matmul)
    fast = ReadVariableOp(w, ^update)
    old = ReadVariableOp(slow)
    change = Sub(fast, old)
    part = Mul(change, tau)
    follow = AssignAddVariableOp(slow, part)
    """,
    {"w": ("dense", {"gradient"}), "slow": ("none", {"average"})},
    {"slow": "frozen"},
)

CLIPPED = Step(
    _FORWARD.replace("loss =", "part_loss =")
    + """
    u = Placeholder() dtype=resource
    u_read = ReadVariableOp(u)
    loss = AddV2(part_loss, u_read)
    gradient_tape/sum = Sum(gradient_tape/tile, axes)
    l2 = L2Loss(gradient_tape/matmul)
    l2u = L2Loss(gradient_tape/sum)
    total = AddN(l2, l2u)
    norm = Sqrt(total)
    w_part = RealDiv(gradient_tape/matmul, norm)
    u_part = RealDiv(gradient_tape/sum, norm)
    w_update = AssignSubVariableOp(w, w_part)
    u_update = AssignSubVariableOp(u, u_part)
    """,
    {"w": ("dense", {"gradient"}), "u": ("dense", {"gradient"})},
)

SPARSE = Step(
    """
    table = Placeholder() dtype=resource
    x = Placeholder() dtype=int32
    axes = Const()
    rows = ResourceGather(table, x)
    square = Square(rows)
    loss = Mean(square, axes)
    seed = Const()
    gradient_tape/tile = Tile(seed, axes)
    gradient_tape/mul = Mul(gradient_tape/tile, rows)
    rate = Const()
    scaled = Mul(gradient_tape/mul, rate)
    update = ResourceScatterSub(table, x, scaled)
    """,
    {"table": ("sparse", {"gradient"})},
)

BRANCH = Step(
    _FORWARD
    + """
    finite = IsFinite(gradient_tape/matmul)
    all = All(finite, axes)
    choice = If(all, w, gradient_tape/matmul) then_branch=@apply else_branch=@skip

    def apply(w, g) -> ok=done:output:0
        rate = Const()
        scaled = Mul(g, rate:output:0)
        update = AssignSubVariableOp(w, scaled:z:0)
        done = Const(^update)

    def skip(w, g) -> ok=done:output:0
        done = Const()
    """,
    {"w": ("dense", {"gradient"})},
)

LOOP = Step(
    """
    w = Placeholder() dtype=resource
    x = Placeholder() dtype=float
    zero = Const()
    turns = While(zero, w, x) cond=@more body=@once
    loss = Identity(turns)

    def more(i, w, x) -> go=less:z:0
        limit = Const()
        less = Less(i, limit:output:0)

    def once(i, w, x) -> i=next:z:0, w=w, x=x
        one = Const()
        axes = Const()
        next = AddV2(i, one:output:0)
        read = ReadVariableOp(w)
        out = MatMul(x, read:value:0)
        square = Square(out:product:0)
        value = Mean(square:y:0, axes:output:0)
        seed = Const()
        gradient_tape/mul = Mul(seed:output:0, out:product:0)
        gradient_tape/matmul = MatMul(x, gradient_tape/mul:z:0)
        update = AssignSubVariableOp(w, gradient_tape/matmul:product:0)
    """,
    {"w": ("dense", {"gradient"})},
    outputs=("loss:0",),
)

CALLED = Step(
    """
    w = Placeholder() dtype=resource
    u = Placeholder() dtype=resource
    x = Placeholder() dtype=float
    call = StatefulPartitionedCall(x, w, u) f=@one_step
    loss = Identity(call)

    def one_step(x, w, u) -> loss=forward:output:0
        forward = StatefulPartitionedCall(x, w, u) f=@forward_pass
        seed = Const()
        gradient_tape/back = PartitionedCall(seed:output:0, x) f=@backward_pass
        rate = Const()
        scaled = Mul(gradient_tape/back:output:0, rate:output:0)
        update = AssignSubVariableOp(w, scaled:z:0)

    def forward_pass(x, w, u) -> loss=value:output:0
        read = ReadVariableOp(w)
        other = ReadVariableOp(u)
        out = MatMul(x, read:value:0)
        sum = AddV2(out:product:0, other:value:0)
        axes = Const()
        value = Mean(sum:z:0, axes:output:0)

    def backward_pass(seed, x) -> g=product:product:0
        product = MatMul(x, seed)
    """,
    {"w": ("dense", {"gradient"}), "u": ("none", set())},
    {"u": "frozen"},
)

REDUCED = Step(
    _FORWARD.replace("loss =", "part_loss =")
    + """
    u = Placeholder() dtype=resource
    u_read = ReadVariableOp(u)
    loss = AddV2(part_loss, u_read)
    gradient_tape/sum = Sum(gradient_tape/tile, axes)
    reduced = IdentityN(gradient_tape/matmul, y)
    w_update = AssignSubVariableOp(w, reduced)
    u_update = AssignSubVariableOp(u, reduced:1)
    """,
    {"w": ("dense", {"gradient"}), "u": ("none", {"statistics"})},
)
"""Output i of an IdentityN depends on input i alone: u is written from the data, not from a gradient."""

DELAYED = Step(
    _FORWARD
    + """
    old = Placeholder() dtype=resource
    older = Placeholder() dtype=resource
    oldest = Placeholder() dtype=resource
    last = ReadVariableOp(oldest)
    update = AssignSubVariableOp(w, last)
    second = ReadVariableOp(older)
    third_kept = AssignVariableOp(oldest, second, ^last)
    first = ReadVariableOp(old)
    second_kept = AssignVariableOp(older, first, ^second)
    first_kept = AssignVariableOp(old, gradient_tape/matmul, ^first)
    """,
    {
        "w": ("dense", {"gradient"}),
        **{name: ("none", {"accumulate"}) for name in ("old", "older", "oldest")},
    },
    dict.fromkeys(("old", "older", "oldest"), "optimizer"),
)
"""A gradient of three steps ago: each memory is read before it is written."""

STEPS: dict[str, Step] = {
    "plain": PLAIN,
    "frozen": FROZEN,
    "adam": ADAM,
    "decayed": DECAYED,
    "statistics": STATISTICS,
    "target": TARGET,
    "clipped": CLIPPED,
    "sparse": SPARSE,
    "branch": BRANCH,
    "loop": LOOP,
    "called": CALLED,
    "reduced": REDUCED,
    "delayed": DELAYED,
}
