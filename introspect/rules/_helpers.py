"""Helper objects that hold what Keras does not see: which they are, and code that lets a layer hold it."""

from __future__ import annotations

from collections.abc import Sequence

from introspect.capture.record import HelperPart
from introspect.facts import Facts
from introspect.rules._code import MOST_LINES, write_items
from introspect.rules._wording import agree, name_some


def find_parts(facts: Facts, indices: Sequence[int]) -> list[HelperPart] | None:
    """The parts of helper objects that hold these variables; None where not all are held so, or by several classes' objects."""
    parts = [part for part in facts.capture.helper_parts if not set(indices).isdisjoint(part.variables)]
    held = {index for part in parts for index in part.variables}
    layers = {part.layer for part in parts}
    return parts if held.issuperset(indices) and len(layers) == 1 else None


def tell_parts(facts: Facts, parts: Sequence[HelperPart]) -> str:
    """ "M reaches through self.helper.net: a Helper is no layer, and Keras does not look into it"."""
    kinds = list(dict.fromkeys(part.kind for part in parts))
    what = f"objects of {agree(len(kinds), 'class', 'classes')} {name_some(kinds)} are no layers"
    return (
        f"{name_owner(facts, parts)} reaches through {name_some([part.code for part in parts])}: {what}, and Keras does "
        "not look into them"
    )


def write_parts(facts: Facts, parts: Sequence[HelperPart]) -> str:
    """Code of an `__init__` that holds the parts itself."""
    many = len(parts) > MOST_LINES
    lines = [f"self.{part.name} = {part.code}" for part in parts]
    code = write_items("self.held = [", [part.code for part in parts], "]") if many else "\n".join(lines)
    where = agree(len(lines) if not many else 1, "an attribute", "attributes")
    return f"# in __init__ of {name_owner(facts, parts)}, as {where} of its own:\n{code}"


def name_owner(facts: Facts, parts: Sequence[HelperPart]) -> str:
    """The class of the layer whose attribute leads to the parts."""
    return facts.tree.by_path[parts[0].layer].class_name
