"""All variables of a capture in the order of the contract, each with its role."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from introspect.capture.frames import list_owners
from introspect.capture.framework import (
    KerasName,
    descends,
    list_existing,
    list_model_variables,
    list_trained_variables,
    name_keras,
)
from introspect.capture.layers import LayerTree, list_seeds, walk_layers
from introspect.capture.slots import list_variables
from introspect.capture.trace.traces import LiveTrace
from introspect.capture.untracked import Claims, claim_variables, find_unknown
from introspect.capture.variables import Entry, VariableTable, find_face, is_variable, unwrap_variable

COUNTERS = ("_train_counter", "_test_counter", "_predict_counter", "_steps_per_execution")
"""tf_keras' own step counters, which the train step writes and reads."""

OF_OPTIMIZER, OF_METRIC = Entry("optimizer"), Entry("metric")


@dataclass
class Rows:
    """The table of variables, and what was learnt while it was filled."""

    table: VariableTable
    tree: LayerTree
    optimizers: list[Any]
    """Optimizers that only the graph knows, found by the variables they own."""
    owned: dict[int, list[Any]]
    """Variables of optimizers that were looked through, by the optimizer's identity."""
    strays: bool = False
    """Whether the graphs use a variable that no object owns."""
    idle: list[Any] = field(default_factory=list)
    """Optimizers that a loop's function leads to, where its graphs use others."""

    def enter_idle(self, reached: Sequence[Any]) -> None:
        """Rows, after all others, for optimizers that the graphs leave out while they use some that nothing leads to."""
        strange = not {id(part) for part in self.optimizers} <= {id(part) for part in reached}
        if not strange and not self.strays:
            return
        known = {*self.owned, *map(id, self.optimizers)}
        self.idle = [part for part in reached if id(part) not in known]
        for part in self.idle:
            self.owned[id(part)] = list_variables(part)
            for variable in self.owned[id(part)]:
                self.table.add(variable, OF_OPTIMIZER)

    def list_owned(self, *optimizers: Any) -> list[Any]:
        """Variables that the optimizers own."""
        return [variable for part in optimizers for variable in self.owned.get(id(part)) or list_variables(part)]


def fill_rows(model: Any, models: Sequence[Any], optimizers: Iterable[Any], lives: Sequence[LiveTrace]) -> Rows:
    """Rows of the model's variables, then untracked ones, then optimizers' and metrics'.

    `model` may be None (a custom loop without one): then the variables of the traces stand as the model's.
    `models` are the model and its twin, whose metrics count as the model's.
    """
    tree = walk_layers(model, name_keras(model)) if model is not None else LayerTree()
    metrics = [variable for part in models for variable in list_metric_variables(part, name_keras(part))]
    own = list(enter_model(model, tree, {id(variable) for variable in metrics})) if model is not None else []
    owned = {id(part): list_variables(part) for part in {id(part): part for part in optimizers}.values()}
    state = [(variable, OF_OPTIMIZER) for held in owned.values() for variable in held]
    state += [(variable, OF_METRIC) for variable in metrics]
    table = make_table([*own, *state])
    unknown = find_unknown(lives, table)
    claims = claim_variables(unknown)
    if unknown:
        claimed = [enter_claimed(variable, claims, tree, model is None) for variable in unknown]
        before = [(variable, entry) for variable, entry in claimed if entry.role in ("model", "untracked")]
        behind = [(variable, entry) for variable, entry in claimed if entry.role in ("optimizer", "metric")]
        table = make_table([*own, *before, *state, *behind])
    if model is not None:
        note_lists(model, table)
    strays = any(not claims.has(variable) for variable in unknown)
    return Rows(table, tree, list_claiming(unknown, claims), owned, strays)


def make_table(entries: Iterable[tuple[Any, Entry]]) -> VariableTable:
    """The table of these variables in their order; one that comes again keeps its first row."""
    table = VariableTable()
    for variable, entry in entries:
        table.add(variable, entry)
    return table


def enter_model(model: Any, tree: LayerTree, counted: set[int]) -> Iterator[tuple[Any, Entry]]:
    """The model's variables, with what it says of them; `counted` are the identities of what metrics hold."""
    trained = {id(variable) for variable in list_trained_variables(model)}
    compiled, asked = list_compiled(model), list_asked(model)
    seeds = {id(variable) for layer in tree.layers for variable in list_seeds(layer)}
    for variable in list_model_variables(model):
        owners = put_inner_first(tree.owners.get(id(variable), ()))
        then, asks = (None if found is None else id(variable) in found for found in (compiled, asked))
        seed, metric = id(variable) in seeds, id(variable) in counted
        yield variable, Entry("model", id(variable) in trained, owners, seed, then, asks, metric)


def put_inner_first(owners: Sequence[str]) -> tuple[str, ...]:
    """Paths of layers that have a variable, those that hold another one of them last: a list of weights in an attribute."""
    if len(owners) < 2:
        return tuple(owners)
    return tuple(sorted(owners, key=lambda path: any(other.startswith(f"{path}/") for other in owners)))


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
    return read_list(lambda: model.trainable_weights if name_keras(model) == "keras" else list_trained_variables(model))


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
    return {id(variable) for variable in list_existing(model, lambda layer: state.get(layer, layer.trainable))}


def list_metric_variables(model: Any, keras: KerasName) -> list[Any]:
    """State of the model's metrics, those in its attributes too: a user's `metrics` property may leave some out."""
    metrics = [*model.metrics, *(value for value in vars(model).values() if is_metric(value))]
    variables = [variable for metric in metrics for variable in metric.variables]
    if keras == "tf_keras":
        variables += [value for name in COUNTERS if is_variable(value := vars(model).get(name))]
    return variables


def is_metric(value: Any) -> bool:
    return descends(value, ("keras", "tf_keras"), ("Metric",))


def list_claiming(unknown: Iterable[Any], claims: Claims) -> list[Any]:
    """Optimizers that own some of what the graphs use and nobody named."""
    found = (claims.optimizers.get(id(variable)) for variable in unknown)
    return list({id(optimizer): optimizer for optimizer in found if optimizer is not None}.values())


def enter_claimed(variable: Any, claims: Claims, tree: LayerTree, alone: bool) -> tuple[Any, Entry]:
    """A variable that the graphs use and nobody named, with what its owner says of it."""
    key = id(variable)
    named = claims.wrappers.get(key, variable)
    if key in claims.optimizers:
        return named, OF_OPTIMIZER
    if key in claims.metrics:
        return named, OF_METRIC
    layer = claims.layers.get(key)
    owners = (tree.paths.get(id(layer), str(layer.name)),) if layer is not None else ()
    expected = bool(find_face(named).trainable) and (layer is None or bool(layer.trainable))
    return named, Entry("model" if alone else "untracked", expected, owners, key in claims.seeds)
