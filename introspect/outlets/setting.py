"""Setting type: which glyphs, which width, and what makes any text from a model safe to show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from rich.cells import cell_len, chop_cells, set_cell_size

from introspect.outlets._base import Options

INERT_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
TYPEWRITER = str.maketrans(
    {
        "→": "->",
        "←": "<-",
        "…": "...",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "“": '"',
        "”": '"',
        "·": "-",
        "\N{MULTIPLICATION SIGN}": "x",
        "≠": "!=",
        "≤": "<=",
        "≥": ">=",
        "✓": "+",
        "✗": "x",
        "\N{NO-BREAK SPACE}": " ",
    }
)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks that are ours; everything else comes from the model and goes through `Setting.show`."""

    agrees: str = "✓"
    error: str = "✗"
    warning: str = "!"
    info: str = "i"
    unknown: str = "?"
    differs: str = "≠"
    arrow: str = "→"
    more: str = "…"
    dot: str = "·"
    none: str = "\N{EN DASH}"
    rule: str = "─"


ASCII_GLYPHS = Glyphs("+", "x", "!", "i", "?", "~", "->", "...", "-", "-", "-")


@dataclass(frozen=True, slots=True)
class Setting:
    """Width, glyphs and limit of one text."""

    width: int
    glyphs: Glyphs
    limit: int | None

    @property
    def full(self) -> bool:
        """Whether every variable is shown."""
        return self.limit is None

    def show(self, text: str) -> str:
        """One line of `text` in which nothing acts on a terminal: control and format characters are spelled out."""
        visible = make_inert(text)
        if self.glyphs is ASCII_GLYPHS:
            return visible.translate(TYPEWRITER).encode("ascii", "backslashreplace").decode()
        return visible

    def clip(self, text: str, width: int) -> str:
        """`text` in at most `width` cells, the middle left out: names differ at both ends."""
        if cell_len(text) <= width:
            return text
        more = self.glyphs.more
        room = width - len(more)
        if room < 2:
            return set_cell_size(text, max(width, 0))
        tail = room // 2
        return set_cell_size(text, room - tail).rstrip() + more + take_tail(text, tail)

    def list_some(self, names: Iterable[str], most: int = 6) -> str:
        """Names with commas, and how many more there are."""
        shown = [self.show(name) for name in names]
        if self.full:
            return ", ".join(shown)
        shown = [self.clip(name, self.width) for name in shown]
        if len(shown) <= most + 1:
            return ", ".join(shown)
        return f"{', '.join(shown[:most])}, {self.glyphs.more} and {number(len(shown) - most)} more"


def choose_setting(options: Options) -> Setting:
    """The setting that the options ask for; below 20 columns nothing can be read, so that is the least."""
    return Setting(max(options.width, 20), Glyphs() if options.unicode else ASCII_GLYPHS, options.limit)


def make_inert(text: str) -> str:
    """`text` with each control, format, surrogate or private character written as its escape."""
    if text.isprintable():
        return text
    return "".join(escape_character(c) if unicodedata.category(c) in INERT_CATEGORIES else c for c in text)


def escape_character(character: str) -> str:
    """A character as Python's escape for it: \\x1b, \\u202e, \\U000e0041."""
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def take_tail(text: str, width: int) -> str:
    """The end of `text` that fits `width` cells."""
    tail = text[-width:] if width else ""
    while cell_len(tail) > width:
        tail = tail[1:]
    return tail


def wrap(text: str, width: int) -> list[str]:
    """Words of one paragraph in lines of at most `width` cells; a longer word is broken."""
    width = max(width, 8)
    lines: list[str] = []
    line = ""
    for word in chain.from_iterable(break_word(word, width) for word in text.split()):
        joined = f"{line} {word}" if line else word
        if line and cell_len(joined) > width:
            lines.append(line)
            joined = word
        line = joined
    return [*lines, line] if line else lines


def break_word(word: str, width: int) -> list[str]:
    """The word itself, or pieces of it that fit."""
    return [word] if cell_len(word) <= width else chop_cells(word, width)


def number(value: int) -> str:
    """Digits in groups of three, parted by a space; below 10 000 as they are."""
    return f"{value:,}".replace(",", " ") if value >= 10_000 else str(value)


def count(value: int, noun: str) -> str:
    """`1 variable`, `26 variables`."""
    return f"{number(value)} {noun}" + ("" if value == 1 else "s")
