"""`introspect.inspect` and what stands behind the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from introspect.arguments import split_words
from introspect.capture.record import Capture, SavedFile
from introspect.diagnosis import diagnose, diagnose_loop, diagnose_surely
from introspect.errors import IntrospectError, NotBuiltError
from introspect.records import Report
from introspect.remedies import Recompile, Retrace
from introspect.rules import RULES, Rule

if TYPE_CHECKING:
    from introspect.capture.assembly import Observer


def inspect(
    target: Any,
    /,
    *,
    data: Any = None,
    batch_size: int | None = None,
    args: Sequence[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    model: Any = None,
    optimizer: Any = None,
    measure: bool = False,
    try_fixes: bool = False,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> Report:
    """What the next training step will really train, read from its compiled graph.

    Python's and numpy's global random state is put back after a trace: another thread that draws from it meanwhile sees
    the same numbers again. Arrays of the user's above 1 MiB that the step writes in Python while it is traced stay so.

    Args:
        target: a compiled Keras model, the path of a saved one, or a `tf.function` that trains (then `args` are what it
            is called with, and `model` and `optimizer` say what it trains with).
        data: what `fit` will be given; only its signature is read (and one batch of a copy, to measure), and nothing is
            taken from it. A model that was never called gets variables by it, as in its first `fit`, for the time of the
            look alone: it costs their memory and one trace more, and numbers of `measure` are of weights drawn anew.
        batch_size: what `fit` is given with arrays; without it, as `fit` without it.
        measure: add numbers and placed devices of one real step, run on a copy; without `data`, on a made-up batch.
        try_fixes: build each proposed fix on a copy of the step and say what would train then.
        select, ignore: rules by id, beginning of an id, or name: a sequence, or one text with commas.

    Raises:
        NotBuiltError: the model was never called, and there is no data to make its variables by.
        IntrospectError: the step could not be analysed; the message says what failed and what to do.
    """
    rules = choose_rules(select, ignore)
    check_batch_size(batch_size)
    if args is None and any(given is not None for given in (kwargs, model, optimizer)):
        raise IntrospectError("kwargs, model and optimizer belong to a tf.function: give args= too, or leave them out")
    if args is not None and (data is not None or batch_size is not None):
        raise IntrospectError(
            "data and batch_size belong to a model: a tf.function is called with args=; leave them out"
        )
    if isinstance(target, str) or hasattr(target, "__fspath__"):
        return inspect_target(
            str(target),
            data=data,
            batch_size=batch_size,
            measure=measure,
            try_fixes=try_fixes,
            select=select,
            ignore=ignore,
        )
    if args is not None:
        if not isinstance(args, (tuple, list)):
            raise IntrospectError(f"args= is a {type(args).__name__}; pass a tuple of what the function is called with")
        loop = Loop(target, tuple(args), kwargs or {}, model, optimizer)
        return inspect_loop(loop, rules, measure, try_fixes)
    return look_at(target, rules, Wanted(measure, try_fixes, pass_on(target, data, batch_size), batch_size))


@dataclass(frozen=True, slots=True)
class Loop:
    """A custom loop: its step, what it is called with, and what it trains with."""

    step: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    model: Any
    optimizer: Any


def inspect_loop(loop: Loop, rules: Sequence[Rule], measure: bool, try_fixes: bool) -> Report:
    """The report of a custom loop's step."""
    from introspect.capture import capture_function
    from introspect.capture.renewal.looptrial import capture_loop_trial

    observe = observer(measure, args=loop.args, kwargs=loop.kwargs)
    capture = capture_function(
        loop.step, loop.args, loop.kwargs, model=loop.model, optimizer=loop.optimizer, observe=observe
    )
    make = cache(partial(capture_loop_trial, loop.step, loop.args, loop.kwargs, loop.model, loop.optimizer))
    report = checked(diagnose_loop(capture, rules, partial(make, (Retrace(),))))
    if not try_fixes:
        return report
    from introspect import fixes

    return fixes.try_fixes(report, make)


def observer(measure: bool, **feed: Any) -> Observer | None:
    """What runs one step on a copy, where that is asked for."""
    if not measure:
        return None
    from introspect.measuring import observe_step

    return observe_step(**feed)


def check_batch_size(batch_size: Any) -> None:
    """Refuse what is no number of rows.

    Raises:
        IntrospectError: it is no whole number above 0.
    """
    whole = hasattr(batch_size, "__index__") and not isinstance(batch_size, bool)
    if batch_size is not None and not (whole and batch_size > 0):
        raise IntrospectError(f"batch_size={batch_size!r} is no number of rows; pass a whole number above 0")


def choose_rules(select: str | Sequence[str] = (), ignore: str | Sequence[str] = ()) -> tuple[Rule, ...]:
    """The rules that `select` names (all, where it is empty) less those that `ignore` names.

    Raises:
        IntrospectError: a word names no rule.
    """
    select, ignore = split_words(select), split_words(ignore)
    for word in (*select, *ignore):
        if not any(_names(word, rule) for rule in RULES):
            raise IntrospectError(f"rule {word!r} is not in the catalogue; --list-rules shows all")
    chosen = [rule for rule in RULES if not select or any(_names(word, rule) for word in select)]
    return tuple(rule for rule in chosen if not any(_names(word, rule) for word in ignore))


def _names(word: str, rule: Rule) -> bool:
    return rule.id.startswith(word) or rule.name == word


def inspect_target(
    target: str,
    *,
    data: Any = None,
    data_file: str | None = None,
    batch_size: int | None = None,
    optimizer: str | None = None,
    loss: str | None = None,
    jit_compile: bool | None = None,
    steps_per_execution: int | None = None,
    custom_objects: str | None = None,
    unsafe: bool = False,
    measure: bool = False,
    try_fixes: bool = False,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> Report:
    """As the command line does: a saved model, a saved capture, or `package.module:factory`.

    Raises:
        IntrospectError: the target could not be loaded or analysed.
    """
    from introspect.capture import (
        is_capture,
        load_batch,
        load_factory,
        load_model_file,
        read_capture,
    )

    rules = choose_rules(select, ignore)
    if os.path.isfile(target) and is_capture(target):
        return diagnose(read_capture(target), rules)
    data = load_batch(data_file) if data_file is not None else data
    saved = None
    if is_factory(target):
        model, own = load_factory(target)
        data = own if data is None else data
    else:
        loaded = load_model_file(
            target,
            custom_objects=custom_objects,
            unsafe=unsafe,
            optimizer=optimizer,
            loss=loss,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )
        model, saved = loaded.model, loaded.saved
    return look_at(
        model, rules, Wanted(measure, try_fixes, pass_on(model, data, batch_size), batch_size), saved, target
    )


def pass_on(model: Any, data: Any, batch_size: int | None) -> Any:
    """What Keras' `fit` is given of the data that the model's own is given."""
    if data is None:
        return None
    from introspect.capture.trace.handedon import hand_on

    return hand_on(model, data, batch_size)


def is_factory(target: str) -> bool:
    """Whether the target names a factory: `module:name` or `module:Class.name`, and no file of that name."""
    module, colon, name = target.rpartition(":")
    named = all(part.isidentifier() for part in name.split("."))
    return bool(colon) and named and not os.path.exists(target) and "/" not in module


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for beside the reading of the graph."""

    measure: bool = False
    try_fixes: bool = False
    data: Any = None
    batch_size: int | None = None


def look_at(
    model: Any, rules: Sequence[Rule], wanted: Wanted, saved: SavedFile | None = None, file: str = ""
) -> Report:
    """The report of a model; one that was never called has its variables for the time of the look, if there is data."""
    from introspect.capture import capture_model, made_variables

    def look(without_own: bool = False) -> Report:
        observe = observer(wanted.measure, data=wanted.data, batch_size=wanted.batch_size)
        feed = {"data": wanted.data, "batch_size": wanted.batch_size}
        capture = capture_model(model, **feed, observe=observe, without_own=without_own)
        if saved is not None:
            capture = replace(capture, saved=saved, model=replace(capture.model, file=file))
        return finish(model, capture, rules, wanted)

    try:
        return look()
    except NotBuiltError:
        if wanted.data is None:
            raise
    try:
        with made_variables(model, wanted.data, wanted.batch_size) as made:
            return look(without_own=not made)
    except NotBuiltError:  # the step makes more than the model's call does
        pass
    with made_variables(model, wanted.data, wanted.batch_size, by_step=True) as made:
        return look(without_own=not made)


def finish(model: Any, capture: Capture, rules: Sequence[Rule], wanted: Wanted) -> Report:
    """The report of a capture, with what was asked for beside it."""
    from introspect.capture.renewal.trial import capture_trial

    make = cache(partial(capture_trial, model, data=wanted.data, batch_size=wanted.batch_size))
    report = checked(diagnose_surely(capture, rules, partial(make, (Recompile(),))))
    if wanted.try_fixes:
        from introspect import fixes

        report = fixes.try_fixes(report, make)
    return report


def checked(report: Report) -> Report:
    """The report, unless the versions are untried and introspect does not read them right."""
    if report.environment.warnings:
        from introspect.selfcheck import require_sound

        require_sound(report)
    return report
