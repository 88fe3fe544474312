"""The end of `fit` writes one variable's average into another.

What it does
    Follows `use_ema` at the end of `fit`: Keras 3 pairs the variables that train now with the averages of those that
    trained when the optimizer was built, one after the other, without comparing them.

Why it matters
    Weights are overwritten with those of another layer, silently, when shapes happen to fit.

Cause
    A layer was frozen or unfrozen after the optimizer was built.

Fix
    Compile again after the flags are set, with a new optimizer instance: `introspect.recompile(model)`.

Example
    model.compile(keras.optimizers.SGD(use_ema=True), "mse"); model.fit(x, y)
    model.get_layer("d1").trainable = False
    model.fit(x, y)            # d2 gets the average of d1
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import write_recompile
from introspect.rules._groups import of_layers
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    wrong = [end for end in facts.capture.fit_end if end.averaged != end.target]
    fails = facts.capture.failure is not None and facts.capture.failure.at_end
    if not wrong or fails:
        return
    variables = facts.capture.variables
    targets, number = [end.target for end in wrong], len(wrong)
    paths = facts.paths_of(targets)
    yield RULE.finding(
        variables=paths,
        layers=facts.layers_of(targets),
        message=(
            f"The end of fit overwrites {count(number, 'variable')}{of_layers(facts, targets)} with "
            f"{agree(number, 'the average of another one', 'averages of others')}: {name_some(paths)}."
        ),
        cause=(
            "With use_ema, Keras 3 pairs the variables that train now, one after the other, with the averages of those that "
            "trained when the optimizer was built, and compares neither names nor shapes. Flags were changed in between."
        ),
        fix=write_recompile(facts),
        evidence=tuple(
            EvidenceStep(note=f"{variables[e.target].path} is given the average of {variables[e.averaged].path}")
            for e in wrong[:3]
        ),
    )


RULE = Rule("INT205", "averages-misaligned", "warning", "proven", __doc__ or "", check)
