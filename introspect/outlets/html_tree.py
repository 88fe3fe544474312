"""The layer tree as nested <details>, and the table of all variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from introspect.devices import shorten_device
from introspect.outlets._base import Options
from introspect.outlets.folding import count_open_rows, describe_tally, explain_row
from introspect.outlets.markup import Markup, join, tag
from introspect.outlets.setting import choose_setting, count
from introspect.outlets.tree import Branch, Group, build_tree, name_leaf
from introspect.outlets.tree_lines import lay_tree
from introspect.outlets.verdict import Status, describe_change, judge_variables
from introspect.records import Report, VariableReport
from introspect.report.updates import count_updates, tell_first

WORDS = {
    "agrees": "agrees",
    "error": "error",
    "warning": "warning",
    "info": "note",
    "differs": "differs",
    "unknown": "unknown",
}
ICONS = {"agrees": "✓", "error": "✗", "warning": "!", "info": "i", "differs": "≠", "unknown": "?"}
MOST_OPEN = 60
"""With more mismatches than this only the first level of the tree stands open."""
LONG_TABLE = 60
SETTING = choose_setting(Options(width=1000, limit=None))
Column = tuple[str, Callable[[VariableReport], str | None]]


def draw_status(status: str) -> Markup:
    """Icon and word; the word is for those who do not see the icon, or its colour."""
    icon = tag("span", ICONS[status], class_="icon", aria_hidden="true")
    return tag("span", icon, tag("span", f"{WORDS[status]} ", class_="word"), class_=f"status {status}")


def draw_tree(report: Report) -> Markup:
    """All layers that hold variables; what differs stands open."""
    roots = build_tree(report)
    tight = sum(count_open_rows(root) for root in roots) > MOST_OPEN
    return tag("div", *(draw_branch(root, 0, tight) for root in roots), class_="tree")


def draw_folded(report: Report) -> Markup:
    """The tree as a terminal has it, for a reader that would not bear the whole."""
    lines = (
        "".join(span.text for span in line).rstrip() for line in lay_tree(report, choose_setting(Options(width=100)))
    )
    tree = tag("pre", tag("code", Markup("\n".join(join(line) for line in lines))))
    return join(tree, tag("p", "report.save('report.html') shows every variable."))


def draw_branch(branch: Branch, depth: int, tight: bool) -> Markup:
    """One layer with what lies below it; a layer with one kind of variable is a single line."""
    title = draw_title(branch)
    if len(branch.groups) == 1 and not branch.children:
        return tag("div", draw_group(branch.groups[0], branch, title), class_="leaf")
    tally = tag("span", describe_tally(branch.tally), class_="tally")
    groups = (draw_group(group, branch) for group in branch.groups)
    children = (draw_branch(child, depth + 1, tight) for child in branch.children)
    shown = not branch.tally.agrees and (depth == 0 or not tight)
    summary = tag("summary", draw_status(branch.tally.worst), title, " ", tally)
    return tag("details", summary, tag("div", *groups, *children, class_="below"), open=shown)


def draw_title(branch: Branch) -> Markup:
    """The layer's name and class."""
    if branch.layer is None:
        return tag("span", "(in no layer)", class_="name")
    name = tag("span", branch.layer.name, class_="name")
    return join(name, " ", tag("span", branch.layer.class_name, class_="kind"))


def draw_group(group: Group, branch: Branch, title: Markup | None = None) -> Markup:
    """Variables with equal facts in one line, and beneath it what else there is to say about them."""
    row = group.rows[0]
    names = tag("span", ", ".join(name_leaf(member, branch.layer) for member in group.rows), class_="leaves")
    details = [tag("div", detail, class_="detail") for detail in explain_row(row, SETTING)]
    lead = tag("span", draw_status(group.status), title, " " if title else None, names)
    cells = (
        describe_change(row, group.status, "→"),
        f"gradient {row.gradient}",
        f"{count_moving(row)} slots" if row.slots else "no slots",
        shorten_device(row.device) if row.device else "",
    )
    line = tag("div", lead, *(tag("span", cell) for cell in cells), class_=f"line {group.status}")
    return join(line, *details)


def count_moving(row: VariableReport) -> str:
    """Slots that the step updates, of all."""
    if not row.slots:
        return ""
    return f"{sum(slot.updated in ('yes', 'some') for slot in row.slots)}/{len(row.slots)}"


def draw_variables(report: Report, anchor: str) -> Markup:
    """The table of all variables in the model's order; columns without content are left out."""
    statuses = judge_variables(report)
    columns = [column for column in list_columns(statuses) if any(column[1](row) for row in report.variables)]
    heads = (tag("th", name, scope="col") for name in ("Variable", *(name for name, _ in columns), "Findings"))
    rows = []
    for row in report.variables:
        cells = (tag("td", read(row)) for _, read in columns)
        lead = tag("th", draw_status(statuses[row.path]), tag("code", row.path), scope="row")
        rows.append(tag("tr", lead, *cells, draw_links(row, report, anchor), class_=statuses[row.path]))
    table = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows))
    scroll = tag("div", table, class_="scroll", tabindex="0", role="region", aria_label="Variables")
    summary = tag("summary", count(len(report.variables), "variable"))
    return tag("details", summary, scroll, open=len(report.variables) <= LONG_TABLE)


def draw_links(row: VariableReport, report: Report, anchor: str) -> Markup:
    """The findings that name the variable."""
    known = {finding.rule for finding in report.findings}
    links = (join(tag("a", rule, href=f"#{anchor}-{rule}"), " ") for rule in row.findings if rule in known)
    return tag("td", *links)


def list_columns(statuses: Mapping[str, Status]) -> list[Column]:
    """Headings, and how a cell is read from a row."""
    return [
        (
            "Shape",
            lambda row: (
                " \N{MULTIPLICATION SIGN} ".join("?" if size is None else str(size) for size in row.shape) or "scalar"
            ),
        ),
        ("Type", lambda row: row.dtype),
        ("Flag → step", lambda row: describe_change(row, statuses[row.path], "→")),
        ("Gradient", lambda row: row.gradient),
        ("Slots", count_moving),
        ("Optimizer", lambda row: row.optimizer),
        ("Device", lambda row: shorten_device(row.device) if row.device else None),
        ("Placed", describe_placed),
        ("Gradient norm", describe_gradient_norm),
        ("Update norm", lambda row: show_number(row.measured.update_norm) if row.measured else None),
        ("Reason", lambda row: row.reason),
    ]


def describe_shape(row: VariableReport) -> str:
    """The sizes, `?` for one that is not fixed."""
    sizes = ("?" if size is None else str(size) for size in row.shape)
    return " \N{MULTIPLICATION SIGN} ".join(sizes) or "scalar"


def describe_placed(row: VariableReport) -> str:
    """Where the executed graph writes the variable."""
    return ", ".join(dict.fromkeys(shorten_device(write.placed) for write in row.writes if write.placed))


def describe_gradient_norm(row: VariableReport) -> str | None:
    """The norm, and of which update of a step it is where there are several."""
    norm = show_number(row.measured.gradient_norm) if row.measured else None
    first = tell_first(count_updates(row))
    return f"{norm}, {first}" if norm and first else norm


def show_number(value: float | None) -> str | None:
    """Three digits."""
    return None if value is None else f"{value:.3g}"
