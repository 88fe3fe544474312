"""Python that sets the flags of layers and makes the step anew, as a fix shows it and a trial of it reads it."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from introspect.capture.record import CapturedOptimizer, StepCode
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.records import LayerReport
from introspect.rules._groups import shorten
from introspect.rules._wording import RECOMPILE

OWN_CALLERS = ("fit", "train_on_batch")
"""Callers whose step Keras made."""

MOST_LINES = 3
"""Layers that are frozen line by line; more of them in a loop, where the model itself holds them."""

WIDTH = 96


def is_own_loop(current: TraceEvidence) -> bool:
    """Whether the step is a tf.function of the user's, which no compile makes anew."""
    return current.trace.caller not in OWN_CALLERS


def write_anew(facts: Facts, renew: bool = False) -> str:
    """Code that makes the step anew, if it is needed; with `renew` a loop's optimizer too, which was built without what is to train.

    Among replicas the new optimizer is built before the trace: its variables cannot be made inside of them.
    """
    current = facts.current
    if current is None or not is_own_loop(current):
        return RECOMPILE.splitlines()[0]
    code = facts.capture.code or StepCode(None)
    lines = [write_optimizer(code.optimizer or "optimizer", facts.is_replicated)] if renew else []
    if current.trace.source != "eager":  # else Python asks the flags at each call
        name = name_loop(facts, current)
        lines.append(f"{name} = tf.function({name}.python_function)  # a new one, which has no old trace")
    return "\n".join(lines)


def write_look(facts: Facts, batch: str) -> str:
    """The call that measures the step on a batch."""
    current = facts.current
    if current is None or not is_own_loop(current):
        return f"introspect.inspect(model, data={batch}, measure=True)"
    args = f", args={batch}" if facts.capture.data_given else ""
    return f"introspect.inspect({name_loop(facts, current)}{args}, model=model, measure=True)"


def name_loop(facts: Facts, current: TraceEvidence) -> str:
    """Python for a loop's step; a lambda has no name."""
    own = facts.capture.code.step if facts.capture.code is not None else None
    return own or (current.trace.caller if current.trace.caller.isidentifier() else "step")


def write_recompile(facts: Facts) -> str:
    """Code that compiles the model again. Under a strategy Keras takes no optimizer that was made outside of its scope."""
    if not facts.is_replicated:
        return RECOMPILE
    return RECOMPILE.replace("with a new optimizer:", "with a new optimizer, in model.distribute_strategy.scope():")


def write_optimizer(name: str, replicated: bool) -> str:
    """Code that makes an optimizer anew."""
    made = f"{name} = type({name}).from_config({name}.get_config())  # a new one, which knows"
    if not replicated:
        return f"{made} no variable yet"
    return f"with model.distribute_strategy.scope():\n    {made} these variables\n    {name}.build(model.trainable_variables)"


def write_held(current: TraceEvidence, optimizer: CapturedOptimizer) -> str:
    """Python that reaches an optimizer: "model.optimizer", "model.parts[0]"; of a loop what it is called there."""
    return f"{'' if is_own_loop(current) else 'model.'}{optimizer.attribute or 'optimizer'}"


def write_layer(facts: Facts, path: str) -> str:
    """Python for a layer: `model.get_layer("base").inner`, or `layer` where neither a call nor an attribute finds it."""
    chain = list(facts.tree.ancestors(path))[::-1]
    steps = [write_step(facts, holder, layer) for holder, layer in pairwise(chain)]
    return "".join(["model", *steps]) if chain and all(steps) else "layer"


def write_step(facts: Facts, holder: LayerReport, layer: LayerReport) -> str:
    """Python that reaches a layer from the one that holds it; nothing where none does."""
    asked = holder.parent is None or holder.class_name in ("Functional", "Sequential")
    if asked and layer.path.endswith(f"/{layer.name}"):
        return f".get_layer({quote(layer.name)})"
    return facts.handles.get(layer.path, "")


def quote(text: str) -> str:
    """The text as a string of Python's."""
    return json.dumps(text, ensure_ascii=False)


def write_flag(facts: Facts, path: str, value: bool) -> str:
    """Python that sets a layer's flag."""
    code = write_layer(facts, path)
    return f"{code}.trainable = {value}" + (f"  # {shorten(facts, path)}" if code == "layer" else "")


def write_freeze(facts: Facts, paths: Sequence[str]) -> str:
    """Python that freezes layers, in a loop where they are many."""
    near = [path for path in paths if stands_near(facts, path)] if len(paths) > MOST_LINES else []
    lines = [write_loop([facts.tree.by_path[path].name for path in near])] if len(near) > 1 else []
    far = [path for path in paths if not lines or path not in near]
    return "\n".join([*lines, *(write_flag(facts, path, False) for path in far)])


def stands_near(facts: Facts, path: str) -> bool:
    """Whether the model itself gives the layer by its name."""
    depth = sum(1 for _ in facts.tree.ancestors(path))
    return depth == 2 and write_layer(facts, path).startswith("model.get_layer(")


def write_loop(names: Sequence[str]) -> str:
    line = write_items("for name in (", list(map(quote, names)), "):")
    return f"{line}\n    model.get_layer(name).trainable = False"


def write_items(begin: str, items: Sequence[str], end: str) -> str:
    """Items between brackets, on one line or on several where they are long."""
    inside = ", ".join(items)
    if len(begin) + len(inside) + len(end) <= WIDTH:
        return f"{begin}{inside}{end}"
    parts = textwrap.wrap(inside, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return "\n".join([begin, *(f"    {part}" for part in parts), end])


def find_whole(facts: Facts, indices: Sequence[int]) -> list[str]:
    """The outermost layers below the model of which all variables that are to train are among these.

    Of a layer that holds further ones nothing is said: to freeze it would stop these.
    """
    meant = Counter(path for index in indices for path in facts.layers_around(index))
    whole: dict[str, None] = {}
    root = facts.tree.root.path if facts.tree.root is not None else None
    for index in indices:
        around = [path for path in facts.layers_around(index) if path != root]
        path = next((path for path in around if meant[path] == facts.expected_below[path]), None)
        if path is not None:
            whole[path] = None
    return list(whole)


def find_frozen(facts: Facts, path: str) -> list[str]:
    """The outermost layers below a container that are frozen by their own flag and hold variables."""
    found: list[str] = []
    for below, layer in facts.tree.by_path.items():
        around = [one.path for one in facts.tree.ancestors(below)]
        if path in around[1:] and not layer.trainable and not set(around).intersection(found) and holds(facts, below):
            found.append(below)
    return found


def holds(facts: Facts, path: str) -> bool:
    """Whether a layer, or one below it, has variables."""
    return bool(facts.weights_below[path])
