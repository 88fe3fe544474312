"""Lines of a text: spans with a style, and the parts that all texts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from introspect.outlets.setting import Setting, wrap

LABEL = 8
"""Columns of the labels at the left."""


class Span(NamedTuple):
    """Text of one style: a status, or strong, quiet, code, or none."""

    text: str
    style: str = ""


Line = tuple[Span, ...]


def get_glyph(status: str, setting: Setting) -> str:
    """The mark of a status or severity."""
    glyph: str = getattr(setting.glyphs, status)
    return glyph


def defuse_line(line: Line) -> Line:
    """A line that a build service would take for a command (`::error::`, `##[group]`) gets an escape in it."""
    text = "".join(span.text for span in line)
    if text.lstrip().startswith("::"):
        first = next(i for i, span in enumerate(line) if span.text.strip())
        line = (*line[:first], line[first]._replace(text=line[first].text.replace(":", "\\x3a", 1)), *line[first + 1 :])
    if "##" in text:
        line = tuple(span._replace(text=span.text.replace("##", "#\\x23")) for span in line)
    return line


def lay_field(label: str, text: str, setting: Setting, style: str = "") -> Iterator[Line]:
    """A label in its own column and text wrapped beside it."""
    lead = f"{label:<{LABEL}}"
    for line in wrap(setting.show(text), setting.width - LABEL):
        yield Span(lead, "quiet"), Span(line, style)
        lead = " " * LABEL


def lay_part(label: str, pieces: Iterable[tuple[bool, str]], setting: Setting) -> Iterator[Line]:
    """A labelled part; prose is wrapped, code is left as it is so that it can be pasted."""
    lead = f"  {label:<{LABEL - 2}}"
    for code, text in pieces:
        for line in text.splitlines():
            if code:
                yield Span(lead, "quiet"), Span("  " + setting.show(line), "code")
                lead = " " * LABEL
                continue
            for wrapped in wrap(setting.show(line), setting.width - LABEL):
                yield Span(lead, "quiet"), Span(wrapped)
                lead = " " * LABEL
