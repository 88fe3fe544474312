"""The flag of a container and what trains below it differ.

What it does
    Names containers whose flag says frozen while variables below them train (Keras 3 asks the variables alone), and
    layers whose flag says that they train while a container freezes them (tf_keras, or the model's own flag).

Why it matters
    `summary()` shows the container's flag; the step goes by another.

Cause
    Keras 3 hands a container's flag down at the moment of assignment and never reads it again, so layers made or set
    later are not held by it. tf_keras reads every container's flag on the way down. A layer that two containers hold
    goes by the flag that was set last (Keras 3), or trains by either (tf_keras).

Fix
    Set the flag of the container after its layers exist, or set those of the layers, and look at the result here.

Example
    base.trainable = False
    base.layers[-1].trainable = True      # Keras 3: trains. tf_keras: does not.
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import Finding, LayerReport
from introspect.rules._base import Rule
from introspect.rules._code import find_frozen, write_anew, write_flag, write_freeze
from introspect.rules._groups import shorten
from introspect.rules._wording import agree, count, join, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each container."""
    ignored: dict[str, list[int]] = {}
    holding: dict[str, list[int]] = {}
    for index, variable, row in facts.pairs:
        if variable.role != "model" or not variable.watched or variable.layer is None:
            continue
        if row.expected:
            frozen = _find_frozen_above(facts, variable.layer)
            if frozen is not None:
                ignored.setdefault(frozen.path, []).append(index)
            continue
        frozen, owner = facts.tree.outermost_frozen(variable.layer), facts.tree.by_path.get(variable.layer)
        if variable.trainable and frozen is not None and owner is not None and owner.trainable:
            holding.setdefault(frozen.path, []).append(index)
    for path, indices in ignored.items():
        yield _report(facts, path, indices, trains=True)
    for path, indices in holding.items():
        yield _report(facts, path, indices, trains=False)


def _report(facts: Facts, path: str, indices: list[int], trains: bool) -> Finding:
    number, tf_keras = len(indices), facts.capture.model.keras == "tf_keras"
    name = shorten(facts, path)
    paths, anew = facts.paths_of(indices), write_anew(facts)
    if trains and (others := _name_sharers(facts, path, indices) or _list_held_outside(facts, indices)):
        them = agree(number, "it", "them")
        message = f"{name}.trainable is False, and {count(number, 'variable')} of it {agree(number, 'is', 'are')} trainable all the same"
        cause = f"{_tell_sharers(facts, path, others, them)} " + (
            "tf_keras trains a variable that any of its layers lets train."
            if tf_keras
            else "A variable has one flag in Keras 3, and the layer whose flag was set last decides."
        )
        frozen = write_freeze(facts, others)
        fix = f"# to freeze, in every layer that holds {them}:\n{frozen}\n{anew}"
    elif trains and (lists := facts.capture.own_lists):
        message = (
            f"{name}.trainable is False, and the model gives {count(number, 'variable')} below it to train all the same"
        )
        cause = f"The model's class overrides {join(lists)}, and what it gives does not go by the flag."
        fix = "# let what it gives begin with super()'s, which goes by the flags"
    elif trains:
        message = (
            f"{name}.trainable is False, and {count(number, 'variable')} below it {agree(number, 'is', 'are')} trainable all "
            "the same"
        )
        cause = (
            f"Keras 3 hands a container's flag down when it is set, and asks the variables alone afterwards. "
            f"{agree(number, 'This one was', 'These were')} made, or made trainable, after {name} was frozen."
        )
        fix = (
            f"# to freeze all below it; an assignment of the value that a flag has does nothing:\n"
            f"{write_flag(facts, path, True)}\n{write_flag(facts, path, False)}\n{anew}"
        )
    else:
        message = (
            f"{name}.trainable is False and freezes {count(number, 'variable')} whose own layers say that they train"
        )
        cause = f"The flag of {name} decides for all layers below it{' (tf_keras)' if tf_keras else ''}."
        frozen = write_freeze(facts, find_frozen(facts, path))
        fix = (
            f"# if they are to train:\n{write_flag(facts, path, True)}"
            + (f"\n# that is handed down to all below it, so freeze again:\n{frozen}\n" if frozen else "\n")
            + anew
        )
    return RULE.finding(
        variables=paths,
        layers=(path,),
        message=f"{message}: {name_some(paths)}.",
        cause=cause,
        fix=fix,
    )


def _find_frozen_above(facts: Facts, path: str, seen: frozenset[str] = frozenset()) -> LayerReport | None:
    """The outermost frozen container of a layer, or one that holds it, or a container of it, too."""
    frozen, around = facts.tree.outermost_frozen(path), [layer.path for layer in facts.tree.ancestors(path)]
    further = [holder for held in around for holder in facts.shared.get(held, ()) if holder not in seen]
    seen = seen.union(around, further)
    return frozen or next((found for one in further if (found := _find_frozen_above(facts, one, seen))), None)


def _list_held_outside(facts: Facts, indices: list[int]) -> list[str]:
    """Layers around the variables, the outermost of each, that stand below several others, and train by one of them."""
    found: dict[str, None] = {}
    for index in indices:
        chain = list(facts.tree.ancestors(facts.capture.variables[index].layer))[::-1]
        held = next(
            (layer.path for layer in chain if layer.path in facts.shared and _trains_by_one(facts, layer)), None
        )
        if held is None:
            return []
        found[held] = None
    return list(found)


def _trains_by_one(facts: Facts, layer: LayerReport) -> bool:
    holders = (layer.parent, *facts.shared[layer.path])
    return layer.trainable and any(facts.tree.outermost_frozen(holder) is None for holder in holders)


def _tell_sharers(facts: Facts, path: str, others: list[str], them: str) -> str:
    named = f"Layer {join([shorten(facts, other) for other in others])}"
    if any(other in facts.shared for other in others):
        return f"{named} {agree(len(others), 'stands', 'stand')} outside of {shorten(facts, path)} too."
    return f"{named} {agree(len(others), 'shares', 'share')} {them}."


def _name_sharers(facts: Facts, path: str, indices: list[int]) -> list[str]:
    """Layers outside of the frozen one that own all of the variables as well, and train."""
    owners = [set(facts.capture.variables[index].owners) for index in indices]
    shared = set.intersection(*owners)
    layers = (layer for layer in facts.capture.layers if layer.path in shared and layer.trainable)
    return [layer.path for layer in layers if all(outer.path != path for outer in facts.tree.ancestors(layer.path))]


RULE = Rule("INT401", "container-flag-differs", "info", "proven", __doc__ or "", check)
