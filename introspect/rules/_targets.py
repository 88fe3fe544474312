"""Target networks: what the user's own step makes of other variables."""

from __future__ import annotations

from introspect.evidence.averages import is_carried_on, is_made_of_others
from introspect.evidence.collect import TraceEvidence
from introspect.facts import Facts
from introspect.rules._code import is_own_loop


def is_assigned_by_step(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """Whether the user's own step writes it past all optimizers, of which none was built with it."""
    own = facts.capture.model.custom_train_step or is_own_loop(current)
    return own and index not in facts.tracked


def is_averaged_in_two(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """Whether the step makes the variable smaller, and adds a part of another one: an average by two writes."""
    kinds = {write.kind for write in current.writes.get(index, ()) if write.kind != "initial"}
    return kinds == {"decay", "average"} and is_assigned_by_step(facts, current, index)


def is_averaged_by_step(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """Whether the step makes the variable of others, in no layer's call: a network's statistics as its weights."""
    if not (facts.capture.model.custom_train_step or is_own_loop(current)):
        return False
    writes = [write for write in current.writes.get(index, ()) if write.kind != "initial"]
    return bool(writes) and all(
        write.kind in ("average", "statistics")
        and facts.layer_of_node(current, write.node) is None
        and is_made_of_others(current, index, write.node)
        for write in writes
    )


def is_averaged_by_its_layer(facts: Facts, current: TraceEvidence, index: int) -> bool:
    """Whether the call of the layer that holds the variable makes it of itself and of other variables: no target network."""
    owners = facts.capture.variables[index].owners
    writes = [write for write in current.writes.get(index, ()) if write.kind != "initial"]
    return bool(writes) and all(
        write.kind == "average"
        and facts.layer_of_node(current, write.node) in owners
        and is_carried_on(current, index, write.node)
        for write in writes
    )
