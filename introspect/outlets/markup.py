"""Building HTML from nested calls; text is escaped unless it came out of `tag`, so forgetting is not possible."""

from __future__ import annotations

import html

from introspect.outlets.setting import make_inert

VOID = frozenset({"meta", "br"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | None


def tag(element: str, /, *children: Child, **attributes: str | bool | None) -> Markup:
    """One element; a trailing underscore of an attribute's name falls off, others become hyphens, None is left out."""
    said = "".join(write_attribute(key, value) for key, value in attributes.items())
    if element in VOID:
        return Markup(f"<{element}{said}>")
    return Markup(f"<{element}{said}>{join(*children)}</{element}>")


def write_attribute(key: str, value: str | bool | None) -> str:
    """One attribute with the space before it."""
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(make_inert(str(value)))}"'


def join(*children: Child) -> Markup:
    """Children one after another, plain text escaped and its control characters spelled out."""
    parts = (child if isinstance(child, Markup) else html.escape(make_inert(child)) for child in children if child)
    return Markup("".join(parts))


def mark_code(text: str) -> Markup:
    """Prose in which `code` stands between backticks."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return join(text)
    return join(*(tag("code", piece) if i % 2 else piece for i, piece in enumerate(pieces)))
