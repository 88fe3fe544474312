"""Who decides whether a variable is meant to train, by the flags alone."""

from __future__ import annotations

from collections.abc import Iterator

from introspect.capture.record import Capture, CapturedVariable
from introspect.records import LayerReport


class LayerTree:
    """The captured layers by path, with their ancestors."""

    def __init__(self, layers: tuple[LayerReport, ...]) -> None:
        self.by_path = {layer.path: layer for layer in layers}
        self.root = next((layer for layer in layers if layer.parent is None), None)

    def ancestors(self, path: str | None) -> Iterator[LayerReport]:
        """The layer itself, then its containers outward."""
        while path is not None:
            layer = self.by_path.get(path)
            if layer is None:
                return
            yield layer
            path = layer.parent

    def outermost_frozen(self, path: str | None) -> LayerReport | None:
        """The outermost container, or the layer itself, whose flag is False."""
        found = None
        for layer in self.ancestors(path):
            if not layer.trainable:
                found = layer
        return found


def find_decider(capture: Capture, tree: LayerTree, variable: CapturedVariable) -> str | None:
    """Path of the model, container, layer or variable whose flag decides `expected`; None where no flag does.

    Keras 3: the root's flag, then the variable's own, which a layer's setter writes; flags of containers between are
    not read. tf_keras: every container's flag (both measured on Keras 3.15 and tf_keras 2.21).
    """
    if variable.expected:
        return variable.path
    if tree.root is not None and not tree.root.trainable and variable.trainable:
        return tree.root.path
    frozen = tree.outermost_frozen(variable.layer)
    if frozen is not None:
        return frozen.path
    return variable.path if not variable.trainable else None
