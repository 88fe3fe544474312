"""The catalogue: each rule is named here once, in the order in which findings of one severity are listed."""

from __future__ import annotations

from introspect.rules import (
    averages_misaligned,
    changes_without_gradient,
    container_flag,
    followed_on_one_batch,
    frozen_layer_statistics_updated,
    frozen_variable_updated,
    gpu_idle,
    gradient_not_finite,
    gradient_of_another,
    gradient_zero,
    jit_by_default,
    learning_rate_zero,
    measurement_limited,
    misspelt_flag,
    next_step_fails,
    no_gradient,
    nothing_trains,
    optimizer_does_not_know_variable,
    saved_optimizer,
    slot_not_updated,
    slot_on_other_device,
    stale_optimizer,
    statistics_of_frozen_weights,
    traces_disagree,
    trainable_variable_not_updated,
    untracked_variable,
    update_held_back,
    update_not_resolved,
    update_on_other_device,
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
    gradient_of_another.RULE,
    container_flag.RULE,
    misspelt_flag.RULE,
    statistics_of_frozen_weights.RULE,
    nothing_trains.RULE,
    learning_rate_zero.RULE,
    gradient_zero.RULE,
    update_not_resolved.RULE,
    gradient_not_finite.RULE,
    update_held_back.RULE,
    measurement_limited.RULE,
    followed_on_one_batch.RULE,
    update_on_other_device.RULE,
    slot_on_other_device.RULE,
    gpu_idle.RULE,
    jit_by_default.RULE,
)

RETIRED_IDS: frozenset[str] = frozenset()
"""Ids that were once in use; they are never given to another rule."""

__all__ = ["HEADINGS", "RETIRED_IDS", "RULES", "Rule"]
