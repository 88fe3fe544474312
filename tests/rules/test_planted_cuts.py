"""The op and the line that a finding names are those where the gradient was cut, and only those."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import introspect
from introspect.records import EvidenceStep, Finding

pytestmark = pytest.mark.tf

NAMES = (
    "stop_gradient",
    "rounding",
    "flooring",
    "cast_to_integer",
    "comparison",
    "argmax_one_hot",
    "top_k_indices",
    "search_sorted",
    "numpy_function",
    "py_function_of_integers",
    "whole_output_of_a_mixed_py_function",
    "whole_output_before_a_real_one",
    "real_output_of_a_mixed_py_function",
    "both_outputs_of_a_mixed_py_function",
    "real_output_of_a_mixed_numpy_function",
    "two_behind_a_mixed_numpy_function",
    "one_behind_a_mixed_numpy_function",
    "sampling",
    "strings",
    "two_of_one_line",
    "in_the_loss",
    "in_add_loss",
    "in_a_lambda",
    "custom_gradient_of_nothing",
    "assign",
    "assign_of_weights",
    "two_in_series",
    "two_in_parallel",
    "cheap_way_beside_a_long_one",
    "linear_tail",
    "checked_numbers",
    "behind_a_loop",
    "inside_a_loop",
    "inside_nested_functions",
    "inside_both_branches",
    "branch_decided_by_a_variable",
    "shape_only",
    "transformer_of_twelve_layers",
    "unet_with_a_detached_skip",
    "two_steps_per_execution",
    "compiled_by_xla",
    "clipped_by_the_global_norm",
    "scaled_loss",
    "in_a_replica",
    "own_gradient_between_those_of_silu",
    "in_a_cell_that_is_looped",
)


@pytest.fixture(autouse=True)
def _fresh_names() -> Iterator[None]:
    import keras

    keras.utils.clear_session()
    yield
    keras.utils.clear_session()


LARGE = ("transformer_of_twelve_layers", "unet_with_a_detached_skip")
FITTED = (
    "stop_gradient",
    "custom_gradient_of_nothing",
    "assign",
    "assign_of_weights",
    "two_in_parallel",
    "linear_tail",
    "behind_a_loop",
    "inside_nested_functions",
    "branch_decided_by_a_variable",
    "in_a_replica",
)
"""Those looked at once more after a fit: its step could be a stale one, as far as the graph alone shows."""


@pytest.mark.parametrize(
    ("name", "fitted"),
    [
        *(pytest.param(name, False, marks=[pytest.mark.slow] if name in LARGE else []) for name in NAMES),
        *((name, True) for name in FITTED),
    ],
)
def test_planted_cut_is_named(name: str, fitted: bool) -> None:
    from tests.rules.planted import PLANTED

    planted = PLANTED[name]
    model, data = planted.build()
    if fitted:
        model.fit(data, verbose=0)
    report = introspect.inspect(model, data=data)
    assert report.source == ("compiled" if fitted else "traced")
    starved = ask_tape(model, data)
    assert all(path.startswith(planted.starved) for path in starved)
    assert {path for finding in report.findings for path in finding.variables} == starved
    assert [finding.rule for finding in report.findings] == ["INT104"] * bool(starved)
    for finding in report.findings:
        assert places(finding, "cuts the gradient") == list(planted.cuts)
        assert all(f"planted.py:{line}" in finding.fix for _, line in planted.cuts)
        assert sorted(places(finding, "cuts another way")) == sorted(planted.others)


def test_a_function_stands_in_the_layer_that_calls_it() -> None:
    from tests.rules.planted import PLANTED

    model, data = PLANTED["inside_nested_functions"].build()
    (finding,) = introspect.inspect(model, data=data).findings
    (step,) = [step for step in finding.evidence if step.note == "cuts the gradient"]
    assert step.layer == "m/block"
    assert "in layer block" in finding.cause


def test_an_operation_between_layers_is_told_by_its_neighbours() -> None:
    """Keras keeps no line of an operation in a functional model: its history names neither file nor frame."""
    import keras

    from tests.rules.planted import batches

    x = keras.Input((4,))
    h = keras.layers.Dense(5, name="enc")(x)
    h = keras.ops.one_hot(keras.ops.argmax(h, axis=-1), 5)
    h = keras.layers.Dense(3, name="mid")(h)
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    (finding,) = introspect.inspect(model, data=batches((4,))).findings
    assert set(finding.variables) == {"enc/kernel", "enc/bias"}
    assert "ArgMax (m_1/ArgMax, between layers enc and mid)" in finding.cause
    (step,) = [step for step in finding.evidence if step.note.startswith("cuts the gradient")]
    assert step.location is None
    assert step.note == (
        "cuts the gradient, between layers enc and mid; of an operation that stands between layers Keras keeps no line"
    )


def between_layers(kind: str) -> tuple[Any, str]:
    """(model, neighbours) with an operation of Keras between two layers of a functional model that user code runs."""
    import keras
    import tensorflow as tf

    class OwnStep(keras.Model):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(data[0], training=True) - data[1]) ** 2)  # runs the model
            weights = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    class Around(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self, inner: Any) -> None:
            super().__init__(name="around")
            self.inner = inner

        def call(self, h: Any) -> Any:
            return self.inner(h)  # runs the model

    x = keras.Input((4,))
    h = keras.layers.Dense(5, name="enc")(x)
    h = keras.ops.one_hot(keras.ops.argmax(h, axis=-1), 5)
    made = (OwnStep if kind == "own step" else keras.Model)(x, keras.layers.Dense(1, name="head")(h), name="m")
    if kind == "nested":
        return keras.Model(x, made(x), name="outer"), "m/enc and m/head"
    return (Around(made), "m/enc and m/head") if kind == "in call" else (made, "enc and head")


@pytest.mark.parametrize("kind", ["own step", "in call", "nested"])
def test_the_line_that_runs_a_functional_model_is_not_the_line_of_its_operation(kind: str) -> None:
    import inspect

    from tests.rules.planted import batches

    model, near = between_layers(kind)
    data = batches((4,))
    model(next(iter(data))[0])
    model.compile("sgd", "mse")
    (finding,) = introspect.inspect(model, data=data).findings
    steps = [step for step in finding.evidence if step.note.startswith("cuts the gradient")]
    assert [(step.op_type, step.location) for step in steps] == [("ArgMax", None)]
    assert f"between layers {near}" in steps[0].note
    assert f"between layers {near})" in finding.cause
    assert "test_planted_cuts.py" not in finding.cause
    lines, first = inspect.getsourcelines(between_layers)
    ran = {first + i for i, line in enumerate(lines) if "# runs the model" in line}
    told = [step.location for step in finding.evidence if step.note == "the model that holds it is run here"]
    assert len(told) == (kind != "nested")
    assert all(location is not None and location.line in ran for location in told)


def test_a_layer_of_a_functional_model_keeps_its_own_line() -> None:
    """The twin of the above: here the user's own call() made the op."""
    import tensorflow as tf

    from tests.rules.planted import through

    made, data = through(lambda h: tf.stop_gradient(h))  # the line

    class OwnStep(type(made)):  # type: ignore[misc]
        def train_step(self, batch: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(batch[0], training=True) - batch[1]) ** 2)
            weights = self.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            return {"loss": loss}

    model = OwnStep(made.inputs, made.outputs, name="m")
    model.compile("sgd")
    (finding,) = introspect.inspect(model, data=data).findings
    steps = [step for step in finding.evidence if step.note.startswith("cuts the gradient")]
    assert [step.location is not None and step.location.function for step in steps] == ["<lambda>"]


def test_names_are_those_that_are_planted() -> None:
    from tests.rules.planted import PLANTED

    assert set(NAMES) == set(PLANTED)


def ask_tape(model: Any, data: Any) -> set[str]:
    """Paths of the trainable variables to which a tape gives no gradient."""
    import tensorflow as tf

    batch = next(iter(data))

    @tf.function
    def differentiate() -> None:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(batch[0], batch[1], model(batch[0], training=True))
        gradients[:] = tape.gradient(loss, [v.value for v in model.trainable_variables])  # may be traced twice

    gradients: list[Any] = []
    differentiate.get_concrete_function()
    pairs = zip(model.trainable_variables, gradients, strict=True)
    return {variable.path for variable, gradient in pairs if gradient is None}


def places(finding: Finding, note: str) -> list[tuple[str, int]]:
    """(op type, line in planted.py) of the steps with this note."""
    return [(str(step.op_type), line_of(step)) for step in finding.evidence if step.note == note]


def line_of(step: EvidenceStep) -> int:
    assert step.location is not None
    assert step.location.file.endswith("planted.py")
    return step.location.line
