"""`introspect.inspect` and what stands behind the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from introspect.diagnosis import diagnose
from introspect.errors import DataError, IntrospectError
from introspect.records import Report
from introspect.rules import RULES, Rule


def inspect(
    target: Any,
    /,
    *,
    data: Any = None,
    args: Sequence[Any] | None = None,
    kwargs: dict[str, Any] | None = None,
    model: Any = None,
    optimizer: Any = None,
    measure: bool = False,
    try_fixes: bool = False,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Report:
    """What the next training step will really train, read from its compiled graph.

    Args:
        target: a compiled Keras model, the path of a saved one, or a `tf.function` that trains (then `args` are what it
            is called with, and `model` and `optimizer` say what it trains with).
        data: what `fit` will be given; only its signature is read, and nothing is taken from it.
        measure: add numbers of one real step, run on a copy.
        try_fixes: build each proposed fix on a copy of the step and say what would train then.
        select, ignore: rules by id, beginning of an id, or name.

    Raises:
        IntrospectError: the step could not be analysed; the message says what failed and what to do.
    """
    from introspect.capture import capture_model

    rules = choose_rules(select, ignore)
    if isinstance(target, str) or hasattr(target, "__fspath__"):
        return inspect_target(str(target), measure=measure, try_fixes=try_fixes, select=select, ignore=ignore)
    if args is not None:
        from introspect.capture import capture_function

        capture = capture_function(target, tuple(args), kwargs or {}, model=model, optimizer=optimizer)
        return diagnose(capture, rules)
    capture = capture_model(target, data=data)
    return diagnose(capture, rules)


def choose_rules(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> tuple[Rule, ...]:
    """The rules that `select` names (all, where it is empty) less those that `ignore` names.

    Raises:
        IntrospectError: a word names no rule.
    """
    for word in (*select, *ignore):
        if not any(_names(word, rule) for rule in RULES):
            raise IntrospectError(f"rule {word!r} is not in the catalogue; --list-rules shows all")
    chosen = [rule for rule in RULES if not select or any(_names(word, rule) for word in select)]
    return tuple(rule for rule in chosen if not any(_names(word, rule) for word in ignore))


def _names(word: str, rule: Rule) -> bool:
    return rule.id.startswith(word) or rule.name == word


def inspect_target(target: str, **options: Any) -> Report:
    """As the command line does: a saved model, a saved capture, or `package.module:factory`."""
    raise DataError(f"{target}: not yet")
