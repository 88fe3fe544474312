"""The catalogue: each rule is named here once, in the order in which findings of one severity are listed."""

from __future__ import annotations

from introspect.rules._base import HEADINGS, Rule

RULES: tuple[Rule, ...] = ()

RETIRED_IDS: frozenset[str] = frozenset()
"""Ids that were once in use; they are never given to another rule."""

__all__ = ["HEADINGS", "RETIRED_IDS", "RULES", "Rule"]
