"""The catalogue of rules as text, for the command line."""

from __future__ import annotations

import difflib

from introspect.errors import IntrospectError
from introspect.rules import RETIRED_IDS, RULES, Rule


def list_rules() -> str:
    """All rules in the catalogue's order, one a line."""
    heads = ("Id", "Name", "Severity", "Certainty")
    rows = [heads, *((rule.id, rule.name, rule.severity, rule.certainty) for rule in RULES)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def explain_rule(word: str) -> str:
    """The documentation of the rule with this id or name.

    Raises:
        IntrospectError: no rule has it; the message names near ones.
    """
    for rule in RULES:
        if word.lower() in (rule.id.lower(), rule.name):
            return describe_rule(rule)
    if word.upper() in RETIRED_IDS:
        raise IntrospectError(f"rule {word.upper()} is retired and reports nothing; --list-rules shows those in use")
    known = [name for rule in RULES for name in (rule.id, rule.name)]
    near = difflib.get_close_matches(word, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "--list-rules shows all"
    raise IntrospectError(f"no rule has the id or name {word!r}; {hint}")


def describe_rule(rule: Rule) -> str:
    """Heading and documentation."""
    doc = rule.doc.strip() or "Python runs without docstrings here (-OO), and they hold the documentation."
    return f"{rule.id} {rule.name}  ({rule.severity}, {rule.certainty})\n\n{doc}\n"
