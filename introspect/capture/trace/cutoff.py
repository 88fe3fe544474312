"""Why no variable at all gets a gradient: which ops stand between the weights and what a tape was asked to differentiate.

Keras refuses such a step while it is traced, so that there is no graph of a step to reason on, only the forward pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from introspect.capture.probe import LiveProbe
from introspect.capture.trace.tapes import Question
from introspect.errors import StepError

NO_GRADIENTS = "No gradients provided for any variable"
ADVICE = "keep the forward pass inside the GradientTape, and let the loss depend on what it gives"
NO_SLOPE = frozenset({"ArgMax", "ArgMin", "Ceil", "Floor", "FloorDiv", "Rint", "Round", "PreventGradient"})
"""Ops whose registered gradient always is None. Seen on TensorFlow 2.19 to 2.21."""
OF_SHAPE = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
"""Ops that ask a tensor for its shape alone."""
MOST_NAMED = 3


def tell_no_gradients(error: Exception) -> str:
    """What an error says and what to do, where it says that no variable gets a gradient; "" of any other."""
    return f"{type(error).__name__}: {NO_GRADIENTS}; {ADVICE}" if NO_GRADIENTS in str(error) else ""


@contextmanager
def name_cutoff(questions: Sequence[Question]) -> Iterator[None]:
    """Tell a StepError of a step without gradients by the op that cuts them, where the forward pass shows it.

    Args:
        questions: what tapes were asked meanwhile.
    """
    try:
        yield
    except StepError as error:
        said = str(error)
        found = explain_cutoff(questions) if ADVICE in said else ""
        if not found:
            raise
        raise StepError(said.replace(ADVICE, found)) from error.__cause__


def explain_cutoff(questions: Sequence[Question]) -> str:
    """What cuts every way to the loss and what to do; "" where the graph does not show it."""
    if not questions or any(answer is not None for question in questions for answer in question.given):
        return ""
    question = questions[-1]
    targets = [target for target in question.targets if getattr(target, "graph", None) is question.graph]
    if not targets or len(targets) < len(question.targets):
        return ""
    probe = LiveProbe(question.graph)
    cuts = find_cuts(question.graph, targets, find_handles(question))
    if cuts is None:
        return ""
    if not cuts:
        where = place_op(probe, targets[0].op)
        made = f"the loss{f' ({where})' if where else ''} is not made of what the trainable variables give"
        return f"{made}; let it use the model's output, as a tensor and not as numpy"
    named = dict.fromkeys(f"{op.type} ({place_op(probe, op) or op.name})" for op in cuts)
    return (
        f"every way from the trainable variables to the loss is cut, by {', '.join([*named][:MOST_NAMED])}, where TensorFlow "
        "has no gradient; use ops that have one (softmax or sigmoid for a choice or a threshold, no rounding, no stop_gradient)"
    )


def place_op(probe: LiveProbe, op: Any) -> str:
    """`train.py:12`, the user's line that made the op; "" where none did."""
    location = probe.describe(op).location
    return f"{os.path.basename(location.file)}:{location.line}" if location is not None else ""


def find_handles(question: Question) -> set[int]:
    """Identities of the tensors that stand for the sources in the question's graph, handed on from graph to graph."""
    known = {id(getattr(source, "handle", source)) for source in question.sources}
    chain, graph = [], question.graph
    while graph is not None and hasattr(graph, "captures"):
        chain.append(graph)
        graph = graph.outer_graph
    for graph in reversed(chain):
        known.update(id(inside) for outside, inside in graph.captures if id(outside) in known)
    return known


def find_cuts(graph: Any, targets: Sequence[Any], handles: set[int]) -> list[Any] | None:
    """Ops without gradient that take what was made of the sources, on the way to the targets, in the graph's order.

    Empty where the targets are made of nothing else; None where that cannot be said: a way is open, a function is called
    or floats come from an outer graph.
    """
    needed = collect_needed(targets)
    outer = {id(inside) for _, inside in graph.captures if carries(inside)}
    alive, cuts = set(handles), list[Any]()
    for op in graph.get_operations():
        used = [tensor for tensor in op.outputs if id(tensor) in needed]
        if any(id(tensor) in outer for tensor in used):
            return None
        if not used or op.type in OF_SHAPE or not any(id(tensor) in alive for tensor in op.inputs):
            continue
        passes = has_gradient(op)
        if passes is None:
            return None
        carried = {id(tensor) for tensor in used if passes and carries(tensor)}
        alive |= carried
        if len(carried) < len(used):
            cuts.append(op)
    return None if any(id(target) in alive for target in targets) else cuts


def collect_needed(targets: Sequence[Any]) -> dict[int, Any]:
    """The tensors that the targets are made of, by identity."""
    needed: dict[int, Any] = {}
    stack = list(targets)
    while stack:
        tensor = stack.pop()
        if id(tensor) not in needed:
            needed[id(tensor)] = tensor
            stack.extend(tensor.op.inputs)
    return needed


def carries(tensor: Any) -> bool:
    """Whether its type has gradients."""
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def has_gradient(op: Any) -> bool | None:
    """Whether an op hands a gradient on; None of a call. Seen on TensorFlow 2.19 to 2.21."""
    from tensorflow.python.framework import ops

    if "PartitionedCall" in op.type or op.type == "IdentityN":  # an IdentityN may have a gradient of its own
        return None
    if op.type in NO_SLOPE:
        return False
    try:
        return ops.gradient_registry.lookup(op.type) is not None
    except LookupError:
        return False
