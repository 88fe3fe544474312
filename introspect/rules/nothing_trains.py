"""Every weight is frozen, so that the step trains nothing.

What it does
    Says so where the flags let no weight of the model train and the step does as they say, and since which line, where
    `trace_flags` saw it.

Why it matters
    `fit` runs on, with a loss that stands still. Keras 3 reads the flags when it traces the step and not at `compile`: a
    discriminator that is compiled, then frozen for the stacked model of a GAN, is frozen in its own step too.

Cause
    `model.trainable = False` before the first `fit`, or all layers frozen one by one.

Fix
    Set what is to train, and compile again; train both nets of a GAN in one `train_step`, each with its own optimizer.

Example
    discriminator.compile("adam", "binary_crossentropy")
    discriminator.trainable = False
    discriminator.train_on_batch(x, y)
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop, write_anew
from introspect.rules._groups import shorten
from introspect.rules._stale import show_origin
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current = facts.current
    if current is None or is_own_loop(current) or any(row.expected or row.updated != "no" for row in facts.rows):
        return
    weights = [index for index, variable, _ in facts.pairs if variable.role == "model" and variable.watched]
    if not weights or any(_is_held(facts, index) for index in weights):
        return
    number = len(weights)
    whole = f"all {count(number, 'weight')}" if number > 1 else "the one weight"
    yield RULE.finding(
        variables=facts.paths_of(weights),
        layers=facts.layers_of(weights),
        message=f"The step trains nothing: {whole} of the model {agree(number, 'is', 'are')} frozen.",
        cause=facts.tell_flag_history(weights, frozen=True) or _tell_flags(facts, weights),
        fix=f"{_write_unfreezing(facts)}{write_anew(facts)}",
        evidence=show_origin(facts, current, weights, frozen=True),
    )


def _write_unfreezing(facts: Facts) -> str:
    """Code that sets every flag: Keras 3 passes over an assignment of the value that a model's flag has."""
    root = facts.tree.root
    if facts.capture.model.keras == "keras" and root is not None and root.trainable:
        return (
            "# all layers; the model's own flag is True, and an assignment of the value that a flag has does nothing:\n"
            "model.trainable = False\nmodel.trainable = True  # or the layers that are to train\n"
        )
    return "model.trainable = True  # or the layers that are to train\n"


def _is_held(facts: Facts, index: int) -> bool:
    """Whether a container alone keeps it from training, which INT401 tells."""
    variable = facts.capture.variables[index]
    owner = facts.tree.by_path.get(variable.layer or "")
    return variable.trainable and (owner is None or owner.trainable)


def _tell_flags(facts: Facts, weights: list[int]) -> str:
    chosen = set(weights)
    deciders = dict.fromkeys(row.decided_by for index, _, row in facts.pairs if index in chosen and row.decided_by)
    root = facts.tree.root.path if facts.tree.root is not None else None
    named = name_some(["the model" if path == root else shorten(facts, path) for path in deciders])
    flags = f"{agree(len(deciders), 'flag', 'flags')} of {named}"
    if facts.flags_of_compile:
        return f"The {flags} did not let them train when the model was compiled."
    return (
        f"The {flags} {agree(len(deciders), 'is', 'are')} False. Flags count when the step is traced, at the first fit, and not "
        "at compile: what is frozen between the two stands still in this step too."
    )


RULE = Rule("INT404", "nothing-trains", "info", "proven", __doc__ or "", check)
