"""What a random training is: a model, an optimizer, settings, and a history of what is done to it. Plain values."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

KINDS = (
    "dense",
    "batchnorm",
    "layernorm",
    "dropout",
    "prelu",
    "nested",
    "residual",
    "shared",
    "stopped",
    "rounded",
    "chosen",
    "unused",
    "spectral",
    "lora",
    "recurrent",
    "attention",
    "embedding",
    "convolution",
    "tied",
    "branch",
    "own",
    "cut",
    "reversed",
    "bidirectional",
    "each",
    "groupnorm",
    "activity",
    "shared norm",
)
QUICK = ("dense", "batchnorm", "dropout", "own", "shared", "stopped", "unused", "tied")
"""Kinds that trace quickly, so that more histories are played in the same time."""
OPTIMIZERS = (
    "SGD",
    "Momentum",
    "Adam",
    "AdamW",
    "RMSprop",
    "Adagrad",
    "Adafactor",
    "Ftrl",
    "Lion",
    "Lamb",
    "Nadam",
    "Muon",
    "Adadelta",
    "Adamax",
    "ScheduleFreeAdamW",
    "Nesterov",
    "Amsgrad",
    "Centered",
    "Multi",
    "legacy Adam",
    "legacy SGD",
    "legacy RMSprop",
)
"""What one of the two Keras lacks is Adam there."""
SETTINGS = (
    "plain",
    "decay",
    "clipnorm",
    "clipvalue",
    "global_clipnorm",
    "ema",
    "ema end",
    "accumulation",
    "schedule",
    "scaled",
)
POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
SHAPES = ("functional", "sequential", "subclassed")
STEPS = ("own", "super", "plain", "scratch", "by hand", "two optimizers", "penalty", "kept")
HEADS = ("two", "weighted", "zero", "silent")
"""What a second output's loss is: as much as the first, less, nothing, or there is none."""


@dataclass(frozen=True)
class Part:
    """One layer: its kind, and whether it is made frozen."""

    kind: str
    frozen: bool = False
    regularized: bool = False


@dataclass(frozen=True)
class Act:
    """One thing that is done: a name, which layer or how many rows it is about, and a flag."""

    name: str
    number: int = 0
    flag: bool = False


@dataclass(frozen=True)
class Plan:
    """A whole training."""

    parts: tuple[Part, ...]
    optimizer: str = "SGD"
    setting: str = "plain"
    more: str = "plain"
    """A second setting beside the first."""
    step: str = "plain"
    policy: str = "float32"
    shape: str = "functional"
    compile: dict[str, Any] = field(default_factory=dict)
    acts: tuple[Act, ...] = ()
    rows: int = 4
    fixed: bool = False
    """Whether the last fit's batches have a static size."""
    weighted: bool = False
    arrays: bool = False
    """Whether the last fit is given numpy arrays."""
    loop: bool = False
    """Whether a tf.function of one's own is asked about in place of fit."""
    heads: str = "one"
    keras: int = 3


PARTS = st.builds(Part, st.sampled_from(KINDS), st.booleans(), st.booleans())
ACTS = st.one_of(
    st.builds(Act, st.just("layer"), st.integers(0, 4), st.booleans()),
    st.builds(Act, st.just("layer"), st.integers(0, 4), st.booleans()),
    st.builds(Act, st.just("variable"), st.integers(0, 9), st.booleans()),
    st.builds(Act, st.just("inner"), st.integers(0, 9), st.booleans()),
    st.builds(Act, st.just("root"), flag=st.booleans()),
    st.builds(Act, st.just("fit"), st.sampled_from((2, 3, 4)), st.booleans()),
    st.builds(Act, st.just("fit"), st.sampled_from((2, 3, 4)), st.booleans()),
    st.builds(Act, st.just("fit weighted"), st.sampled_from((3, 4)), st.booleans()),
    st.builds(Act, st.just("fit arrays"), st.sampled_from((3, 32))),
    st.builds(Act, st.just("batch"), st.sampled_from((2, 3, 4)), st.booleans()),
    st.builds(Act, st.just("compile"), flag=st.booleans()),
    st.just(Act("evaluate")),
    st.just(Act("predict")),
    st.just(Act("save")),
    st.just(Act("force")),
    st.just(Act("eager")),
    st.just(Act("recompile")),
    st.just(Act("clone")),
    st.just(Act("rate")),
    st.just(Act("build")),
    st.just(Act("assign")),
    st.just(Act("head")),
    st.builds(Act, st.just("lora"), st.integers(0, 4)),
    st.builds(Act, st.just("quantize"), st.integers(0, 4), st.booleans()),
    st.builds(Act, st.just("callback"), st.integers(0, 9), st.booleans()),
    st.builds(Act, st.just("watched"), st.sampled_from((2, 3, 4)), st.booleans()),
    st.builds(Act, st.just("look"), flag=st.booleans()),
    st.builds(Act, st.just("half"), st.integers(0, 4), st.booleans()),
    st.builds(Act, st.just("loop"), st.sampled_from((2, 3, 4))),
)
COMPILE = st.fixed_dictionaries(
    {},
    optional={
        "jit_compile": st.sampled_from((False, False, True)),
        "steps_per_execution": st.sampled_from((1, 2, 4)),
        "run_eagerly": st.sampled_from((False, False, False, True)),
        "metrics": st.just(["mae"]),
        "weighted_metrics": st.just(["mse"]),
    },
)
PLANS = st.builds(
    Plan,
    parts=st.lists(PARTS, min_size=1, max_size=4).map(tuple),
    optimizer=st.sampled_from(OPTIMIZERS),
    setting=st.sampled_from(("plain", *SETTINGS)),
    more=st.sampled_from(("plain", "plain", *SETTINGS)),
    step=st.sampled_from(("plain", "plain", "plain", *STEPS)),
    policy=st.sampled_from(("float32", "float32", *POLICIES)),
    shape=st.sampled_from(SHAPES),
    compile=COMPILE,
    acts=st.lists(ACTS, max_size=6).map(tuple),
    rows=st.sampled_from((2, 3, 4)),
    fixed=st.booleans(),
    weighted=st.sampled_from((False, False, True)),
    arrays=st.sampled_from((False, False, True)),
    loop=st.sampled_from((False, False, False, True)),
    heads=st.sampled_from(("one", "one", "one", *HEADS)),
    keras=st.sampled_from((3, 3, 2)),
)


def draw_plan(seed: int) -> Plan:
    """A plan drawn evenly, for long runs: hypothesis prefers small and repeated ones."""
    dice = random.Random(seed)
    compile_arguments: dict[str, Any] = {}
    if dice.random() < 0.08:  # XLA is most of a plan's time
        compile_arguments["jit_compile"] = True
    if dice.random() < 0.25:
        compile_arguments["steps_per_execution"] = dice.choice((2, 2, 4))
    if dice.random() < 0.15:
        compile_arguments["run_eagerly"] = True
    if dice.random() < 0.2:
        compile_arguments["metrics"] = ["mae"]
    kinds, most = (KINDS, 4) if dice.random() < 0.5 else (QUICK, 2)
    return Plan(
        parts=tuple(
            Part(dice.choice(kinds), dice.random() < 0.3, dice.random() < 0.25) for _ in range(dice.randint(1, most))
        ),
        optimizer=dice.choice(OPTIMIZERS),
        setting=dice.choice(("plain", "plain", *SETTINGS)),
        more=dice.choice(SETTINGS) if dice.random() < 0.3 else "plain",
        policy=dice.choice(POLICIES) if dice.random() < 0.3 else "float32",
        shape=dice.choice(SHAPES) if dice.random() < 0.5 else "functional",
        arrays=dice.random() < 0.2,
        loop=dice.random() < 0.15,
        step=dice.choice(("plain", "plain", "plain", *STEPS)),
        compile=compile_arguments,
        acts=tuple(_draw_act(dice) for _ in range(dice.randint(0, 7))),
        rows=dice.choice((2, 3, 4)),
        fixed=dice.random() < 0.5,
        weighted=dice.random() < 0.25,
        heads=dice.choice(HEADS) if dice.random() < 0.2 else "one",
        keras=2 if dice.random() < 0.35 else 3,
    )


def _draw_act(dice: random.Random) -> Act:
    names = ("layer", "layer", "layer", "variable", "inner", "root", "fit", "fit", "fit", "fit weighted", "fit arrays")
    rare = ("evaluate", "predict", "save", "force", "eager", "recompile", "clone", "rate", "lora", "loop", "loop")
    late = ("build", "assign", "head", "quantize", "callback", "watched", "look", "half")
    name = dice.choice((*names, *names, "batch", "batch", "batch", "compile", "compile", "compile", *rare, *late))
    rows = name in ("fit", "fit weighted", "fit arrays", "batch", "loop", "watched")
    return Act(
        name,
        dice.choice((2, 3, 4, 32 if name == "fit arrays" else 4)) if rows else dice.randrange(10),
        dice.random() < 0.5,
    )


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """A smaller plan that fails too: acts and parts left out, settings made plain, as long as it goes on failing."""
    changed = True
    while changed:
        changed = False
        for smaller in _list_smaller(plan):
            if fails(smaller):
                plan, changed = smaller, True
                break
    return plan


def _list_smaller(plan: Plan) -> Iterator[Plan]:
    for place in range(len(plan.acts)):
        yield replace(plan, acts=plan.acts[:place] + plan.acts[place + 1 :])
    for place in range(len(plan.parts)):
        if len(plan.parts) > 1:
            yield replace(plan, parts=plan.parts[:place] + plan.parts[place + 1 :])
    for place, part in enumerate(plan.parts):
        for simple in (Part("dense", part.frozen), replace(part, frozen=False), replace(part, regularized=False)):
            if simple != part:
                yield replace(plan, parts=(*plan.parts[:place], simple, *plan.parts[place + 1 :]))
    for key in plan.compile:
        yield replace(plan, compile={k: v for k, v in plan.compile.items() if k != key})
    plain = Plan(plan.parts)
    names = ("optimizer", "setting", "more", "step", "policy", "shape", "fixed", "weighted", "arrays", "loop")
    for name in (*names, "heads", "keras"):
        if getattr(plan, name) != getattr(plain, name):
            yield replace(plan, **{name: getattr(plain, name)})
