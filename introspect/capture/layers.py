"""The layer tree as plain rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from introspect.capture.framework import KerasName, descends, is_weight_handler, keras_version
from introspect.records import LayerReport


@dataclass
class LayerTree:
    """Layers in depth-first order, each once, with unique paths."""

    layers: list[Any] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    parents: dict[int, str | None] = field(default_factory=dict)
    own: dict[int, list[Any]] = field(default_factory=dict)
    """What `own_variables` gives for each layer, by its identity."""
    owners: dict[int, list[str]] = field(default_factory=dict)
    """Paths of the layers that own a variable, by the variable's identity."""
    shared: dict[str, list[str]] = field(default_factory=dict)
    """By a layer's path: paths of the layers that hold it beside its parent."""


def walk_layers(model: Any, keras: KerasName) -> LayerTree:
    """All layers that Keras tracks below `model`, the model first; a shared layer stands where it is met first."""
    tree = LayerTree()
    taken: dict[str, int] = {}
    stack: list[tuple[Any, str | None]] = [(model, None)]
    while stack:
        layer, parent = stack.pop()
        if id(layer) in tree.paths:
            if parent is not None and parent != tree.parents[id(layer)]:
                tree.shared.setdefault(tree.paths[id(layer)], []).append(parent)
            continue
        path = make_unique(layer.name if parent is None else f"{parent}/{layer.name}", taken)
        tree.layers.append(layer)
        tree.paths[id(layer)] = path
        tree.parents[id(layer)] = parent
        tree.own[id(layer)] = own_variables(layer, keras)
        for variable in tree.own[id(layer)]:
            tree.owners.setdefault(id(variable), []).append(path)
        stack.extend((child, path) for child in reversed(list(child_layers(layer, keras))))
    return tree


def make_unique(path: str, taken: dict[str, int]) -> str:
    """`path`, or `path#2`, `path#3` … where it is taken."""
    count = taken[path] = taken.get(path, 0) + 1
    return path if count == 1 else make_unique(f"{path}#{count}", taken)


def child_layers(layer: Any, keras: KerasName) -> Iterator[Any]:
    """Layers directly below a layer, as Keras itself finds them."""
    if keras == "tf_keras":
        yield from layer._flatten_layers(recursive=False, include_self=False)
    else:
        yield from layer._layers


def own_variables(layer: Any, keras: KerasName) -> list[Any]:
    """Variables that the layer itself made or was given, sublayers' left out; states of its random generators too."""
    if keras == "tf_keras":
        weights = (*getattr(layer, "_trainable_weights", ()), *getattr(layer, "_non_trainable_weights", ()))
        return [weight for weight in weights if not is_weight_handler(weight)]
    return [*layer._trainable_variables, *layer._non_trainable_variables, *list_seeds(layer)]


def refuse_layers(model: Any) -> str:
    """What kind of model it is, where it does not hold a layer that is assigned to an attribute of it; "" of others.

    Seen on Keras 3.13 to 3.15, tf_keras 2.19 to 2.21.
    """
    if descends(model, ("keras", "tf_keras"), ("Sequential",)):
        return "a Sequential"
    major, minor = (int(part) for part in str(keras_version("keras") or "0.0").split(".")[:2])
    if descends(model, ("keras",), ("Functional",)) and (major, minor) < (3, 15):
        return "a functional model of Keras before 3.15"
    return ""


def list_seeds(layer: Any) -> list[Any]:
    """State of the layer's own random generators, Keras 3's and tf_keras'."""
    seeds = [generator.state for generator in getattr(layer, "_seed_generators", ())]
    generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
    return seeds if generator is None else [*seeds, generator._state_var]


def describe_layers(tree: LayerTree, name_of: dict[int, str]) -> tuple[LayerReport, ...]:
    """Rows of the tree; `name_of` gives the path of each variable by its identity."""
    return tuple(describe_layer(layer, tree, name_of) for layer in tree.layers)


def describe_layer(layer: Any, tree: LayerTree, name_of: dict[int, str]) -> LayerReport:
    own = [name_of[id(variable)] for variable in tree.own[id(layer)] if id(variable) in name_of]
    return LayerReport(
        path=tree.paths[id(layer)],
        name=layer.name,
        class_name=type(layer).__name__,
        parent=tree.parents[id(layer)],
        trainable=bool(layer.trainable),
        built=bool(layer.built),
        variables=tuple(dict.fromkeys(own)),
    )
