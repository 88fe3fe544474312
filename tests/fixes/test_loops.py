"""Fixes of a custom loop: its function made anew on the quiet shows what the fix's own code shows."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

import introspect
from introspect.remedies import read_remedies
from tests.capture.observing import observe
from tests.fixes.steps import make_data, make_model, path_of, values

pytestmark = pytest.mark.tf

Loop = tuple[Any, Any, Any]
"""Model, optimizer, step."""


def make_loop(library: str, *, cut: bool = False, all_weights: bool = False) -> Loop:
    import tensorflow as tf

    model, optimizer = make_model(library), importlib.import_module(library).optimizers.Adam(0.1)
    return model, optimizer, tf.function(make_step(model, optimizer, cut, all_weights))


def make_step(model: Any, optimizer: Any, cut: bool, all_weights: bool) -> Callable[..., Any]:
    import tensorflow as tf

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = model.get_layer("d1")(x)
            hidden = tf.stop_gradient(hidden) if cut else hidden
            loss = tf.reduce_mean((model.get_layer("d3")(model.get_layer("d2")(hidden)) - y) ** 2)
        weights = model.weights if all_weights else model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return step


def freeze_late(library: str) -> Loop:
    model, optimizer, step = make_loop(library)
    step(*make_data())
    model.get_layer("d2").trainable = False
    return model, optimizer, step


def unfreeze_late(library: str) -> Loop:
    model, optimizer, step = make_loop(library)
    model.get_layer("d1").trainable = False
    step(*make_data())
    model.get_layer("d1").trainable = True
    return model, optimizer, step


def renew_step_alone(library: str) -> Loop:
    import tensorflow as tf

    model, optimizer, step = unfreeze_late(library)
    return model, optimizer, tf.function(step.python_function)


def cut_gradient(library: str) -> Loop:
    model, optimizer, step = make_loop(library, cut=True)
    step(*make_data())
    return model, optimizer, step


def ask_no_flag(library: str) -> Loop:
    model, optimizer, step = make_loop(library, all_weights=True)
    step(*make_data())
    model.get_layer("d2").trainable = False
    return model, optimizer, step


SCENARIOS = [
    (freeze_late, "INT101", True),
    (unfreeze_late, "INT103", True),
    (renew_step_alone, "INT201", True),
    (cut_gradient, "INT104", False),
    (ask_no_flag, "INT101", False),
]


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize(("make", "rule", "mends"), SCENARIOS, ids=lambda part: getattr(part, "__name__", None))
def test_verified_is_what_the_code_shows(library: str, make: Callable[[str], Loop], rule: str, mends: bool) -> None:
    model, optimizer, step = make(library)
    before = observe_loop(model, optimizer, step)
    report = introspect.inspect(step, args=make_data(), model=model, optimizer=optimizer, try_fixes=True)
    assert observe_loop(model, optimizer, step) == before
    (finding,) = report.findings
    assert finding.rule == rule
    assert finding.verified == mends
    moved = run_fixed(*make(library), code=read_remedies(finding.fix)[0])
    trained = {path_of(variable) for variable in model.trainable_variables}
    assert finding.verified == all((path in moved) == (path in trained) for path in finding.variables)
    assert finding.fix_result is not None
    assert set(finding.fix_result.still_not) == (set(finding.variables) & trained) - moved


def observe_loop(model: Any, optimizer: Any, step: Any) -> Any:
    state = optimizer.variables
    return observe(model, optimizer, step), [v.tobytes() for v in values(state() if callable(state) else state)]


def run_fixed(model: Any, optimizer: Any, step: Any, code: Any) -> set[str]:
    """Paths of what one call of the step moves, after the code was run with the names of a user's module."""
    import tensorflow as tf

    names = {"model": model, "optimizer": optimizer, "step": step, "tf": tf}
    if code.actions is not None:
        exec(code.code, names)
    else:
        names["step"] = tf.function(step.python_function)
    bind(names["step"], optimizer, names["optimizer"])
    before = values(model.variables)
    names["step"](*make_data())
    pairs = zip(model.variables, before, values(model.variables), strict=True)
    return {path_of(variable) for variable, old, new in pairs if old.tobytes() != new.tobytes()}


def bind(step: Any, old: Any, new: Any) -> None:
    """In a user's module the function would find the new optimizer by its name; here it closes over it."""
    for cell in step.python_function.__closure__:
        if cell.cell_contents is old:
            cell.cell_contents = new


def test_the_optimizer_is_found_in_the_function() -> None:
    model, _, step = unfreeze_late("keras")
    (finding,) = introspect.inspect(step, args=make_data(), model=model, try_fixes=True).findings
    assert finding.verified


def test_a_plain_function_needs_no_new_trace() -> None:
    """Python asks the flags at each call: to freeze is all that there is to do."""
    model, optimizer, step = cut_gradient("keras")
    report = introspect.inspect(
        step.python_function, args=make_data(), model=model, optimizer=optimizer, try_fixes=True
    )
    (finding,) = report.findings
    assert finding.fix.endswith('model.get_layer("d1").trainable = False')
    (trial,) = finding.trials
    assert trial.verified
    assert trial.note == "d1 frozen, then traced anew, which mends it; 2 variables stay as they are"
