"""Norms of all variables at one step, as they are handed to the writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from introspect.report.metadata import NORM_ROWS, NOT_MEASURED

Norms = Sequence[float | None] | NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class NormSample:
    """Norms of a report's variables at one step.

    Each sequence has one entry for each path, None or `NOT_MEASURED` (-1) where nothing was measured; NaN and infinity
    are measured facts.
    """

    paths: tuple[str, ...]
    """Of all variables of the report, in its order."""
    step: int | None
    gradient_norm: Norms
    update_norm: Norms
    weight_norm: Norms | None = None
    zero_fraction: Norms | None = None

    def stack(self) -> NDArray[np.float32]:
        """float32 [4, variables], rows as `NORM_ROWS`.

        Raises:
            ValueError: a sequence is not as long as `paths`.
        """
        rows = np.full((len(NORM_ROWS), len(self.paths)), NOT_MEASURED, np.float32)
        for row, name in zip(rows, NORM_ROWS, strict=True):
            norms = getattr(self, name)
            if norms is None:
                continue
            if len(norms) != len(self.paths):
                raise ValueError(f"{name} has {len(norms)} entries for {len(self.paths)} variables")
            with np.errstate(over="ignore"):
                row[:] = norms if isinstance(norms, np.ndarray) else [NOT_MEASURED if n is None else n for n in norms]
        return rows
