"""Which layer an op belongs to, by its name scope: a help for the reader's eye, never a proof."""

from __future__ import annotations

import re

from introspect.graph.dataflow import Dataflow, Ints
from introspect.records import LayerReport

_SUFFIX = re.compile(r"_\d+$")


class LayerScopes:
    """Keras opens a name scope for each layer's call, with a number behind the name where it stood before.

    Keras 3 opens two, one to build the layer and one to run it: what `dense` runs stands below `dense_1`, also where
    another layer is called so. Seen on 3.13 to 3.15.
    """

    def __init__(self, layers: tuple[LayerReport, ...], numbered: bool) -> None:
        """`numbered`: whether the scope of a first call has a number too, as that of Keras 3."""
        self._numbered = numbered
        self._by_name: dict[str, list[LayerReport]] = {}
        for layer in layers:
            if layer.parent is not None:
                self._by_name.setdefault(layer.name, []).append(layer)
        self._parts = {layer.path: layer.path.split("/") for layer in layers}
        self._cache: dict[str, str | None] = {}

    def layer_of(self, op_name: str) -> str | None:
        """Path of the innermost layer whose scope holds the op."""
        return self._layer_at(op_name.rpartition("/")[0])

    def layers_of(self, flow: Dataflow, nodes: Ints) -> list[str | None]:
        """The same of many ops."""
        return flow.scopes(nodes, self._layer_at) if self._by_name else [None] * len(nodes)

    def _layer_at(self, scope: str) -> str | None:
        """That of a scope; where no layer has its name, that of the scope around it."""
        inner: list[str] = []
        while scope not in self._cache:
            outer, _, part = scope.rpartition("/")
            candidates = self._named(part)
            if candidates or not outer:
                self._cache[scope] = self._choose(candidates, outer)
            else:
                inner.append(scope)
                scope = outer
        found = self._cache[scope]
        self._cache.update(dict.fromkeys(inner, found))
        return found

    def _choose(self, candidates: list[LayerReport], outer: str) -> str | None:
        """Of layers of one name the one whose path has the most of the scopes around."""
        if len(candidates) < 2:
            return candidates[0].path if candidates else None
        parts = outer.split("/")
        around = {*parts, *(_SUFFIX.sub("", part) for part in parts)}
        return max(candidates, key=lambda layer: self._overlap(layer, around)).path

    def _named(self, part: str) -> list[LayerReport]:
        """Layers that may have opened it, the likelier first."""
        exact, counted = self._by_name.get(part, []), self._by_name.get(_SUFFIX.sub("", part), [])
        if not self._numbered:
            return exact or counted
        return counted if counted is exact else [*counted, *exact]

    def _overlap(self, layer: LayerReport, outer: set[str]) -> int:
        return sum(map(outer.__contains__, self._parts[layer.path]))
