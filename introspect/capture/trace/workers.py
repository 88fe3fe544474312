"""Strategies of several processes: a trace of introspect's own asks none of the others, who wait for nobody's look."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from introspect.capture.framework import descends
from introspect.errors import StepError, VersionError


def spans_workers(strategy: Any) -> bool:
    """Whether several processes train in step, each with the same program (MultiWorkerMirroredStrategy)."""
    return int(getattr(getattr(strategy, "extended", None), "_num_workers", 1) or 1) > 1


def uses_coordinator(strategy: Any) -> bool:
    """Whether one process has others run the step, on iterators of their own (ParameterServerStrategy)."""
    return type(strategy).__name__ in ("ParameterServerStrategy", "ParameterServerStrategyV2")


@contextmanager
def stay_alone(strategy: Any) -> Iterator[None]:
    """What is traced inside waits for no other process, and leaves the strategy's counters as they were.

    Raises:
        VersionError: the strategy is not made as it was where this was tried.
        StepError: a collective would run at once, while the step is traced.
    """
    if spans_workers(strategy) and "_get_variable_creator_initial_value" in vars(strategy.extended):
        yield  # inside of another
    elif spans_workers(strategy):
        with refuse_collectives(strategy.extended):
            yield
    elif uses_coordinator(strategy):
        with keep_turn(strategy.extended):
            yield
    else:
        yield


@contextmanager
def refuse_collectives(extended: Any) -> Iterator[None]:
    """Variables made inside keep the values that they are given, where the chief's would be sent to all workers.

    A collective takes its key as it starts: one that starts inside is refused before another worker could wait for it.
    Those of a graph take theirs when the graph runs. Seen on TensorFlow 2.19 to 2.21.
    """
    try:
        from tensorflow.python.distribute.mirrored_strategy import MirroredExtended

        create, keys = MirroredExtended._get_variable_creator_initial_value, extended._collective_keys
        before = {
            name: copy.deepcopy(vars(keys)[name]) for name in ("_group_key", "_known_groups", "_instance_key_table")
        }
    except (ImportError, AttributeError, KeyError) as error:
        raise misplaced("MultiWorkerMirroredStrategy", error) from None
    vars(extended)["_get_variable_creator_initial_value"] = partial(create, extended)
    vars(keys)["get_instance_key"] = refuse_collective
    try:
        yield
    finally:
        del vars(extended)["_get_variable_creator_initial_value"], vars(keys)["get_instance_key"]
        vars(keys).update(before)


def refuse_collective(*_: Any) -> Any:
    raise StepError(
        "the step starts a collective while it is traced, and the other workers would have to take part; "
        "run one step first, then inspect what it traced"
    )


@contextmanager
def keep_turn(extended: Any) -> Iterator[None]:
    """Parameter servers take new variables in turn; whose turn it is stays. Seen on TensorFlow 2.19 to 2.21."""
    count = vars(extended).get("_variable_count")
    if count is None:
        raise misplaced("ParameterServerStrategy", KeyError("_variable_count"))
    try:
        yield
    finally:
        extended._variable_count = count


def retype_iterator(concrete: Any, spec: Any) -> Any:
    """The type of the iterator that a trace was made for, over batches of another type.

    A coordinator's workers make the iterators, so that none can be made up here. Seen on TensorFlow 2.19 to 2.21.
    """
    args, _ = concrete.structured_input_signature
    try:
        made = args[0]
        return type(made)(made._input_workers, spec, made._strategy, made._options, made._cardinality)
    except (AttributeError, IndexError, TypeError) as error:
        raise misplaced("ParameterServerStrategy", error) from None


def name_types(arguments: Any) -> tuple[Any, bool]:
    """The arguments with types in place of what lies on a coordinator's workers, and whether there was any.

    A coordinator traces a function for the types of its first worker, in the strategy's scope. Seen on TensorFlow 2.19 to 2.21.
    """
    import tensorflow as tf

    remote = False

    def name_type(value: Any) -> Any:
        nonlocal remote
        if descends(value, ("tensorflow",), ("PerWorkerValues",)):
            value = value._values[0]
        if not descends(value, ("tensorflow",), ("RemoteValue",)):
            return value
        remote = True
        return value._type_spec

    return tf.nest.map_structure(name_type, arguments), remote


def misplaced(strategy: str, error: Exception) -> VersionError:
    return VersionError(f"cannot read a step under {strategy} ({error!r}); seen on TensorFlow 2.19 to 2.21")
