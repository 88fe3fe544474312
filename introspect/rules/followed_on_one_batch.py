"""The step takes values of tensors into Python, so it was followed on one batch.

What it does
    Says where a step that runs eagerly asks Python for values (`float(loss)`, `if loss > 0:`, `.numpy()`), and that the
    verdicts are of its way on one batch. All other findings of such a report are likely, none is proven.

Why it matters
    Another batch, or the next one, may take another branch and train other variables.

Cause
    `train_step` or a layer uses a number where a graph has a tensor; no graph holds for all batches then.

Fix
    Keep numbers out of what decides: `tf.cond` and `tf.where` for branches, metrics for what is shown. Where the numbers
    only go to a log, nothing needs to be done; data= gives the batch to follow.

Example
    if float(loss) > 1.0:             # in train_step
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop

WAYS = {"given": "on a batch of the data given", "invented": "on a made-up batch", "none": "through one call of it"}
"""By where the batch is from."""


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    followed = facts.capture.followed
    if followed is None:
        return
    loop = facts.current is not None and is_own_loop(facts.current)
    eagerly, call = ("A step that runs eagerly", "step, args=(x, y)") if loop else ("run_eagerly", "model, data=(x, y)")
    alone = followed.batch == "none"
    give = "" if alone else f", or give the batch that matters: introspect.inspect({call})"
    yield RULE.finding(
        variables=(),
        layers=(),
        message=f"The step asks Python for values of tensors, so it was followed {WAYS[followed.batch]}.",
        cause=f"{eagerly} lets Python decide by numbers, and another {'call' if alone else 'batch'} may go another way.",
        fix=f"decide with tf.cond or tf.where{give}",
        evidence=tuple(EvidenceStep(note="asks for a value", location=place) for place in followed.asked),
    )


RULE = Rule("INT507", "followed-on-one-batch", "info", "proven", __doc__ or "", check)
