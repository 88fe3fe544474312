"""All variables of a capture in the order of the contract, each with its role."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from introspect.capture.frames import list_owners
from introspect.capture.framework import KerasName, descends, name_keras
from introspect.capture.layers import LayerTree, list_seeds, walk_layers
from introspect.capture.record import Role
from introspect.capture.slots import list_variables
from introspect.capture.untracked import Claims, claim_variables, find_unknown
from introspect.capture.variables import Entry, VariableTable, find_face, is_variable, unwrap_variable

COUNTERS = ("_train_counter", "_test_counter", "_predict_counter", "_steps_per_execution")
"""tf_keras' own step counters, which the train step writes and reads."""


@dataclass
class Rows:
    """The table of variables, and what was learnt while it was filled."""

    table: VariableTable
    tree: LayerTree
    optimizers: list[Any]
    """Optimizers that only the graph knows, found by the variables they own."""
    owned: dict[int, list[Any]]
    """Variables of optimizers that were looked through, by the optimizer's identity."""

    def list_owned(self, *optimizers: Any) -> list[Any]:
        """Variables that the optimizers own."""
        return [variable for part in optimizers for variable in self.owned.get(id(part)) or list_variables(part)]


def fill_rows(model: Any, models: Sequence[Any], optimizers: Iterable[Any], graphs: Sequence[Any]) -> Rows:
    """Rows of the model's variables, then untracked ones, then optimizers' and metrics'.

    `model` may be None (a custom loop without one): then the variables of the graphs stand as the model's.
    `models` are the model and its twin, whose metrics count as the model's.
    """
    table = VariableTable()
    tree = walk_layers(model, name_keras(model)) if model is not None else LayerTree()
    if model is not None:
        add_model(model, tree, table)
    state = VariableTable()
    owned = {id(part): list_variables(part) for part in {id(part): part for part in optimizers}.values()}
    for held in owned.values():
        for variable in held:
            if table.find(variable) is None:
                state.add(variable, Entry("optimizer"))
    for variable in (variable for part in models for variable in list_metric_variables(part, name_keras(part))):
        if table.find(variable) is None:
            state.add(variable, Entry("metric"))
    found = add_untracked(graphs, table, state, tree, model is None)
    if model is not None:
        note_lists(model, table)
    for variable, row in zip(state.objects, state.rows, strict=True):
        table.add(variable, Entry(row.role), row)
    return Rows(table, tree, found, owned)


def add_model(model: Any, tree: LayerTree, table: VariableTable) -> None:
    trained = {id(variable) for variable in model.trainable_variables}
    compiled, asked = list_compiled(model), list_asked(model)
    seeds = {id(variable) for layer in tree.layers for variable in list_seeds(layer)}
    for variable in model.variables:
        owners = tuple(tree.owners.get(id(variable), ()))
        then, asks = (None if found is None else id(variable) in found for found in (compiled, asked))
        table.add(variable, Entry("model", id(variable) in trained, owners, id(variable) in seeds, then, asks))


def note_lists(model: Any, table: VariableTable) -> None:
    """Which of the variables that the model does not track stand in its lists all the same."""
    untracked = [index for index, row in enumerate(table.rows) if row.role == "untracked"]
    if not untracked or not find_own_lists(model):
        return
    listed, asked = read_list(lambda: model.trainable_variables), list_asked(model)
    for index in untracked:
        keys = {id(table.objects[index]), id(unwrap_variable(table.objects[index]))}
        held = None if asked is None else not keys.isdisjoint(asked)
        table.rows[index] = replace(table.rows[index], asked=held, listed=not keys.isdisjoint(listed or ()))


def list_asked(model: Any) -> set[int] | None:
    """Identities of what Keras' own `train_step` takes gradients for. Seen on Keras 3.13 to 3.15, tf_keras 2.19 to 2.21."""
    return read_list(lambda: model.trainable_weights if name_keras(model) == "keras" else model.trainable_variables)


def read_list(ask: Callable[[], Iterable[Any]]) -> set[int] | None:
    """Identities of what is in one of the model's lists."""
    try:
        return {id(variable) for variable in ask()}
    except Exception:  # a property of the user's, which no step may ever ask
        return None


def find_own_lists(model: Any) -> tuple[str, ...]:
    """Which of the lists of what trains the model's class overrides."""
    own = {name for base in list_owners(cast(Hashable, type(model))) for name in vars(base)}
    return tuple(name for name in ("trainable_variables", "trainable_weights") if name in own)


def list_compiled(model: Any) -> set[int] | None:
    """Identities of what trained by the flags that tf_keras kept at `compile`; None in Keras 3. Seen on tf_keras 2.19 to 2.21."""
    state = getattr(model, "_compiled_trainable_state", None)
    if name_keras(model) != "tf_keras" or state is None:
        return None
    found: set[int] = set()
    stack = [model]
    while stack:
        layer = stack.pop()
        if state.get(layer, layer.trainable):
            found.update(id(variable) for variable in layer._trainable_weights)
            stack.extend(layer._flatten_layers(recursive=False, include_self=False))
    return found


def list_metric_variables(model: Any, keras: KerasName) -> list[Any]:
    """State of the model's metrics, those in its attributes too: a user's `metrics` property may leave some out."""
    metrics = [*model.metrics, *(value for value in vars(model).values() if is_metric(value))]
    variables = [variable for metric in metrics for variable in metric.variables]
    if keras == "tf_keras":
        variables += [value for name in COUNTERS if is_variable(value := vars(model).get(name))]
    return variables


def is_metric(value: Any) -> bool:
    return descends(value, ("keras", "tf_keras"), ("Metric",))


def add_untracked(
    graphs: Sequence[Any], table: VariableTable, state: VariableTable, tree: LayerTree, alone: bool
) -> list[Any]:
    """Rows of what the graphs use and nobody named; gives back optimizers that own some of it."""
    known = find_unknown(graphs, (table, state))
    claims = claim_variables(known)
    found: dict[int, Any] = {}
    for variable in known:
        optimizer = claims.optimizers.get(id(variable))
        if optimizer is not None:
            found.setdefault(id(optimizer), optimizer)
        add_claimed(variable, claims, table, state, tree, alone)
    return list(found.values())


def add_claimed(
    variable: Any, claims: Claims, table: VariableTable, state: VariableTable, tree: LayerTree, alone: bool
) -> None:
    key = id(variable)
    named = claims.wrappers.get(key, variable)
    if key in claims.optimizers:
        state.add(named, Entry("optimizer"))
    elif key in claims.metrics:
        state.add(named, Entry("metric"))
    else:
        layer = claims.layers.get(key)
        owners = (tree.paths.get(id(layer), str(layer.name)),) if layer is not None else ()
        role: Role = "model" if alone else "untracked"
        expected = bool(find_face(named).trainable) and (layer is None or bool(layer.trainable))
        table.add(named, Entry(role, expected, owners, key in claims.seeds))
