"""Attributes of layers that look like a misspelt `trainable`."""

from __future__ import annotations

import difflib
from functools import cache
from typing import Any

_KNOWN = frozenset({"trainable", "_trainable", "trainable_weights", "trainable_variables", "trainable_state"})


def find_odd_flags(layers: dict[str, Any]) -> tuple[tuple[str, str, bool], ...]:
    """(layer path, attribute, value) for each boolean attribute whose name is nearly `trainable`.

    `layers` maps paths to layers of Keras 3 or tf_keras.
    """
    found = []
    for path, layer in layers.items():
        for attribute, value in vars(layer).items():
            if isinstance(value, bool) and attribute not in _KNOWN and _looks_like_flag(attribute):
                found.append((path, attribute, value))
    return tuple(found)


@cache
def _looks_like_flag(attribute: str) -> bool:
    word = attribute.strip("_").lower()
    if abs(len(word) - len("trainable")) > 2 or len(set(word) & set("trainable")) < 6:
        return False  # SequenceMatcher costs as much as reading a small graph, once for each attribute of each layer
    return word == "trainable" or difflib.SequenceMatcher(None, word, "trainable").ratio() >= 0.85
