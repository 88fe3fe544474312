"""From the layer tree to the rows of a text: agreeing layers folded into one, mismatches open, never too many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from introspect.devices import shorten_device
from introspect.outlets.setting import Setting, count, number
from introspect.outlets.tree import Branch, Group, Tally, name_leaf, tally_all
from introspect.outlets.verdict import EFFECTS, Status, describe_change, describe_troubles
from introspect.records import Measured, VariableReport

FEW = 8
"""So many agreeing layers side by side keep a line each; more are folded together."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the tree: with `cells` a row of the table, else a sentence."""

    status: Status
    depth: int
    name: str
    note: str = ""
    cells: tuple[str, ...] = ()
    sentence: str = ""
    details: tuple[str, ...] = ()


class Budget:
    """How many more rows of mismatches may be opened; `tight` where not all of them fit."""

    def __init__(self, limit: int | None, wanted: int) -> None:
        self.left = limit
        self.tight = limit is not None and wanted > limit

    def spend(self, rows: int) -> None:
        """Take rows off, if there is a limit at all."""
        if self.left is not None:
            self.left -= rows

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.left is not None and self.left <= 0


def fold_tree(roots: Sequence[Branch], setting: Setting) -> list[Row]:
    """All rows; a single root is the model itself, which the head of the text has named."""
    budget = Budget(setting.limit, sum(count_open_rows(root) for root in roots))
    if len(roots) == 1 and roots[0].children:
        root = roots[0]
        return [*open_groups(root, 0, setting, budget), *fold_children(root.children, 0, setting, budget)]
    return fold_children(roots, 0, setting, budget)


def count_open_rows(branch: Branch) -> int:
    """Rows that the mismatches at and below a layer would take."""
    own = sum(group.status != "agrees" for group in branch.groups)
    return own + sum(count_open_rows(child) for child in branch.children)


def fold_children(branches: Sequence[Branch], depth: int, setting: Setting, budget: Budget) -> list[Row]:
    """Rows of sibling layers, in their order; what finds no room is counted at the end."""
    if setting.full:
        return [row for branch in branches for row in open_branch(branch, depth, setting, budget)]
    calm = [branch for branch in branches if branch.tally.agrees]
    if len(calm) == len(branches):
        return fold_calm(calm, depth, setting)
    rows: list[Row] = []
    left_out: list[Tally] = []
    for run in group_neighbours(branches, budget.tight):
        if run[0].tally.agrees:
            rows += [fold_branch(run[0], depth, setting)] if len(calm) <= FEW else []
        elif budget.spent:
            left_out += [branch.tally for branch in run]
        elif len(run) > 1:
            budget.spend(1)
            rows.append(lay_alike(run, depth, setting))
        else:
            rows += open_branch(run[0], depth, setting, budget)
    if len(calm) > FEW:
        rows.append(fold_run(calm, depth, setting, f"{count(len(calm), 'other layer')}"))
    return [*rows, *count_left_out(left_out, depth, setting)]


def group_neighbours(branches: Sequence[Branch], tight: bool) -> list[list[Branch]]:
    """Siblings one by one; where it is tight, neighbours whose mismatches have the same facts go together."""
    runs: list[list[Branch]] = []
    facts = None
    for branch in branches:
        sample = branch.sample if tight and not branch.tally.agrees else None
        if sample is not None and sample.facts == facts:
            runs[-1].append(branch)
        else:
            runs.append([branch])
        facts = sample.facts if sample is not None else None
    return runs


def fold_calm(branches: Sequence[Branch], depth: int, setting: Setting) -> list[Row]:
    """Agreeing layers: a row each, or neighbours of one intent together where they are many."""
    if len(branches) <= FEW:
        return [fold_branch(branch, depth, setting) for branch in branches]
    runs = [list(run) for _, run in groupby(branches, key=lambda b: b.tally.expected > 0)]
    if len(runs) > 2 * FEW:
        runs = [list(branches)]
    return [fold_run(run, depth, setting) for run in runs]


def fold_run(branches: Sequence[Branch], depth: int, setting: Setting, name: str = "") -> Row:
    """Several agreeing siblings as one row."""
    if len(branches) == 1:
        return fold_branch(branches[0], depth, setting)
    ends = f"{title(branches[0], setting)} {setting.glyphs.more} {title(branches[-1], setting)}"
    tally = tally_all(branch.tally for branch in branches)
    note = "" if name else count(len(branches), "layer")
    return Row("agrees", depth, name or ends, note, sentence=describe_tally(tally))


def fold_branch(branch: Branch, depth: int, setting: Setting) -> Row:
    """A layer with all below it as one row."""
    name = title(branch, setting)
    return Row(branch.tally.worst, depth, name, class_of(branch, setting), sentence=describe_tally(branch.tally))


def open_branch(branch: Branch, depth: int, setting: Setting, budget: Budget) -> list[Row]:
    """A layer open: its own variables and what lies below; a layer with one kind of mismatch needs no head."""
    groups = choose_groups(branch, setting)
    if len(groups) == 1 and not branch.children:
        budget.spend(1)
        return [lay_group(groups[0], branch, depth, setting, title(branch, setting))]
    head = fold_branch(branch, depth, setting)
    own = open_groups(branch, depth + 1, setting, budget)
    return [head, *own, *fold_children(branch.children, depth + 1, setting, budget)]


def choose_groups(branch: Branch, setting: Setting) -> list[Group]:
    """The variables of a layer that are worth a row: those that differ, unless everything is shown."""
    return [group for group in branch.groups if group.status != "agrees" or setting.full]


def open_groups(branch: Branch, depth: int, setting: Setting, budget: Budget) -> list[Row]:
    """Rows of the variables that the layer itself owns, as far as there is room."""
    groups = choose_groups(branch, setting)
    shown = groups if setting.limit is None else groups[: max(setting.limit, 1)]
    budget.spend(len(shown))
    rows = [lay_group(group, branch, depth, setting) for group in shown]
    rest = sum(len(group.rows) for group in groups[len(shown) :])
    return [*rows, Row(groups[-1].status, depth, f"{setting.glyphs.more} and {number(rest)} more")] if rest else rows


def lay_group(group: Group, branch: Branch, depth: int, setting: Setting, name: str = "") -> Row:
    """Variables with equal facts as one row of the table; `name` leads where the layer has no row of its own."""
    leaves = setting.list_some((name_leaf(row, branch.layer) for row in group.rows), 3)
    row = group.rows[0]
    cells = (
        describe_change(row, group.status, setting.glyphs.arrow),
        row.gradient,
        count_slots(row, setting),
        setting.show(shorten_device(row.device)) if row.device else setting.glyphs.none,
    )
    details = tuple(explain_row(row, setting)) if group.status != "agrees" or setting.full else ()
    return Row(group.status, depth, name or leaves, leaves if name else "", cells, details=details)


def lay_alike(branches: Sequence[Branch], depth: int, setting: Setting) -> Row:
    """Layers below which all variables have the same facts, as one row of the table."""
    sample = branches[0].sample
    assert sample is not None
    row = lay_group(sample, branches[0], depth, setting)
    name = f"{title(branches[0], setting)} {setting.glyphs.more} {title(branches[-1], setting)}"
    size = sum(branch.tally.differing for branch in branches)
    return replace(row, name=name, note=f"({number(size)})")


def count_slots(row: VariableReport, setting: Setting) -> str:
    """How many of its slots the step updates: `2/2`."""
    if not row.slots:
        return setting.glyphs.none
    moving = sum(slot.updated in ("yes", "some") for slot in row.slots)
    return f"{moving}/{len(row.slots)}"


def explain_row(row: VariableReport, setting: Setting) -> Iterable[str]:
    """What a mismatch needs besides the columns."""
    show = setting.show
    if row.reason:
        yield f"unknown: {show(row.reason)}"
    if row.trainable != row.expected:
        own = "trainable" if row.trainable else "frozen"
        yield f"its own flag says {own}; {show(row.decided_by or 'a container')} decides"
    if not row.tracked:
        yield "model.variables does not hold it"
    placed = {write.placed for write in row.writes if write.placed and write.placed != row.device}
    if placed:
        yield f"the executed graph writes it on {', '.join(show(shorten_device(p)) for p in sorted(placed))}"
    if row.measured is not None:
        yield describe_measured(row.measured)


def describe_measured(measured: Measured) -> str:
    """The numbers of one real step in one line."""
    named = (
        ("gradient", measured.gradient_norm),
        ("update", measured.update_norm),
        ("weights", measured.weight_norm),
    )
    parts = [f"{name} {value:.3g}" for name, value in named if value is not None]
    if measured.zero_fraction is not None:
        parts.append(f"{measured.zero_fraction:.0%} zeros")
    if measured.finite is False:
        parts.append("not finite")
    if measured.resolved is False:
        parts.append("below what the dtype resolves")
    return f"measured: {', '.join(parts) or 'nothing'}"


def describe_tally(tally: Tally) -> str:
    """What the variables below a layer do, in one phrase."""
    size = count(tally.variables, "variable")
    if not tally.agrees:
        said = describe_troubles(tally.troubles, tally.expected, tally.variables - tally.expected, brief=True)
        named = tally.troubles["named"]
        return "; ".join([*said, *([f"{number(named)} named below"] if named else [])])
    trains = tally.effects["trains"] + tally.effects["trains in part"]
    one = tally.variables == 1
    if trains == tally.variables:
        return f"{size}  {'trains as its flag says' if one else 'train as their flags say'}"
    if tally.effects["stays"] == tally.variables:
        return f"{size}  frozen as {'its flag says' if one else 'their flags say'}"
    if len(tally.effects) == 1:
        return f"{size}  {next(iter(tally.effects))}"
    return f"{size}: {', '.join(list_effects(tally, trains))}"


def list_effects(tally: Tally, trains: int) -> Iterable[str]:
    """`54 train, 54 stay, 54 statistics move`."""
    if trains:
        yield f"{number(trains)} {'trains' if trains == 1 else 'train'}"
    if tally.effects["stays"]:
        yield f"{number(tally.effects['stays'])} frozen"
    nouns = {"statistics move": "statistics", "keeps count": "state", "decays only": "decay only"}
    for words in EFFECTS.values():
        if tally.effects[words]:
            yield f"{number(tally.effects[words])} {nouns.get(words, words.removeprefix('is '))}"


def count_left_out(tallies: Sequence[Tally], depth: int, setting: Setting) -> list[Row]:
    """The row that stands for mismatches beyond the limit."""
    if not tallies:
        return []
    size = sum(tally.differing for tally in tallies)
    layers = sum(tally.layers for tally in tallies)
    worst = min((tally.worst for tally in tallies), key=("error", "warning", "differs", "unknown").index)
    name = f"{setting.glyphs.more} and {number(size)} more"
    return [Row(worst, depth, name, sentence=f"in {count(layers, 'layer')}; save as .txt to see each")]


def title(branch: Branch, setting: Setting) -> str:
    """The layer's name."""
    return setting.show(branch.layer.name) if branch.layer is not None else "(in no layer)"


def class_of(branch: Branch, setting: Setting) -> str:
    """The layer's class, where it is a container: that of a plain layer is in its name as a rule."""
    return setting.show(branch.layer.class_name) if branch.layer is not None and branch.children else ""
