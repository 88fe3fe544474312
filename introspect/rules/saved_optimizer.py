"""The optimizer state in the file does not fit the flags in the file.

What it does
    Compares the optimizer's arrays in a saved model with those that an optimizer built from its flags has, and tells
    which weights they belong to.

Why it matters
    Keras then drops the state with a warning, and training goes on with fresh slots. It is also the only trace in a
    file of a step that was stale when the model was saved.

Cause
    Flags changed after the optimizer was built, and before `save`. Or the file's settings name no optimizer, so that
    Keras takes its default; or the class has a `compile` of its own, and Keras leaves compiling to it.

Fix
    Compile with a new optimizer after loading, knowing that its state starts anew.

Example
    model.fit(x, y); model.get_layer("base").trainable = False; model.save("m.keras")
"""

from __future__ import annotations

from collections.abc import Iterator

from introspect.capture.record import SavedFile
from introspect.facts import Facts
from introspect.records import Finding
from introspect.rules._base import Rule
from introspect.rules._wording import agree, count, name_some


def check(facts: Facts) -> Iterator[Finding]:
    """At most one finding."""
    saved = facts.capture.saved
    if saved is None or saved.fits or saved.optimizer_variables is None:
        return
    if not saved.named or saved.own_compile:
        yield _tell_lost(saved)
        return
    wanted = [row.path for row in facts.rows if row.expected and row.tracked]
    trained = list(saved.trained or ())
    if trained and set(trained) == set(wanted):
        return  # the state is that of these flags; it is the loader that built another optimizer (Keras 3's .h5)
    yield RULE.finding(
        variables=tuple(
            path for path in (*wanted, *trained) if saved.trained and (path in wanted) != (path in trained)
        ),
        layers=(),
        message=f"The optimizer state in {saved.path} does not fit its flags: {_compare(saved, wanted)}.",
        cause=f"{_tell_change(trained)} Keras drops such a state with a warning when it loads the file.",
        fix="# after loading:\nintrospect.recompile(model)  # or model.compile(...) with a new optimizer",
    )


def _tell_change(trained: list[str]) -> str:
    if not trained:
        return "Flags, or the optimizer, were changed between the last step and save()."
    then = f"trained then: {name_some(trained)}"
    return f"Flags were changed after the optimizer was built and before the model was saved; {then}."


def _tell_lost(saved: SavedFile) -> Finding:
    """The state is there, and the loaded model has no optimizer that it could be of."""
    if saved.own_compile:
        lack = "and the loaded model has an optimizer that knows no variable yet"
        cause = (
            "The model's class has a compile() of its own, so that Keras 3 does not compile it as the file says, and drops "
            "the state."
        )
    else:
        lack = "and its settings name no optimizer"
        cause = (
            "The settings have lost it: Keras 3 takes it out of the model when save() writes an .h5 file, and later files "
            "lack it. Keras compiles the loaded model with its default, RMSprop, and drops a state that does not fit."
        )
    arrays = count(saved.optimizer_variables or 0, "array")
    return RULE.finding(
        variables=(),
        layers=(),
        message=f"{saved.path} holds the state of an optimizer ({arrays}), {lack}.",
        cause=cause,
        fix='# after loading, with the optimizer that it was; its state starts anew:\nmodel.compile(optimizer="adam", loss=...)',
    )


def _compare(saved: SavedFile, wanted: list[str]) -> str:
    if saved.trained is None:
        return f"it holds {count(saved.optimizer_variables or 0, 'optimizer array')}, the flags ask for {saved.expected_variables}"
    trained = saved.trained
    if set(trained) <= set(wanted):
        return f"it was saved after training {len(trained)} of {count(len(wanted), 'trainable variable')}"
    frozen = [path for path in trained if path not in wanted]
    return (
        f"it was saved after training {count(len(trained), 'variable')}, and {len(frozen)} of these "
        f"{agree(len(frozen), 'is', 'are')} frozen now"
    )


RULE = Rule("INT206", "saved-optimizer-does-not-fit-flags", "info", "proven", __doc__ or "", check)
