"""The report inside a notebook: the content of the HTML page, its style confined to itself."""

from __future__ import annotations

from introspect.outlets.html import draw_report, read_style
from introspect.outlets.markup import Markup, tag
from introspect.records import Report

MOST_VARIABLES = 2000
"""A cell with more rows than this makes a notebook slow to open and to save."""
PAGE_RULES = "/* page */"


def render_notebook(report: Report) -> str:
    """A <div> with a style sheet whose every rule is scoped to it."""
    style = tag("style", Markup(read_style().partition(PAGE_RULES)[0]))
    return tag("div", style, draw_report(report, MOST_VARIABLES), class_="introspect introspect-notebook")
