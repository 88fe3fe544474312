"""The layer tree with its variables grouped and counted: what the terminal and the HTML page both show."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from introspect.outlets.verdict import STATUSES, Status, Trouble, describe_effect, find_trouble, judge_variables
from introspect.records import LayerReport, Report, VariableReport

DEEPEST = 40
"""A layer below this depth hangs under its ancestor at this depth: the outlets recur along the tree."""


@dataclass(frozen=True, slots=True)
class Group:
    """Variables of one layer that have all shown facts in common."""

    rows: tuple[VariableReport, ...]
    status: Status

    @property
    def facts(self) -> tuple[object, ...]:
        """What the columns show."""
        return (self.status, *list_facts(self.rows[0]))


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts over a layer and all layers below it."""

    variables: int = 0
    layers: int = 0
    """Layers that own a variable."""
    effects: Counter[str] = field(default_factory=Counter)
    troubles: Counter[Trouble] = field(default_factory=Counter)
    statuses: Counter[Status] = field(default_factory=Counter)
    expected: int = 0

    @property
    def agrees(self) -> bool:
        """Whether each variable does what its flags say."""
        return not self.troubles

    @property
    def worst(self) -> Status:
        """The worst status of any variable."""
        return next((status for status in STATUSES if self.statuses[status]), "agrees")

    @property
    def differing(self) -> int:
        """How many variables do not agree."""
        return self.variables - self.statuses["agrees"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One layer, or the place of variables that no layer owns (`layer` None), with what lies below it."""

    layer: LayerReport | None
    groups: tuple[Group, ...]
    children: tuple[Branch, ...]
    tally: Tally
    sample: Group | None
    """Any group that differs, if all that differ at and below the layer have the same facts."""


def build_tree(report: Report) -> tuple[Branch, ...]:
    """The roots of the tree in order; layers without variables are left out, variables without layer come last."""
    statuses = judge_variables(report)
    parents = find_parents(report.layers)
    owned = collect_owned(report)
    below: dict[str | None, list[LayerReport]] = defaultdict(list)
    for layer in {layer.path: layer for layer in report.layers}.values():
        below[parents[layer.path]].append(layer)
    roots = [grow_branch(layer, below, owned, statuses) for layer in below[None]]
    if None in owned:
        roots.append(join_branch(None, group_rows(owned[None], statuses), ()))
    return tuple(root for root in roots if root.tally.variables)


def collect_owned(report: Report) -> dict[str | None, list[VariableReport]]:
    """Variables by the path of their layer; None gathers those whose layer is not in the tree."""
    known = {layer.path for layer in report.layers}
    owners = {path: layer.path for layer in report.layers for path in layer.variables}
    owned: dict[str | None, list[VariableReport]] = defaultdict(list)
    for row in report.variables:
        owner = row.layer if row.layer in known else owners.get(row.path)
        owned[owner].append(row)
    return dict(owned)


def find_parents(layers: Iterable[LayerReport]) -> dict[str, str | None]:
    """The parent of each layer; an unknown parent, a circle or too great a depth ends at a root or at DEEPEST."""
    said = {layer.path: layer.parent for layer in layers}
    chains: dict[str, tuple[str, ...]] = {}
    for path in said:
        trail: list[str] = []
        step: str | None = path
        while step is not None and step in said and step not in chains and step not in trail:
            trail.append(step)
            step = said[step]
        above = chains.get(step, ()) if step is not None else ()
        for name in reversed(trail):
            above = chains[name] = (*above[: DEEPEST - 1], name)
    return {path: chain[-2] if len(chain) > 1 else None for path, chain in chains.items()}


def grow_branch(
    layer: LayerReport,
    below: dict[str | None, list[LayerReport]],
    owned: dict[str | None, list[VariableReport]],
    statuses: dict[str, Status],
) -> Branch:
    """The branch of one layer."""
    grown = (grow_branch(child, below, owned, statuses) for child in below.get(layer.path, ()))
    children = tuple(child for child in grown if child.tally.variables)
    return join_branch(layer, group_rows(owned.get(layer.path, ()), statuses), children)


def join_branch(layer: LayerReport | None, groups: tuple[Group, ...], children: tuple[Branch, ...]) -> Branch:
    """A branch with its tally."""
    samples: list[Group | None] = [group for group in groups if group.status != "agrees"]
    samples += [child.sample for child in children if not child.tally.agrees]
    facts = {sample.facts if sample is not None else None for sample in samples}
    sample = samples[0] if len(facts) == 1 else None
    tally = tally_all([tally_groups(groups), *(child.tally for child in children)])
    return Branch(layer, groups, children, tally, sample)


def tally_groups(groups: Iterable[Group]) -> Tally:
    """Counts over the variables that a layer itself owns."""
    rows = [(row, group.status) for group in groups for row in group.rows]
    return Tally(
        variables=len(rows),
        layers=int(bool(rows)),
        effects=Counter(describe_effect(row) for row, _ in rows),
        troubles=Counter(find_trouble(row) for row, status in rows if status != "agrees"),
        statuses=Counter(status for _, status in rows),
        expected=sum(row.expected for row, _ in rows),
    )


def tally_all(tallies: Iterable[Tally]) -> Tally:
    """The sum of several counts."""
    tallies = list(tallies)
    return Tally(
        variables=sum(tally.variables for tally in tallies),
        layers=sum(tally.layers for tally in tallies),
        effects=sum((tally.effects for tally in tallies), Counter()),
        troubles=sum((tally.troubles for tally in tallies), Counter()),
        statuses=sum((tally.statuses for tally in tallies), Counter()),
        expected=sum(tally.expected for tally in tallies),
    )


def group_rows(rows: Iterable[VariableReport], statuses: dict[str, Status]) -> tuple[Group, ...]:
    """Rows with equal facts in one group, in the order of their first."""
    groups: dict[tuple[object, ...], list[VariableReport]] = defaultdict(list)
    for row in rows:
        groups[(statuses[row.path], row.measured, *list_facts(row))].append(row)
    return tuple(Group(tuple(members), statuses[members[0].path]) for members in groups.values())


def list_facts(row: VariableReport) -> tuple[object, ...]:
    """All that a line on this variable shows, but for its name and the numbers of a measured step."""
    placed = tuple(write.placed for write in row.writes)
    slots = tuple((slot.name, slot.updated, slot.device, slot.placed) for slot in row.slots)
    own = (row.trainable, row.expected, row.decided_by if row.decided_by != row.path else "")
    return (*own, describe_effect(row), row.gradient, row.device, placed, slots, row.reason, row.tracked)


def name_leaf(row: VariableReport, layer: LayerReport | None) -> str:
    """The variable's name below its layer."""
    if layer is not None:
        for head in (f"{layer.path}/", f"{layer.name}/"):
            if row.path.startswith(head) and len(row.path) > len(head):
                return row.path[len(head) :]
    return row.path if layer is None else row.path.rpartition("/")[2] or row.path
