"""A flag was typed on an attribute that Keras does not read.

What it does
    Names attributes of layers that look like `trainable` and hold a boolean other than the layer's flag.

Why it matters
    Python takes `layer.trainble = False` without a word, and the layer trains.

Cause
    A typing error.

Fix
    Write `layer.trainable = False`, and compile again.

Example
    model.get_layer("hid").trainble = False
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._code import write_anew, write_flag
from introspect.rules._groups import shorten


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each attribute."""
    for path, attribute, value in facts.capture.odd_flags:
        layer = facts.tree.by_path.get(path)
        if layer is not None and layer.trainable == value:
            continue  # what was typed is so
        yield RULE.finding(
            variables=facts.paths_of(facts.indices_below(path)),
            layers=(path,),
            message=f"Layer {shorten(facts, path)} has an attribute {attribute!r} = {value}, which Keras does not read.",
            cause=f"It looks like a misspelt 'trainable', which is {layer.trainable if layer else 'unknown'} for this layer.",
            fix=f"{write_flag(facts, path, value)}\n{write_anew(facts)}".rstrip(),
        )


RULE = Rule("INT402", "misspelt-flag", "info", "likely", __doc__ or "", check)
