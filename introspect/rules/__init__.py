"""The catalogue: each rule is named here once, in the order in which findings of one severity are listed."""

from __future__ import annotations

from introspect.rules import (
    averages_misaligned,
    changes_without_gradient,
    container_flag,
    frozen_layer_statistics_updated,
    frozen_variable_updated,
    misspelt_flag,
    next_step_fails,
    no_gradient,
    optimizer_does_not_know_variable,
    saved_optimizer,
    slot_not_updated,
    stale_optimizer,
    statistics_of_frozen_weights,
    traces_disagree,
    trainable_variable_not_updated,
    untracked_variable,
)
from introspect.rules._base import HEADINGS, Rule

RULES: tuple[Rule, ...] = (
    optimizer_does_not_know_variable.RULE,
    next_step_fails.RULE,
    frozen_variable_updated.RULE,
    frozen_layer_statistics_updated.RULE,
    trainable_variable_not_updated.RULE,
    stale_optimizer.RULE,
    no_gradient.RULE,
    untracked_variable.RULE,
    traces_disagree.RULE,
    averages_misaligned.RULE,
    slot_not_updated.RULE,
    saved_optimizer.RULE,
    changes_without_gradient.RULE,
    container_flag.RULE,
    misspelt_flag.RULE,
    statistics_of_frozen_weights.RULE,
)

RETIRED_IDS: frozenset[str] = frozenset()
"""Ids that were once in use; they are never given to another rule."""

__all__ = ["HEADINGS", "RETIRED_IDS", "RULES", "Rule"]
