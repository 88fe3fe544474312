"""The layer tree as lines with columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len

from introspect.outlets.folding import Row, fold_tree
from introspect.outlets.lines import Line, Span, get_glyph
from introspect.outlets.setting import Setting, wrap
from introspect.outlets.tree import build_tree
from introspect.records import Report

HEADINGS = ("Layer", "Flag {arrow} step", "Gradient", "Slots", "Device")
LEAST_NAME = 26
WIDEST_DEVICE = 14


def lay_tree(report: Report, setting: Setting) -> Iterator[Line]:
    """The layer tree with columns where some row has them."""
    rows = fold_tree(build_tree(report), setting)
    headings = tuple(heading.format(arrow=setting.glyphs.arrow) for heading in HEADINGS)
    tables = [row.cells for row in rows if row.cells]
    widths = fit_columns([headings[1:], *tables], setting) if tables else ()
    names = max((measure_name(row) for row in rows), default=0)
    free = setting.width - sum(width + 2 for width in widths)
    room = min(max(names, LEAST_NAME) if tables else names, free)
    if tables:
        yield lay_cells(Row("agrees", 0, headings[0], cells=headings[1:]), room, widths, setting, "quiet")
    for row in rows:
        yield from lay_row(row, room, widths, setting)


def measure_name(row: Row) -> int:
    """Cells that the mark, the indent, the name and its note take."""
    return 2 + 2 * row.depth + cell_len(row.name) + (2 + cell_len(row.note) if row.note else 0)


def fit_columns(tables: Sequence[tuple[str, ...]], setting: Setting) -> tuple[int, ...]:
    """Widths of the columns after the name; those at the right fall away where the text is narrow."""
    widths = [max(cell_len(cells[i]) for cells in tables) for i in range(len(tables[0]))]
    widths[-1] = min(widths[-1], WIDEST_DEVICE)
    while len(widths) > 1 and sum(width + 2 for width in widths) > setting.width - LEAST_NAME:
        widths.pop()
    return (min(widths[0], setting.width // 2), *widths[1:])


def lay_row(row: Row, room: int, widths: tuple[int, ...], setting: Setting) -> Iterator[Line]:
    """A row of the tree with its details beneath."""
    if row.cells:
        yield lay_cells(row, room, widths, setting)
    else:
        yield from lay_sentence(row, room, setting)
    indent = " " * (4 + 2 * row.depth)
    for detail in row.details:
        for line in wrap(detail, setting.width - len(indent)):
            yield (Span(indent + line, "quiet"),)


def lay_cells(row: Row, room: int, widths: tuple[int, ...], setting: Setting, style: str = "") -> Line:
    """Mark, name and columns."""
    cells = "".join(
        f"  {pad(setting.clip(cell, width), width)}" for cell, width in zip(row.cells, widths, strict=False)
    )
    mark = Span("  " if style else f"{get_glyph(row.status, setting)} ", row.status)
    return mark, *lay_name(row, room, setting, style), Span(cells, style)


def lay_name(row: Row, room: int, setting: Setting, style: str = "") -> Line:
    """Indent, name and note, padded to the column's width."""
    indent = min(2 * row.depth, room // 2)
    free = room - 2 - indent
    name = setting.clip(row.name, free)
    left = free - cell_len(name) - 2
    note = f"  {setting.clip(row.note, left)}" if row.note and left >= 4 else ""
    padding = " " * (free - cell_len(name) - cell_len(note))
    return Span(" " * indent + name, style), Span(note + padding, "quiet")


def lay_sentence(row: Row, room: int, setting: Setting) -> Iterator[Line]:
    """Mark, name and a phrase; a long phrase goes on beneath, or wholly beneath where the columns are narrow."""
    mark = Span(f"{get_glyph(row.status, setting)} ", row.status)
    if setting.width - room < 24:
        yield mark, *lay_name(row, setting.width, setting)
        indent = " " * (4 + 2 * row.depth)
        yield from ((Span(indent + line),) for line in wrap(row.sentence, setting.width - len(indent)))
        return
    lead: Line = (mark, *lay_name(row, room, setting))
    lines = wrap_keeping(row.sentence, setting.width - room - 2)
    for line in lines or [""]:
        yield *lead, Span(f"  {line}")
        lead = (Span(" " * room),)


def wrap_keeping(text: str, width: int) -> list[str]:
    """`wrap`, but a line that fits keeps its spaces."""
    return [text] if cell_len(text) <= width else wrap(text, width)


def pad(text: str, width: int) -> str:
    """`text` with spaces up to `width` cells."""
    return text + " " * max(width - cell_len(text), 0)
