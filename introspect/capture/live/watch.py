"""Whether anything about a model's step has changed since it was last read: microseconds a batch, no graph looked at."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from introspect.capture.framework import KerasName, name_keras
from introspect.capture.live.running import call_after_fit
from introspect.capture.measurement.known import note_executed
from introspect.capture.measurement.placement import GraphCollection
from introspect.capture.model import runs_eagerly
from introspect.capture.slots import count_iterations, find_optimizers, open_optimizer
from introspect.capture.trace.step import StepFunctions, find_functions, is_function, list_traces
from introspect.capture.trace.workers import spans_workers, uses_coordinator
from introspect.collector import collector_paused
from introspect.proving import Prover
from introspect.records import Report

SLICE = 64
"""Flags that are compared at each batch; all are at the beginning and end of an epoch."""

read_flag = attrgetter("trainable")


@dataclass(frozen=True, slots=True)
class Change:
    """Why the step should be read again."""

    reason: str
    detail: str | None = None


class Watch:
    """What one model's step looked like when it was last read.

    Holds neither the model nor its functions alive. `step` is a tf.function of the user's that trains `model`, in
    place of `model.train_function`.
    """

    def __init__(self, model: Any | None, step: Any | None = None) -> None:
        self.keras: KerasName = name_keras(model)
        self.read = False
        """Whether `settle` was ever called."""
        self.report: Report | None = None
        """The latest of this model."""
        self.entry_flags: Mapping[Any, bool] = {}
        """tf_keras: flags that `fit` has put aside for those of `compile`."""
        self.batch: Any = None
        """What the running fit is measured on, once it was taken."""
        self.prover = Prover()
        """Looks at the values, where these are asked for."""
        self.batches = 0
        """Trained on since the last look at the values."""
        self.place: int | None = None
        """Where the latest report lies in the log."""
        self._trainer = make_reference(None)
        self._model = make_reference(model)
        self._step = make_reference(step)
        self._function = self._optimizer = self._current = make_reference(None)
        self._sizes: tuple[tuple[Any, int], ...] = ()
        self._traces = self._slots = self._cursor = 0
        self._collection = GraphCollection()
        weakref.finalize(self, self._collection.drop).atexit = False
        self._objects: list[Any] = []
        self._flags: list[bool] = []
        self._meant: list[bool] = []

    @property
    def model(self) -> Any | None:
        """The model while it lives."""
        return self._model()

    def is_of(self, model: Any | None, step: Any | None) -> bool:
        """Whether this watch is of the same live objects."""
        return self._model() is model and self._step() is step

    def has_moved(self) -> bool:
        """Whether something has changed: identities, counts of traces, and a slice of the flags, in turn."""
        model = self._model()
        if model is not None and (
            getattr(model, "train_function", None) is not self._function()
            or getattr(model, "optimizer", None) is not self._optimizer()
        ):
            return True
        for function, size in self._sizes:
            if (live := function()) is None or len(live._function_cache._primary) != size:
                return True
        if not self._flags:
            return False
        start = self._cursor
        self._cursor = start + SLICE if start + SLICE < len(self._flags) else 0
        return list(map(read_flag, self._list_objects(start, start + SLICE))) != self._flags[start : start + SLICE]

    def find_change(self) -> Change | None:
        """What has changed, all flags compared; None also while a new step is not traced yet."""
        model = self._model()
        functions = self._find_functions(model)
        traces = sum(count_traces(function) for function in list_functions(functions))
        if not traces and not self._is_eager(model):
            return None
        if not self.read:
            return Change("first trace")
        if model is not None and getattr(model, "train_function", None) is not self._function():
            return Change("recompiled", self._tell_flags())
        flipped = self._tell_flags()
        if flipped:
            return Change("flag changed", flipped)
        if traces != self._traces:
            return Change("new trace")
        if getattr(model, "optimizer", None) is not self._optimizer():
            return Change("optimizer replaced")
        return Change("new optimizer variable") if count_slots(model) != self._slots else None

    def awaits_trace(self) -> bool:
        """Whether the step was made anew since it was read, and has not run yet."""
        model = self._model()
        if not self.read or model is None or getattr(model, "train_function", None) is self._function():
            return False
        functions = list_functions(self._find_functions(model))
        return not self._is_eager(model) and not any(map(count_traces, functions))

    def uses_other(self, concrete: Any) -> bool:
        """Whether a running fit uses another trace than the one that was read last as the current one."""
        return self._current() not in (None, concrete)

    def settle(self, concrete: Any = None) -> None:
        """Take what is so now as what was read; `concrete` is the trace that the running fit uses, where it is known."""
        model = self._model()
        self._current = make_reference(concrete)
        functions = list_functions(self._find_functions(model))
        self.read = True
        self._function = make_reference(getattr(model, "train_function", None))
        self._optimizer = make_reference(getattr(model, "optimizer", None))
        self._sizes = tuple((weakref.ref(function), count_traces(function)) for function in functions)
        self._traces = sum(size for _, size in self._sizes)
        self._slots = count_slots(model)
        self._objects = [weakref.ref(value) for value in list_flagged(model, self.keras)]
        self._flags = list(map(read_flag, self._list_objects()))
        self._meant = self._read_meant()
        self._cursor = 0

    def note_fit(self, outer: Mapping[Any, bool]) -> None:
        """At the beginning of `fit`: in tf_keras the flags that count are not the ones that the layers show.

        `outer` are those that a `fit` of the same model has put aside in which this one runs.
        """
        self.batch, self.prover = None, Prover()
        self.collect()
        if self.keras == "tf_keras" and (model := self._model()) is not None:
            self.entry_flags = find_entry_flags(model, outer)

    def note_optimizer(self, optimizer: Any | None) -> None:
        """The optimizer of a step of the user's own, which the model does not hold."""
        if optimizer is not None and self._trainer() is not optimizer:
            self._trainer = make_reference(optimizer)

    def list_optimizers(self) -> list[Any]:
        """The optimizer of the user's own step, then those of the model; each with those that it wraps."""
        model = self._model()
        found = [*open_optimizer(self._trainer()), *(find_optimizers(model) if model is not None else ())]
        return list({id(part): part for part in found}.values())

    def count_steps(self) -> int | None:
        """`optimizer.iterations` now."""
        return count_iterations(self.list_optimizers())

    def note_end(self) -> None:
        """At the end of `fit`."""
        self.entry_flags, self.batch, self.prover = {}, None, Prover()
        self.keep_executed()

    def collect(self) -> None:
        """Let TensorFlow keep the graphs of what runs first from now on, where the step runs in this process.

        Costs nothing at a step that has run before. Where the step raises, it ends with the `fit` that it raises in; in a loop
        of the user's own, with the callback.
        """
        model = self._model()
        strategy = getattr(model, "distribute_strategy", None)
        if not self._is_eager(model) and not spans_workers(strategy) and not uses_coordinator(strategy):
            self._collection.start()
            call_after_fit(model, self._collection.stop)

    def keep_executed(self) -> None:
        """Collect no more; what was kept is read with the traces that it may be of."""
        graphs = self._collection.take()
        if graphs:
            traces = list_traces(self._find_functions(self._model()))
            note_executed([live.concrete for live in traces], graphs)

    def _find_functions(self, model: Any | None) -> StepFunctions:
        step = self._step()
        if step is not None:
            return StepFunctions(outer=step if is_function(step) else None)
        return StepFunctions() if model is None else find_functions(model, self.keras)

    def _is_eager(self, model: Any | None) -> bool:
        step = self._step()
        return not is_function(step) if step is not None else model is not None and runs_eagerly(model)

    def _list_objects(self, start: int = 0, end: int | None = None) -> list[Any]:
        found = [reference() for reference in self._objects[start:end]]
        return [value if value is not None else GONE for value in found]

    def _read_meant(self) -> list[bool]:
        """The flags as the user left them."""
        objects = self._list_objects()
        flags = list(map(read_flag, objects))
        if not self.entry_flags:
            return flags
        compiled = self._model()._compiled_trainable_state
        return [choose_flag(o, flag, compiled, self.entry_flags) for o, flag in zip(objects, flags, strict=True)]

    def _tell_flags(self) -> str | None:
        """Which flags differ from those that were read: `d1 → True, d2 → True and 3 more`."""
        now = self._read_meant()
        if now == self._meant:
            return None
        pairs = zip(self._list_objects(), self._meant, now, strict=True)
        flipped = [(value, after) for value, before, after in pairs if before != after]
        layers = [pair for pair in flipped if hasattr(pair[0], "_flatten_layers")]
        names = [f"{name_flagged(value)} → {after}" for value, after in layers or flipped]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


class Gone:
    """Stands for an object that is no more."""

    trainable = False
    name = "(gone)"


GONE = Gone()


def make_reference(value: Any) -> Any:
    """A weak reference; one to nothing for None, a strong one to what takes no other (a list of optimizers)."""
    try:
        return weakref.ref(value) if value is not None else lambda: None
    except TypeError:
        return lambda: value


def list_functions(functions: StepFunctions) -> list[Any]:
    """The tf.functions of a step that have a trace cache. Seen on TensorFlow 2.19 to 2.21."""
    found = (functions.outer, functions.inner, *functions.others)
    return [function for function in found if getattr(function, "_function_cache", None) is not None]


def count_traces(function: Any) -> int:
    return len(function._function_cache._primary)


def count_slots(model: Any | None) -> int:
    """How many variables the model's optimizer owns, with those that it wraps."""
    return sum(len(vars(part).get("_variables") or ()) for part in open_optimizer(getattr(model, "optimizer", None)))


def is_chief(model: Any | None) -> bool:
    """Whether this process writes for all workers of the model's strategy."""
    strategy = getattr(model, "distribute_strategy", None)
    return bool(getattr(getattr(strategy, "extended", None), "should_save_summary", True))


def list_flagged(model: Any | None, keras: KerasName) -> list[Any]:
    """Everything whose flag may rule what trains: layers, and in Keras 3 variables."""
    if model is None or keras == "none":
        return []
    layers = list(model._flatten_layers())
    return layers if keras == "tf_keras" else [*layers, *model.variables]


def name_flagged(value: Any) -> str:
    """A layer's name, a variable's path."""
    return str(value.name if hasattr(value, "_flatten_layers") else getattr(value, "path", value.name))


def choose_flag(layer: Any, flag: bool, compiled: Mapping[Any, bool], entry: Mapping[Any, bool]) -> bool:
    """The flag of now where it was set during `fit`, else that of before `fit`."""
    if layer not in compiled or compiled[layer] != flag:
        return flag
    return entry.get(layer, flag)


def find_entry_flags(model: Any, outer: Mapping[Any, bool]) -> Mapping[Any, bool]:
    """The flags that tf_keras' running `fit` will put back at its end; empty where it has changed none.

    `RespectCompiledTrainableState` keeps them and nothing leads to it but the stack of `fit`, so the collector is asked.
    Seen on tf_keras 2.19 to 2.21; elsewhere nothing is found. Where `outer` are those of a `fit` around it, its own are
    what was set since.
    """
    compiled = getattr(model, "_compiled_trainable_state", None)
    if compiled is None:
        return outer
    # A collection in between relinks the lists that CPython walks here, and it runs into their heads.
    with collector_paused():
        holders = gc.get_referrers(compiled)
    for holder in holders:
        state = holder if isinstance(holder, dict) else getattr(holder, "__dict__", {})
        if state.get("_should_set_trainable") and state.get("_model") is model:
            kept = dict(state.get("_current_trainable_state") or {})
            if not outer:
                return weakref.WeakKeyDictionary(kept)
            if kept != dict(outer):
                chosen = {layer: choose_flag(layer, flag, compiled, outer) for layer, flag in kept.items()}
                return weakref.WeakKeyDictionary(chosen)
    return outer


@contextmanager
def meant_flags(model: Any, entry: Mapping[Any, bool]) -> Iterator[None]:
    """tf_keras inside of `fit`: the flags as the user left them, for as long as the model is read."""
    if not entry:
        yield
        return
    live, compiled = model._get_trainable_state(), model._compiled_trainable_state
    meant = {layer: choose_flag(layer, flag, compiled, entry) for layer, flag in live.items()}
    model._set_trainable_state(meant)
    try:
        yield
    finally:
        model._set_trainable_state(live)
