"""The next training step will raise: the optimizer does not know a variable.

What it does
    Traces, in isolation, the step that the next `fit` would trace, and names all variables that the step hands to a built
    optimizer which does not know them; each optimizer of the step for itself.

Why it matters
    It comes after the data has been loaded and the first batch read, and Keras' text names one variable out of many.

Cause
    An optimizer takes no new variables once it is built. It was built by a training, or by `load_model`, before these
    were unfrozen or made; or for another model, if two share one instance.

Fix
    `introspect.recompile(model)` keeps the state of the variables that stay; or compile with a new optimizer instance.

Example
    model = keras.models.load_model("frozen.keras"); model.trainable = True
    model.fit(x, y)            # ValueError: Unknown variable …
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.capture.record import CapturedOptimizer, StepFailure
from introspect.facts import Facts
from introspect.records import EvidenceStep, Finding
from introspect.rules._base import Rule
from introspect.rules._code import is_own_loop, write_anew, write_recompile
from introspect.rules._groups import group_layers, list_groups, of_layers
from introspect.rules._wording import agree, count, join, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """One finding for each optimizer, the one that raises first."""
    failure = facts.capture.failure
    if failure is None or failure.kind != "unknown-variable":
        return
    yield _report(facts, failure, first=True)
    for other in failure.beside:
        yield _report(facts, other, first=False)


def _report(facts: Facts, failure: StepFailure, first: bool) -> Finding:
    paths = facts.paths_of(failure.variables)
    own_loop = facts.current is not None and is_own_loop(facts.current)
    step = "call of the step" if own_loop else "fit"
    return RULE.finding(
        variables=paths,
        layers=facts.layers_of(failure.variables),
        message=(
            f"{f'The next {step} raises' if first else f'Once that is mended, the {step} raises again'}: {_name(failure)} does "
            f"not know {count(len(paths), 'trainable variable')}{of_layers(facts, failure.variables)}"
            f"{': ' + name_some(paths) if paths else ''}."
        ),
        cause=_explain(facts, failure),
        fix=write_anew(facts, renew=True) if own_loop else write_recompile(facts),
        evidence=tuple(_evidence(facts, failure, first)),
    )


def _name(failure: StepFailure) -> str:
    return f"optimizer {failure.optimizer!r}" if failure.optimizer else "the optimizer"


def _find_blamed(facts: Facts, failure: StepFailure) -> CapturedOptimizer | None:
    built = [optimizer for optimizer in facts.capture.optimizers if optimizer.built]
    return next((optimizer for optimizer in built if optimizer.name == failure.optimizer), None)


def _find_others(facts: Facts, failure: StepFailure) -> list[CapturedOptimizer]:
    """Other optimizers that know some of the variables; none of those that hold this one, or that it holds."""
    blamed = _find_blamed(facts, failure)
    own = set() if blamed is None else set(blamed.tracks)
    built = [
        one for one in facts.capture.optimizers if one.built and one is not blamed and not own.intersection(one.tracks)
    ]
    return [one for one in built if set(one.tracks).intersection(failure.variables)]


def _explain(facts: Facts, failure: StepFailure) -> str:
    optimizer = _find_blamed(facts, failure)
    ours = {index for index, variable, _ in facts.pairs if variable.role == "model"}
    if optimizer is not None and not optimizer.tracks and not optimizer.foreign:
        return (
            "An optimizer takes no new variables once it is built, and this one was built with none at all: so Keras 3's "
            "load_model leaves it when it reads a legacy .h5 file, and so does optimizer.build([])."
        )
    if optimizer is not None and not ours.intersection(optimizer.tracks):
        return (
            "An optimizer takes no new variables once it is built, and this one was built with those of another model: two "
            "models share one optimizer, or it was kept from an earlier model."
        )
    if elsewhere := _find_others(facts, failure):
        known = sum(any(index in other.tracks for other in elsewhere) for index in failure.variables)
        names = join([f"optimizer {other.name!r}" for other in elsewhere])
        those = agree(len(failure.variables), "it", "them" if known == len(failure.variables) else f"{known} of them")
        return f"An optimizer takes no new variables once it is built, and this one was built with others; {names} was built with {those}."
    when = agree(len(failure.variables), "it was unfrozen, or made,", "they were unfrozen, or made,")
    told = facts.tell_flag_history(failure.variables, frozen=False)
    return (
        f"An optimizer takes no new variables once it is built, and this one was built before {when} by an earlier "
        "training, of this model or of one that shares layer and optimizer with it, or by load_model; compiling again with "
        "the same instance does not change that." + (f" {told}" if told else "")
    )


def _evidence(facts: Facts, failure: StepFailure, first: bool) -> Iterator[EvidenceStep]:
    optimizer = _find_blamed(facts, failure)
    groups = group_layers(facts, optimizer.tracks) if optimizer is not None else []
    if groups:
        yield EvidenceStep(note=f"{_name(failure)} was built with {list_groups(groups)}")
    if first:
        yield EvidenceStep(note=f"Keras says: {failure.message}", location=failure.location)


RULE = Rule("INT201", "optimizer-does-not-know-variable", "error", "proven", __doc__ or "", check)
