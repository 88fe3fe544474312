"""Words that several rules use, so that they are the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence

RECOMPILE = "introspect.recompile(model)  # or: model.compile(optimizer=<a new optimizer>, loss=…, metrics=…), after the flags are set"


def count(number: int, noun: str) -> str:
    """ "1 variable", "3 variables"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def name_some(paths: Sequence[str], most: int = 3) -> str:
    """The first few paths, and how many more."""
    shown = ", ".join(paths[:most])
    left = len(paths) - most
    return f"{shown} and {left} more" if left > 0 else shown


def of_layers(layers: Sequence[str]) -> str:
    """ " of layer a", " of layers a, b", or nothing."""
    if not layers:
        return ""
    return f" of {'layer' if len(layers) == 1 else 'layers'} {name_some(layers)}"


def agree(number: int, one: str, several: str) -> str:
    """The verb form that fits the number."""
    return one if number == 1 else several
