"""Variables named by the layers that hold them: the outermost that says it, with counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from introspect.facts import Facts
from introspect.rules._wording import agree, join

MOST_GROUPS = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Variables below one layer.

    Attributes:
        name: the layer's path below the model.
        number: how many of its variables are meant.
        whole: how many it has, those that were never made to train left out.
    """

    name: str
    number: int
    whole: int

    @property
    def partly(self) -> bool:
        """Whether the layer has further variables."""
        return self.number < self.whole


def shorten(facts: Facts, path: str) -> str:
    """A layer's path without the model's own name."""
    root = facts.tree.root
    return path.removeprefix(f"{root.path}/") if root is not None else path


def group_layers(facts: Facts, indices: Sequence[int]) -> list[Group]:
    """The outermost layers below the model that hold the variables, in the order of the variables."""
    below: dict[str, list[int]] = {}
    for index in indices:
        chain = facts.layers_around(index)
        if chain:
            below.setdefault(chain[0], []).append(index)
    return [_describe(facts, top, members) for top, members in below.items()]


def _describe(facts: Facts, top: str, members: list[int]) -> Group:
    """As far inward as one layer holds all of them."""
    chains = [facts.layers_around(index) for index in members]
    depth = 0
    while all(len(chain) > depth + 1 and chain[depth + 1] == chains[0][depth + 1] for chain in chains):
        depth += 1
    path = chains[0][depth]
    return Group(shorten(facts, path), len(members), max(facts.weights_below[path], len(members)))


def list_groups(groups: Sequence[Group]) -> str:
    """ "base (26) and head (2 of 4)"; of many, the first and the last."""
    if len(groups) > MOST_GROUPS:
        total = sum(group.number for group in groups)
        return f"{len(groups)} layers ({groups[0].name} to {groups[-1].name}, {total} variables)"
    return join([f"{g.name} ({g.number} of {g.whole})" if g.partly else f"{g.name} ({g.number})" for g in groups])


def name_layers(facts: Facts, indices: Sequence[int]) -> str:
    """ "layer hid", "layers base (26) and head (2)", or nothing where no layer holds them."""
    groups = group_layers(facts, indices)
    if not groups or len(groups) == 1 or len(groups) > MOST_GROUPS:
        return _name([group.name for group in groups])
    return f"layers {list_groups(groups)}"


def bare_layers(facts: Facts, indices: Sequence[int]) -> str:
    """As `name_layers` without numbers; of a container of which only a part is meant, the layers inside."""
    names: dict[str, None] = {}
    inside = [shorten(facts, path) for path in facts.layers_of(indices)]
    for group in group_layers(facts, indices):
        parts = [path for path in inside if path == group.name or path.startswith(f"{group.name}/")]
        names.update(dict.fromkeys(parts if group.partly else [group.name]))
    return _name(list(names))


def _name(names: list[str]) -> str:
    if len(names) > MOST_GROUPS:
        return f"{len(names)} layers ({names[0]} to {names[-1]})"
    return f"{agree(len(names), 'layer', 'layers')} {join(names)}" if names else ""


def are_several(layers: str) -> bool:
    """Whether words of `name_layers` or `bare_layers` name several."""
    return not layers.startswith("layer ")


def of_layers(facts: Facts, indices: Sequence[int]) -> str:
    """ " of layer hid", or nothing."""
    named = name_layers(facts, indices)
    return f" of {named}" if named else ""
