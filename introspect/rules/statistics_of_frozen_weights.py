"""A layer's weights are frozen one by one, and its statistics go on moving.

What it does
    Names layers whose weights all have `trainable = False` while the layer's own flag is True, and which still write
    their statistics in the forward pass.

Why it matters
    BatchNorm asks its own flag, not those of gamma and beta: its moving mean and variance go on moving.

Cause
    The flags of the variables were set instead of the layer's.

Fix
    `layer.trainable = False`, and compile again.

Example
    bn.gamma.trainable = False; bn.beta.trainable = False      # the statistics still move
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._code import write_anew, write_flag
from introspect.rules._groups import shorten
from introspect.rules._wording import agree, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each layer."""
    current = facts.current
    if current is None:
        return
    frozen: dict[str, bool] = {}
    moving: dict[str, list[int]] = {}
    for index, variable, row in facts.pairs:
        if variable.layer is None or variable.role != "model":
            continue
        if variable.watched:
            frozen[variable.layer] = frozen.get(variable.layer, True) and not row.trainable
        elif any(write.kind == "statistics" for write in current.writes.get(index, ())):
            moving.setdefault(variable.layer, []).append(index)
    for path, indices in moving.items():
        layer = facts.tree.by_path.get(path)
        if frozen.get(path) and layer is not None and layer.trainable:
            paths = facts.paths_of(indices)
            yield RULE.finding(
                variables=paths,
                layers=(path,),
                message=(
                    f"All weights of layer {shorten(facts, path)} are frozen one by one, and its "
                    f"{agree(len(paths), 'statistic goes', 'statistics go')} on moving: {name_some(paths)}."
                ),
                cause="The layer asks its own flag, which is True; only the flags of its weights were set to False.",
                fix=f"{write_flag(facts, path, False)}\n{write_anew(facts)}".rstrip(),
            )


RULE = Rule("INT403", "statistics-of-frozen-weights", "info", "proven", __doc__ or "", check)
