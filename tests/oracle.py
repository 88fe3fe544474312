"""The truth: inspect a model, then run one real step and hold the report against what moved and what arrived.

A variable is right when
  expected    = it is in `model.trainable_variables` now
  moving      it changes in the step, to the bit: `updated` is yes or some, or a write other than `initial` is reported;
              it does not: `updated` is not yes
  gradient    = what the optimizer was handed (dense, sparse, none), and `updated` goes with it where it moves, and so does the
              one current trace's own list
  slots       each slot that changes is said to be written, each that is said to be written changes
  a finding   of severity error or warning names it where flag and change disagree, and does not where they agree
and a model when all its variables are, when a healthy one has neither error nor warning, when a step that raises was
announced, and when inspecting changed nothing.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

import introspect
from introspect.records import Report, VariableReport
from tests import recording

LOUD = ("error", "warning")
Step = Callable[[Any, Any], None]


@dataclass(frozen=True)
class Truth:
    """What one variable is and what one real step did to it."""

    flag: bool
    moves: bool
    gradient: str
    var_flag: bool
    layer_flag: tuple[bool, ...]
    tracked: bool
    aside: bool
    """A seed or a counter, which no flag is about."""


@dataclass
class Outcome:
    """One comparison: faults, empty where all is right, and the figures."""

    faults: list[str]
    report: Report | None
    truth: dict[str, Truth]
    error: str | None = None
    unknown: int = 0
    alarms: int = 0
    wrong: set[str] = field(default_factory=set)

    def fault(self, path: str, what: str) -> None:
        """Note a fault of one variable."""
        self.wrong.add(path)
        self.faults.append(f"{path}: {what}")

    @property
    def rules(self) -> set[str]:
        """Ids of the rules that found something loud."""
        found = self.report.findings if self.report is not None else ()
        return {finding.rule for finding in found if finding.severity in LOUD}


@dataclass(frozen=True)
class Asked:
    """What a situation needs to be judged fairly.

    Attributes:
        numeric: numbers alone may keep variables still (learning rate 0, accumulation, a loss scale that skips).
        arguable: a warning about variables that train may be in place.
        opaque: Python stands in the step, or a loop of the user's own in its place, so that unknown is an answer.
        arrived: `{path pattern: dense, sparse or none}` for steps that apply gradients without an optimizer.
        kinds: `{path pattern: kind}` of writes that must be reported.
        raises: whether the step is meant to raise; None: it may.
        rules: ids of rules that must report, error, warning or info.
        extra: variables beyond `model.variables` that the step may use.
        averaged: path patterns of target networks that the step itself averages; a finding of any severity will do.
        zero: path patterns of variables whose gradient arrives and is 0 by mathematics.
        data: whether the data is given to inspect.
    """

    numeric: bool = False
    arguable: bool = False
    opaque: bool = False
    arrived: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    raises: bool | None = False
    averaged: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()
    extra: Callable[[Any], list[Any]] = lambda model: []
    data: bool = True


PLAIN = Asked()
TOTALS = {
    "situations": 0,
    "steps that raise": 0,
    "right": 0,
    "variables": 0,
    "variables right": 0,
    "unknown": 0,
    "false alarms": 0,
}
"""Figures of the whole session; tests/conftest.py prints them."""


def fit_once(model: Any, data: Any) -> None:
    """One epoch of the real thing."""
    model.fit(data, epochs=1, verbose=0)


def ask(model: Any, data: Any, asked: Asked = PLAIN, step: Step = fit_once) -> Outcome:
    """Inspect, then run `step(model, data)` for real and compare. Leaves the model as the step leaves it."""
    return hold(model, lambda: introspect.inspect(model, data=data if asked.data else None), data, asked, step)


def ask_loop(function: Any, args: tuple[Any, ...], model: Any, optimizer: Any, asked: Asked = PLAIN) -> Outcome:
    """The same for a tf.function that trains: inspect, then call it once."""

    def look() -> Report:
        return introspect.inspect(function, args=args, model=model, optimizer=optimizer)

    return hold(model, look, None, asked, lambda model, data: function(*args), [optimizer, function])


recording.install()


def hold(
    model: Any, look: Callable[[], Report], data: Any, asked: Asked, step: Step, also: list[Any] | None = None
) -> Outcome:
    """Hold what `look` reports against what one `step(model, data)` does. `also`: optimizers and functions to guard."""
    before = _marks(model, also or [])
    report, refused = _look(look)
    after = _marks(model, also or [])
    outcome = Outcome([], report, {})
    outcome.faults += [f"inspect changed {what}" for what in before if before[what] != after[what]]
    outcome.truth, outcome.error = _measure(model, data, asked, step, also or [])
    if report is None:
        if outcome.error is None or not str(refused).strip():
            outcome.faults.append(f"inspect raises {type(refused).__name__}: {refused}; the step does not")
    else:
        _compare(outcome, report, asked)
    if asked.raises is not None and (outcome.error is not None) != asked.raises:
        said = f"raises {outcome.error[:300]}" if outcome.error else "does not raise"
        outcome.faults.append(f"the test itself: the step {said}")
    _count(outcome)
    return outcome


def randomize(model: Any, seed: int = 0) -> None:
    """Give all weights values at which gradients are not zero by chance."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        value = np.asarray(_value(variable))
        if value.dtype.kind != "f" and "bfloat16" not in str(value.dtype):
            continue
        noise = generator.normal(size=value.shape) * 0.4
        if "variance" in variable.name or "scale" in variable.name:
            # A scale of integers' weights divides by it: small ones saturate all that follows.
            noise = (np.abs(noise) + 0.5) * (100.0 if "scale" in variable.name else 1.0)
        variable.assign(noise.astype(value.dtype))


def _look(look: Callable[[], Report]) -> tuple[Report | None, Exception | None]:
    try:
        return look(), None
    except introspect.IntrospectError as error:
        return None, error


def _measure(model: Any, data: Any, asked: Asked, step: Step, also: list[Any]) -> tuple[dict[str, Truth], str | None]:
    variables = _list_variables(model, asked)
    tracked = {recording.key_of(v) for v in model.variables}
    flags = {recording.key_of(v) for v in model.trainable_variables}
    owners = _find_owners(model)
    seeds = _find_seeds(model)
    before = {path: _bits(v) for path, v in variables.items()}
    states = {id(v): (v, _bits(v)) for o in _optimizers(model, also) for v in _state_of(o)}
    error = None
    with warnings.catch_warnings(), recording.record_step() as arrived:
        warnings.simplefilter("ignore")
        try:
            step(model, data)
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
    truth = {}
    for path, variable in variables.items():
        key = recording.key_of(variable)
        given = [kind for pattern, kind in asked.arrived.items() if fnmatchcase(path, pattern)]
        truth[path] = Truth(
            flag=key in flags if key in tracked else bool(variable.trainable),
            moves=before[path] != _bits(variable) or (key in arrived and _may_stand_still(path, asked)),
            gradient=given[0] if given else arrived.get(key, "none"),
            var_flag=bool(variable.trainable),
            layer_flag=tuple(bool(layer.trainable) for layer in owners.get(key, ())),
            tracked=key in tracked,
            aside=key in seeds or _bits_kind(variable) in "iub",
        )
    _MOVED.clear()
    for state, bits in states.values():
        _MOVED[_number(_name(state), {*variables, *_MOVED})] = bits != _bits(state)
    return truth, error


def _may_stand_still(path: str, asked: Asked) -> bool:
    """Whether numbers alone may keep a variable still that gets a gradient: then it counts as moving."""
    return asked.numeric or any(fnmatchcase(path, pattern) for pattern in asked.zero)


_MOVED: dict[str, bool] = {}
"""Variables of the optimizers, and whether the latest step moved them."""


def _compare(outcome: Outcome, report: Report, asked: Asked) -> None:
    rows = {_plain(row.path): row for row in report.variables}
    loud = [finding for finding in report.findings if finding.severity in LOUD]
    named = {_plain(path) for finding in loud for path in finding.variables}
    mentioned = {_plain(path) for finding in report.findings for path in finding.variables}
    current = [trace for trace in report.traces if trace.current]
    if asked.opaque and not report.traces:
        _compare_unread(outcome, report)
        return
    if len(current) != 1:
        outcome.faults.append(f"{len(current)} current traces")
    trained = {_plain(path) for trace in current for path in trace.updated}
    several = len(report.traces) > 1
    for path, truth in outcome.truth.items():
        row = rows.get(path)
        if row is None:
            if truth.tracked or truth.gradient != "none":
                outcome.fault(path, "not in the report")
            continue
        _compare_row(outcome, path, truth, row, path in trained, several, asked)
        told = path in (mentioned if _stands_by_numbers(truth, row, asked) else named)
        if not (asked.opaque and row.updated == "unknown"):
            _compare_findings(outcome, path, truth, told, path in mentioned, asked)
    if outcome.error is None and not asked.numeric:
        outcome.faults += [f"slot {name} stands still, reported yes" for name in _find_still_slots(report)]
    _compare_whole(outcome, loud, asked)


def _compare_unread(outcome: Outcome, report: Report) -> None:
    """A report without a trace says what the flags are, that the rest is unknown and why, and blames nobody."""
    rows = {_plain(row.path): row for row in report.variables}
    outcome.faults += [f"no trace, and yet {finding.rule}" for finding in report.findings]
    for path, truth in outcome.truth.items():
        row = rows.get(path)
        if row is None:
            outcome.fault(path, "not in the report")
        elif row.expected != truth.flag or row.updated != "unknown" or row.gradient != "unknown" or not row.reason:
            outcome.fault(path, f"expected {row.expected}, updated {row.updated}, reason {row.reason}")


def _stands_by_numbers(truth: Truth, row: VariableReport, asked: Asked) -> bool:
    """Whether it is written without a gradient with what it holds: a kernel that is normalized again in bfloat16."""
    written = any(write.kind != "initial" and not write.conditional for write in row.writes)
    return asked.numeric and truth.flag and not truth.moves and truth.gradient == "none" and written


def _compare_row(
    outcome: Outcome, path: str, truth: Truth, row: VariableReport, now: bool, several: bool, asked: Asked
) -> None:
    if row.expected != truth.flag:
        outcome.fault(path, f"expected {row.expected}, flag {truth.flag}")
    unknown = "unknown" in (row.updated, row.gradient)
    outcome.unknown += unknown
    if unknown and not (asked.opaque and row.reason):
        outcome.fault(path, f"unknown ({row.reason})")
    if outcome.error is not None:
        return
    written = row.updated in ("yes", "some") or any(write.kind != "initial" for write in row.writes)
    if truth.moves and not written:
        outcome.fault(path, f"moves, reported {row.updated} without a write")
    if not unknown:
        _compare_gradient(outcome, path, truth, row, now, several)
        if not truth.moves and not asked.numeric:
            _compare_still(outcome, path, row, several)
        _compare_kinds(outcome, path, row, asked)
        _compare_slots(outcome, path, row, now)


def _compare_gradient(outcome: Outcome, path: str, truth: Truth, row: VariableReport, now: bool, several: bool) -> None:
    trains = truth.gradient != "none" and truth.moves
    if now != trains:
        outcome.fault(
            path, f"gradient {truth.gradient}, the current trace {'updates' if now else 'does not update'} it"
        )
    if row.gradient != truth.gradient:
        outcome.fault(path, f"gradient {truth.gradient}, reported {row.gradient}")
    if row.updated == ("no" if trains else "yes") or (row.updated == "some" and not several):
        outcome.fault(path, f"gradient {truth.gradient}, updated {row.updated}")


def _compare_slots(outcome: Outcome, path: str, row: VariableReport, now: bool) -> None:
    for slot in row.slots if now else ():
        if _MOVED.get(_plain(slot.path)) and slot.updated not in ("yes", "some"):
            outcome.fault(path, f"slot {slot.name} moves, reported {slot.updated}")


def _compare_still(outcome: Outcome, path: str, row: VariableReport, several: bool) -> None:
    if row.updated == "yes":
        outcome.fault(path, "does not move, updated yes")
    sure = [w for w in row.writes if w.kind in ("gradient", "statistics", "average", "decay") and not w.conditional]
    if sure and not several:
        outcome.fault(path, f"does not move, and a write of kind {sure[0].kind} is reported")


def _compare_kinds(outcome: Outcome, path: str, row: VariableReport, asked: Asked) -> None:
    for pattern, kind in asked.kinds.items():
        if fnmatchcase(path, pattern) and kind not in {write.kind for write in row.writes}:
            kinds = sorted({write.kind for write in row.writes})
            outcome.fault(path, f"no write of kind {kind}, but {', '.join(kinds) or 'none'}")


def _find_still_slots(report: Report) -> list[str]:
    """Names of slots that are said to be written, though none of this name moves for any variable."""
    slots = [slot for row in report.variables for slot in row.slots if slot.updated == "yes"]
    moving = {slot.name for slot in slots if _MOVED.get(_plain(slot.path), True)}
    return sorted({slot.name for slot in slots} - moving)


def _compare_findings(outcome: Outcome, path: str, truth: Truth, named: bool, mentioned: bool, asked: Asked) -> None:
    if outcome.error is not None:
        return
    arrives = truth.gradient != "none"
    agrees = truth.flag == truth.moves and (arrives or not truth.moves)
    if agrees and named and not asked.arguable:
        outcome.fault(path, "does what its flag says, and a finding accuses it")
    if not truth.tracked:
        if truth.var_flag and not asked.arguable and not mentioned:
            outcome.fault(path, "is not tracked, and no finding says so")
        return
    if asked.arguable or truth.flag == truth.moves:
        return
    by_design = truth.moves and not arrives and not truth.flag and (truth.aside or all(truth.layer_flag))
    averaged = any(fnmatchcase(path, pattern) for pattern in asked.averaged)
    if not by_design and not (mentioned if averaged else named):
        outcome.fault(path, f"flag {truth.flag}, moves {truth.moves}, gradient {truth.gradient}: no finding")


def _compare_whole(outcome: Outcome, loud: list[Any], asked: Asked) -> None:
    if outcome.error is not None:
        if not loud:
            outcome.faults.append(f"the step raises, and no finding says so: {outcome.error[:200]}")
        return
    announced = [f for f in loud if f.rule in ("INT201", "INT202")]
    if announced:
        outcome.faults.append(f"the step does not raise, and {announced[0].rule} says so: {announced[0].message[:200]}")
    found = {finding.rule for finding in outcome.report.findings} if outcome.report else set()
    outcome.faults += [f"{rule} is silent" for rule in asked.rules if rule not in found]
    if asked.arguable or not _is_healthy(outcome, asked):
        return
    outcome.alarms = len(loud)
    outcome.faults += [f"false alarm: {finding.rule} {finding.message[:160]}" for finding in loud]


def _is_healthy(outcome: Outcome, asked: Asked) -> bool:
    for path, truth in outcome.truth.items():
        if any(fnmatchcase(path, pattern) for pattern in asked.averaged):
            continue
        arrives = truth.gradient != "none"
        by_design = truth.moves and not arrives and not truth.flag and (truth.aside or all(truth.layer_flag))
        if not truth.tracked and truth.var_flag:
            return False
        if truth.flag != truth.moves and not by_design:
            return False
        if truth.flag and not arrives:
            return False
    return True


def _count(outcome: Outcome) -> None:
    TOTALS["situations"] += 1
    TOTALS["steps that raise"] += outcome.error is not None
    TOTALS["right"] += not outcome.faults
    TOTALS["variables"] += len(outcome.truth)
    TOTALS["variables right"] += len(outcome.truth) - len(outcome.wrong & set(outcome.truth))
    TOTALS["unknown"] += outcome.unknown
    TOTALS["false alarms"] += outcome.alarms


def _plain(path: str) -> str:
    return path.replace(":0", "")


def _name(variable: Any) -> str:
    return _plain(getattr(variable, "path", None) or variable.name)


def _list_variables(model: Any, asked: Asked) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for variable in (*model.variables, *asked.extra(model)):
        key = recording.key_of(variable)
        if key in seen:
            continue
        seen.add(key)
        found[_number(_name(variable), found)] = variable
    return found


def _number(path: str, taken: Collection[str]) -> str:
    """`path`, or `path#2`, `path#3` … where it is taken: Adafactor calls the slots of all kernels alike."""
    unique, number = path, 2
    while unique in taken:
        unique, number = f"{path}#{number}", number + 1
    return unique


def _value(variable: Any) -> Any:
    raw = recording.raw_of(variable)
    return raw.numpy() if hasattr(raw, "numpy") else np.asarray(raw)


def _bits(variable: Any) -> tuple[bytes, ...]:
    """The contents of each copy."""
    raw = recording.raw_of(variable)
    copies = getattr(raw, "_values", None) or (raw,)
    return tuple(np.asarray(copy.numpy()).tobytes() for copy in copies)


def _bits_kind(variable: Any) -> str:
    """numpy's letter for the kind of dtype: f, i, u, b, or V for bfloat16."""
    name = str(getattr(variable.dtype, "name", variable.dtype))
    return "V" if "bfloat16" in name or "float8" in name else np.dtype(name).kind


def _walk_layers(layer: Any, seen: dict[int, Any]) -> None:
    if id(layer) in seen:
        return
    seen[id(layer)] = layer
    below = getattr(layer, "_layers", None)
    if below is None or hasattr(layer, "_self_tracked_trackables"):
        below = layer._flatten_layers(recursive=False, include_self=False)
    for part in below:
        _walk_layers(part, seen)


def _layers_of(model: Any) -> list[Any]:
    seen: dict[int, Any] = {}
    _walk_layers(model, seen)
    return list(seen.values())


def _find_owners(model: Any) -> dict[int, list[Any]]:
    owners: dict[int, list[Any]] = {}
    names = ("_trainable_variables", "_non_trainable_variables", "_trainable_weights", "_non_trainable_weights")
    for layer in _layers_of(model):
        for variable in [v for name in names for v in vars(layer).get(name) or ()]:
            owners.setdefault(recording.key_of(variable), []).append(layer)
    return owners


def _find_seeds(model: Any) -> set[int]:
    generators = [g for layer in _layers_of(model) for g in vars(layer).get("_seed_generators") or ()]
    return {recording.key_of(generator.state) for generator in generators}


def _optimizers(model: Any, also: list[Any]) -> list[Any]:
    kinds = ("BaseOptimizer", "_BaseOptimizer", "OptimizerV2")
    values = [*vars(model).values(), *also]
    return [o for o in values if any(k.__name__ in kinds for k in type(o).__mro__)]


def _state_of(optimizer: Any) -> list[Any]:
    variables = optimizer.variables
    return list(variables() if callable(variables) else variables)


def _marks(model: Any, also: list[Any]) -> dict[str, Any]:
    """All that inspecting must leave as it was."""
    optimizers = _optimizers(model, also)
    return {
        "variables": [_bits(v) for v in model.variables],
        "the optimizer's state": [[_bits(v) for v in _state_of(o)] for o in optimizers],
        "optimizers": [(id(o), getattr(o, "built", None)) for o in optimizers],
        "flags": [(bool(v.trainable)) for v in model.variables] + [bool(x.trainable) for x in _layers_of(model)],
        "train_function": id(model.train_function),
        "traces": [_traces(f) for f in (model.train_function, *also) if callable(f)],
        "random state": (random.getstate(), np.random.get_state()[1].tobytes(), np.random.get_state()[2]),
        "Keras' names": _keras_names(),
    }


def _traces(function: Any, depth: int = 4) -> list[int]:
    if hasattr(function, "_function_cache"):
        return [id(c) for c in function._function_cache.values()] if function._function_cache else []
    cells = (getattr(function, "__closure__", None) or ()) if depth else ()
    return [t for cell in _contents(cells) if callable(cell) for t in _traces(cell, depth - 1)]


def _contents(cells: Any) -> Iterator[Any]:
    for cell in cells:
        with contextlib.suppress(ValueError):
            yield cell.cell_contents


def _keras_names() -> dict[str, int]:
    from keras.src.backend.common import global_state

    return dict(global_state.get_global_attribute("object_name_uids") or {})
