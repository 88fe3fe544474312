"""What is said of a step that could train a variable and does not: what it asks its tapes for, where that is known."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.evidence.collect import TraceEvidence
from introspect.facts import Asking, Facts
from introspect.records import EvidenceStep
from introspect.rules._code import is_own_loop
from introspect.rules._wording import agree, name_some

MOST_PLACES = 2

_SAID: dict[Asking | None, str] = {
    "unasked": "the step never asks a tape for {its}",
    "unanswered": "the tape that the step asks for {its} gives None: part of that way stands outside of the tape, the tape does "
    "not watch {them} (watch_accessed_variables=False), or it differentiates another value",
    "dropped": "the step computes {its} and does not apply {them}: dropped by a filter or by a zip of lists of different lengths, "
    "or used for something else",
    "misgiven": "the step computes {its} and gives {them} to the optimizer for {takers}: the lists that are zipped differ",
    None: "the train step takes no gradient for {them}: it asks for other variables, drops the gradient before the optimizer "
    "applies it, or runs this part of the forward pass outside of the tape",
}

_CHANGE: dict[Asking | None, str] = {
    "unasked": "ask the tape for what is to train, all of it, with the whole forward pass inside the tape",
    "unanswered": "with the whole forward pass inside the tape",
    "dropped": "hand on all the gradients that the tape gives, each beside its variable",
    "misgiven": "hand on each gradient beside its own variable",
    None: "with the whole forward pass inside the tape",
}
"""What the step has to do, by what it does now; the nearest change, where that is known."""


def blame_step(facts: Facts, current: TraceEvidence, indices: Sequence[int], own: str | None) -> tuple[str, str]:
    """Cause and code; `own` is the class of the user's own optimizer that was built with the variables."""
    number, asking = len(indices), facts.how_asked(indices[0])
    its, them = agree(number, "its gradient", "their gradients"), agree(number, "it", "them")
    takers = dict.fromkeys(taker for index in indices for taker in facts.list_takers(index))
    said = _SAID[asking].format(its=its, them=them, takers=name_some(facts.paths_of(list(takers))))
    doubt = f"; or {own}, your own optimizer, does not write {them}" if own and asking in (None, "dropped") else ""
    return (
        f"{agree(number, 'Its value reaches', 'Their values reach')} the loss by differentiable ops, and {said}{doubt}"
        f"{_doubt_compile(facts, indices)}.",
        write_step(current, asking),
    )


def _doubt_compile(facts: Facts, indices: Sequence[int]) -> str:
    """What tf_keras' flags of compile may have to do with it; nothing where they say the same as those of now."""
    if all(facts.capture.variables[index].compiled in (None, True) for index in indices):
        return ""
    return ", or the flags were set after compile (tf_keras trains by those of then)"


def write_step(current: TraceEvidence, asking: Asking | None = None) -> str:
    """Code of a step that trains all that the flags let train, under what has to change for that."""
    where, owner = (current.trace.caller, "model") if is_own_loop(current) else ("train_step", "self")
    optimizer = "optimizer" if owner == "model" else "self.optimizer"
    return (
        f"# in {where}, {_CHANGE[asking]}:\n"
        f"gradients = tape.gradient(loss, {owner}.trainable_variables)\n"
        f"{optimizer}.apply_gradients(zip(gradients, {owner}.trainable_variables))"
    )


def show_asking(facts: Facts, indices: Sequence[int]) -> tuple[EvidenceStep, ...]:
    """Where the step asks for gradients."""
    asked, asking = facts.capture.asked, facts.how_asked(indices[0])
    if asked is None or asking is None:
        return ()
    note = "the step asks for gradients here" + (", of other variables" if asking == "unasked" else "")
    return tuple(EvidenceStep(note, location=place) for place in asked.places[:MOST_PLACES])
