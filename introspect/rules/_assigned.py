"""What was assigned to a model or to its optimizer after the step was traced, as far as the trace shows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from introspect.capture.record import Capture, CapturedOptimizer, Renewed
from introspect.evidence.collect import TraceEvidence, share_begin
from introspect.evidence.gradients import sources_of
from introspect.facts import Facts


def may_be_assigned(facts: Facts) -> bool:
    """Whether a compiled step leaves out what only a new one can tell that it is meant to use."""
    compiled = facts.current is not None and facts.current.trace.source == "compiled"
    return compiled and bool(find_idle(facts) or find_kept_rates(facts))


def describe_renewed(later: Facts) -> Renewed:
    """What the step that was traced now uses."""
    bound = list_bound(later.current) if later.current is not None else set()
    held = (one for one in later.capture.optimizers if one.attribute)
    used = frozenset(one.attribute for one in held if not bound.isdisjoint(one.variables))
    return Renewed(used, frozenset(optimizer.attribute for optimizer, _ in find_kept_rates(later)))


def list_idle(facts: Facts) -> list[CapturedOptimizer]:
    """Optimizers that the step leaves out, and that a step which is traced now uses."""
    renewed = facts.capture.renewed
    return [] if renewed is None else [one for one in find_idle(facts) if _uses(renewed, one)]


def list_kept_rates(facts: Facts) -> list[tuple[CapturedOptimizer, int]]:
    """(optimizer, variable that the step takes its rate from) where a step which is traced now takes it from no variable."""
    renewed = facts.capture.renewed
    if renewed is None:
        return []
    found = {id(one): (one, index) for one, index in find_kept_rates(facts) if _uses(renewed, one)}
    return [pair for pair in found.values() if pair[0].attribute not in renewed.rates]


def find_idle(facts: Facts) -> list[CapturedOptimizer]:
    """Optimizers that the user reaches and the step does not use, while that uses others; a whole in place of its parts.

    Whether the step means to use them only a new one tells; that Keras' own means to use `model.optimizer` is known.
    """
    current, capture = facts.current, facts.capture
    held = [optimizer for optimizer in capture.optimizers if optimizer.attribute]
    if current is None or not held:
        return []
    bound = list_bound(current)
    own = {index for optimizer in held for index in optimizer.variables}
    if not _uses_old(facts, current, bound - own) or find_kept_training(facts, current):
        return []
    asked = (one for one in held if capture.model.custom_train_step or one.attribute != "optimizer")
    idle = [one for one in asked if not is_default(one) and bound.isdisjoint(_list_whole(held, one))]
    return [one for one in idle if not any(_is_below(one.attribute, other.attribute) for other in idle)]


def find_kept_rates(facts: Facts) -> list[tuple[CapturedOptimizer, int]]:
    """(optimizer with a schedule, number that it may take its rate from all the same).

    A number that the step does not write, and of which what it writes to weights and slots is made.
    """
    current, capture = facts.current, facts.capture
    if current is None:
        return []
    bound = list_bound(current)
    held = {index for optimizer in capture.optimizers for index in optimizer.variables}
    apart = {index for index in bound - held if is_apart(capture, index)}
    found: list[tuple[CapturedOptimizer, int]] = []
    for one in capture.optimizers:
        if one.attribute and isinstance(one.learning_rate, str):
            numbers = [i for i in sorted(apart | bound.intersection(one.variables)) if _is_number(facts, current, i)]
            trained = one.tracks or tuple(
                index for index, _, _ in facts.pairs
            )  # a legacy one tracks nothing beforehand
            taken = sources_of(current, _list_writes(current, (*trained, *one.variables))) if numbers else set()
            found += [(one, index) for index in numbers if index in taken]
    return found


def _is_number(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """Whether it is one number with a fraction that the step does not write."""
    variable = facts.capture.variables[index]
    return variable.shape == () and "float" in variable.dtype and not current.writes.get(index)


def _list_writes(current: TraceEvidence, variables: Iterable[int]) -> list[int]:
    return [write.node for index in variables for write in current.writes.get(index, ())]


def _uses(renewed: Renewed, optimizer: CapturedOptimizer) -> bool:
    """Whether a step that is traced now uses it, or one that it holds."""
    own = optimizer.attribute
    return any(name == own or _is_below(name, own) for name in renewed.used)


def is_apart(capture: Capture, index: int) -> bool:
    """Whether it may be a variable of an optimizer that nobody reaches."""
    return capture.variables[index].role in ("untracked", "optimizer")


def _uses_old(facts: Facts, current: TraceEvidence, indices: set[int]) -> bool:
    """Whether one of these may be a variable of an optimizer that nobody reaches.

    Where no model tells which variables are its own: a number that updates are made of and the loss is not.
    """
    if any(is_apart(facts.capture, index) for index in indices):
        return True
    if facts.capture.layers:
        return False
    updates = [write.node for index, _, _ in facts.pairs for write in current.gradient_writes(index)]
    return any(not facts.may_reach_loss(index) for index in indices.intersection(sources_of(current, updates)))


def is_default(optimizer: CapturedOptimizer) -> bool:
    """Whether it looks as if `compile()` was given none: a step with optimizers of its own then means to use those."""
    return optimizer.class_name == "RMSprop" and not optimizer.built


def list_bound(current: TraceEvidence) -> set[int]:
    """Variables that the trace takes."""
    return {binding.variable for binding in current.trace.bindings}


def find_kept_training(facts: Facts, current: TraceEvidence) -> tuple[str, ...]:
    """The tf.functions of the user's, the outermost first, in whose older traces all training stands.

    A step traced now tells of those that were traced within this one.
    """
    trained = [index for index, _, _ in facts.pairs if current.gradient_writes(index)]
    writers = dict(facts.capture.kept.writers)
    return current.kept_functions(write.node for index in trained for write in current.gradient_writes(index)) or (
        share_begin({writers.get(index, ()) for index in trained})
    )


def _list_whole(held: Sequence[CapturedOptimizer], whole: CapturedOptimizer) -> set[int]:
    """Variables of an optimizer and of those that it holds."""
    parts = (one for one in held if one is whole or _is_below(one.attribute, whole.attribute))
    return {index for one in parts for index in one.variables}


def _is_below(attribute: str, whole: str) -> bool:
    """Whether an optimizer that is reached so is a part of the one that is reached as `whole`."""
    return attribute.startswith((f"{whole}.", f"{whole}["))
