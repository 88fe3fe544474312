"""The numbers of one measured step, a line for each layer: the tree itself folds layers that agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from introspect.outlets.lines import Line, Span
from introspect.outlets.setting import Setting, count
from introspect.records import Report, VariableReport
from introspect.report.updates import tell_most

HEADINGS = ("Gradient", "Update", "Update/weights", "Zeros")
MOST = 12
"""Layers that keep a line each; more are joined by the layer that holds them."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Norms over the variables of one layer: L2 of all elements together; None where one is not known."""

    name: str
    gradient: float | None
    update: float | None
    weights: float | None
    zeros: float | None
    """Share of the gradient's elements that are exactly 0."""

    def tell(self, setting: Setting) -> tuple[str, ...]:
        """The cells under HEADINGS."""
        ratio = self.update / self.weights if self.update is not None and self.weights else None
        shown = (self.gradient, self.update, ratio)
        cells = tuple(setting.glyphs.none if value is None else f"{value:.3g}" for value in shown)
        return (*cells, setting.glyphs.none if self.zeros is None else f"{self.zeros:.0%}")


def lay_measured(report: Report, setting: Setting) -> Iterator[Line]:
    """A small table; nothing where no step was measured or no gradient is known."""
    rows = [row for row in report.variables if row.measured is not None and has_numbers(row)]
    lines = join_layers(rows, report, setting)
    if not lines:
        return
    shown = lines if setting.full else lines[:MOST]
    cells = [numbers.tell(setting) for numbers in shown]
    widths = [max(map(cell_len, column)) for column in zip(HEADINGS, *cells, strict=True)]
    while len(widths) > 1 and sum(widths) + 2 * len(widths) > setting.width - 14:
        widths.pop()
    names = [setting.show(numbers.name) for numbers in shown]
    heading = "Measured on one batch"
    room = min(max(map(cell_len, (heading, *names))), setting.width - 2 - sum(width + 2 for width in widths))
    yield (Span("  " + lay_cells(setting.clip(heading, room), HEADINGS, room, widths), "quiet"),)
    for name, row in zip(names, cells, strict=True):
        yield (Span("  " + lay_cells(setting.clip(name, room), row, room, widths)),)
    if len(shown) < len(lines):
        more = f"{setting.glyphs.more} and {count(len(lines) - len(shown), 'more layer')}; save as .txt to see each"
        yield (Span(f"  {setting.clip(more, setting.width - 2)}", "quiet"),)
    if several := tell_most(rows):
        yield (Span(f"  {setting.clip(several, setting.width - 2)}", "quiet"),)


def lay_cells(name: str, cells: Sequence[str], room: int, widths: Sequence[int]) -> str:
    """Name at the left, numbers at the right of their columns."""
    padded = name + " " * (room - cell_len(name))
    return padded + "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=False))


def has_numbers(row: VariableReport) -> bool:
    """Whether a gradient or an update of the variable was measured."""
    measured = row.measured
    return measured is not None and (measured.gradient_norm is not None or measured.update_norm is not None)


def join_layers(rows: Sequence[VariableReport], report: Report, setting: Setting) -> list[Numbers]:
    """Numbers by owning layer; by the model's own layers where those would be too many."""
    owners = group_rows(rows, lambda row: row.layer)
    if len(owners) > MOST and not setting.full:
        parents = {layer.path: layer.parent for layer in report.layers}
        owners = group_rows(rows, lambda row: find_outer(row.layer, parents))
    root = next((f"{layer.path}/" for layer in report.layers if layer.parent is None), "")
    return [join_rows(name.removeprefix(root), members) for name, members in owners.items()]


def group_rows(
    rows: Iterable[VariableReport], key: Callable[[VariableReport], str | None]
) -> dict[str, list[VariableReport]]:
    """Rows by what `key` gives, in the order of the first."""
    grouped: dict[str, list[VariableReport]] = {}
    for row in rows:
        grouped.setdefault(key(row) or "(in no layer)", []).append(row)
    return grouped


def find_outer(layer: str | None, parents: dict[str, str | None]) -> str | None:
    """The layer directly below the model that holds this one."""
    seen: set[str] = set()
    while layer is not None and layer not in seen:
        seen.add(layer)
        outer = parents.get(layer)
        if outer is None or parents.get(outer) is None:
            return layer
        layer = outer
    return layer


def join_rows(name: str, rows: Sequence[VariableReport]) -> Numbers:
    """The numbers of several variables as those of one."""
    measured = [row.measured for row in rows if row.measured is not None]
    sizes = [math.prod(size or 1 for size in row.shape) for row in rows]
    shares = [(one.zero_fraction, size) for one, size in zip(measured, sizes, strict=True)]
    known = [(share, size) for share, size in shares if share is not None and size]
    total = sum(size for _, size in known)
    return Numbers(
        name,
        join_norms(one.gradient_norm for one in measured),
        join_norms(one.update_norm for one in measured),
        join_norms(one.weight_norm for one in measured),
        sum(share * size for share, size in known) / total if total else None,
    )


def join_norms(norms: Iterable[float | None]) -> float | None:
    """The norm of several tensors together, of those whose norm is known."""
    known = [norm for norm in norms if norm is not None]
    return math.hypot(*known) if known else None
