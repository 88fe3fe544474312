"""A variable is updated with the gradient of another one.

What it does
    Names variables whose update is made of gradients that the step asked for other variables, and not of their own. It is
    known of a step that introspect traced (before `fit`, or under `run_eagerly`), where each gradient keeps its number. Of a
    step that has run it is known of kernels that are only multiplied (dense, convolution), for their gradient is made of
    what they are multiplied with; of others nothing is said.

Why it matters
    Where shapes are equal nothing raises: the loss moves, both variables move, and neither goes down its own slope.

Cause
    `apply_gradients(zip(gradients, variables))` was given another list, or the same in another order, than
    `tape.gradient(loss, variables)`.

Fix
    Give both the same list. Where gradients of one net are meant for another (a worker's copy, a meta learner), nothing.

Example
    gradients = tape.gradient(loss, encoder.trainable_variables + decoder.trainable_variables)
    optimizer.apply_gradients(zip(gradients, decoder.trainable_variables + encoder.trainable_variables))
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop
from introspect.rules._groups import of_layers
from introspect.rules._steps import write_steps
from introspect.rules._wording import agree, count, join, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    current, mixed = facts.current, facts.mixed
    if current is None or not mixed:
        return
    indices, asked = list(mixed), facts.capture.asked
    number, optimizer = len(indices), "optimizer" if is_own_loop(current) else "self.optimizer"
    places = asked.places[:1] if asked is not None else ()
    yield RULE.finding(
        variables=facts.paths_of(indices),
        layers=facts.layers_of(indices),
        message=(
            f"{count(number, 'variable')}{of_layers(facts, indices)} {agree(number, 'is', 'are')} updated with the gradients of "
            f"other variables: {_tell_pairs(facts)}."
        ),
        cause=(
            "The step hands the optimizer gradients beside other variables than those that it asked them for: the lists that "
            "are zipped differ, or their order does."
        ),
        fix=(
            f"# one list for both:\ngradients = tape.gradient(loss, variables)\n"
            f"{optimizer}.apply_gradients(zip(gradients, variables))\n"
            "# where one net is meant to learn by another's gradients: nothing"
        ),
        evidence=(
            *(EvidenceStep("the step asks for gradients here", location=place) for place in places),
            *(s for i in indices[:3] for s in write_steps(facts, current, i, current.gradient_writes(i)[:1])),
        ),
    )


def _tell_pairs(facts: Facts) -> str:
    """ "a/kernel with that of b/kernel and 3 more"."""
    told = []
    for index, givers in facts.mixed.items():
        names = facts.paths_of(sorted(givers))
        told.append(f"{facts.paths_of([index])[0]} with {agree(len(names), 'that', 'those')} of {join(names[:2])}")
    return name_some(told)


RULE = Rule("INT302", "gradient-of-another", "info", "proven", __doc__ or "", check)
