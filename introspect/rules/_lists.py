"""What is said where the model's class overrides the lists of what trains."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.facts import Facts
from introspect.rules._wording import agree, join

ASKED = "trainable_weights"
"""What Keras 3's own train_step asks the model for; what it tells the user is `trainable_variables`."""


def explain_lists(facts: Facts, indices: Sequence[int], held: bool) -> str:
    """Why a step of Keras 3 does otherwise than `trainable_variables` says; `held` by the list that it asks, or not."""
    them = agree(len(indices), "it", "them")
    own, other = ("holds", "does not") if held else ("does not hold", "does")
    if ASKED in facts.capture.own_lists:
        return (
            f"Keras' own train_step asks model.{ASKED}, which the class overrides and which {own} {them}; "
            f"model.trainable_variables {other}."
        )
    return (
        f"Keras' own train_step asks model.{ASKED}, which {own} {them}; model.trainable_variables, which {other}, is "
        "overridden."
    )


def mend_lists(facts: Facts) -> str:
    """What to write instead of the overridden property."""
    if ASKED in facts.capture.own_lists:
        return f"# let {ASKED}, which Keras asks, begin with super().{ASKED}, and freeze by the flags of layers"
    return (
        f"# freeze by the flags of layers; or override {ASKED}, which Keras asks, in the place of trainable_variables"
    )


def name_read(facts: Facts) -> str:
    """The overridden lists that a step reads when it is traced; nothing where the class overrides none of them."""
    lists = facts.capture.own_lists
    if facts.capture.model.keras == "keras" and not facts.capture.model.custom_train_step:
        lists = tuple(name for name in lists if name == ASKED)
    return join([f"model.{name}" for name in lists])
