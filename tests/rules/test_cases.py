"""The cause is right on cases from real reports: ../shared/cases, where it stands beside the repository."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect.records import Finding, Report

CASES = Path(__file__).parents[3] / "shared" / "cases" / "models"

pytestmark = [
    pytest.mark.tf,
    pytest.mark.skipif(not CASES.is_dir(), reason="the cases (../shared/cases) do not stand beside the repository"),
]


@dataclass(frozen=True)
class Expected:
    """A finding.

    Attributes:
        rule: its id.
        says: stand in its message, cause or fix.
        shows: stand in its evidence, as "note op_type file:line".
    """

    rule: str
    says: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()


def expect(rule: str, *says: str, shows: tuple[str, ...] = ()) -> tuple[Expected, ...]:
    return (Expected(rule, says, shows),)


QUIET: tuple[Expected, ...] = ()
UNUSED = expect("INT104", "does not reach the loss: nothing uses the result", shows=("its result is not used",))
IGNORED = expect("INT401", "trainable all the same", "asks the variables alone afterwards")

BY_CAUSE: dict[str, tuple[Expected, ...]] = {
    "branch_not_in_training_graph": expect("INT104", "runs nothing of layer drop", "decided once"),
    "container_flag_ignored_by_outer_model": IGNORED,
    "container_frozen": expect("INT401", "decides for all layers below it (tf_keras)"),
    "custom_train_step_ignores_flag": expect(
        "INT101", "own train_step gives them to the optimizer", "self.trainable_variables"
    ),
    "custom_train_step_subset": expect("INT104", "the step never asks a tape for their gradients"),
    "ema_overwrite_misaligned": (
        Expected("INT101", ("layer d1 was trainable",)),
        Expected("INT205", ("layer d2", "averages of others"), ("m/d2/kernel is given the average of m/d1/kernel",)),
    ),
    "ema_overwrite_without_gradient": (*UNUSED, Expected("INT301", ("the average that fit writes back at its end",))),
    "flags_as_of_compile": expect("INT101|INT103", "tf_keras trains by the flags of the last compile"),
    "foreign_keras_layer": expect("INT105", "layer old", "made by tf_keras"),
    "frozen_one_by_one": expect("INT403", "layer bn", "frozen one by one"),
    "no_loss_for_output": expect("INT104", "What layer b computes from them does not reach the loss"),
    "non_differentiable_op": expect("INT104", "by ArgMax (", shows=(r"cuts the gradient ArgMax \S+:\d+",)),
    "optimizer_does_not_know_variable": expect("INT201", "does not know 2 trainable variables of layer hid"),
    "output_not_used_by_loss": expect("INT104", "What layer enc/pooler computes from them does not reach the loss"),
    "regularizer_only": UNUSED,
    "retrace_flag_honoured": expect("INT101", " while layer hid was trainable", "traced anew"),
    "stale_optimizer": expect("INT203", "keeps the one that it was traced with"),
    "stale_train_function": expect("INT101", "a step that was traced at ", "introspect.recompile(model)"),
    "stale_train_function_mixed_traces": expect("INT106", "The latest one", shows=("trains none", "trains all")),
    "stop_gradient": expect("INT104", "by StopGradient (", shows=(r"cuts the gradient StopGradient \S+:\d+",)),
    "sublayers_created_after_freeze": IGNORED,
    "tape_does_not_watch": expect("INT104", "No tape watches it"),
    "untracked_layer": expect("INT105", "layer b0", "which Keras does not see", shows=(r"reads net/b0/kernel\S* ",)),
    "untracked_layer_created_in_call": expect("INT105", "layer inner", "a layer made in call()"),
    "untracked_variable": expect("INT105", "a bare variable"),
    "unused_in_forward": expect("INT104", "What layer eqn computes from it does not reach the loss"),
    "variable_detached_from_forward": expect("INT104", "runs layer scale, and does not read it"),
    "weight_decay_without_gradient": expect("INT101", "layer dead was trainable", shows=(r"\(decay\)",)),
    "wrapper_ctor_flag": IGNORED,
    "wrong_object_attribute": expect("INT402", "'trainble' = False", "misspelt 'trainable'"),
}

POPPED = expect("INT105", "does not hold (any more)", "pop")
UNFROZEN = expect("INT103", "2 of 4 trainable variables", "layer hid was frozen", "“Unknown variable”")
BY_CASE: dict[str, tuple[Expected, ...]] = {
    "attribute_replaced_by_constant_k2": QUIET,  # tf_keras stops tracking the weight
    "lora_on_frozen_layer": QUIET,
    "run_eagerly_freeze_after_fit_k2": expect("INT101", "tf_keras trains by the flags of the last compile"),
    "sequential_pop_after_fit": POPPED,
    "sequential_pop_after_fit_k2": POPPED,
    "stale_frozen_layer_still_decays_k2": expect("INT101", "tf_keras trains by the flags", shows=(r"\(decay\)",)),
    "stale_unfreeze_after_fit": UNFROZEN,
}

HEALTHY = re.compile(
    r"none_flag_honoured\w*|zero_\w+|lora|froze_other_object|variable_level_flag|flag_read_at_trace_not_compile"
    r"|baked_training_false_overridden|updated_by_layer_call|momentum_without_gradient|overwrite_with_gradient"
    r"|parent_setter_is_recursive|setattr_short_circuit_noop|layer_setter_overwrites_variable_flag|flag_not_serialised"
)
"""Causes with which all that trains is what the flags say: no error, no warning."""


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    import keras
    import tf_keras

    keras.utils.clear_session()
    tf_keras.backend.clear_session()


def list_cases() -> list[str]:
    return sorted(path.stem for path in CASES.glob("*.py")) if CASES.is_dir() else []


@pytest.mark.parametrize("name", list_cases())
def test_cause(name: str) -> None:
    import keras

    case = load(name)
    if name.startswith("multi_optimizer") and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip(f"Keras has MultiOptimizer since 3.15, and this is {keras.__version__}")
    expected = BY_CASE.get(name, BY_CAUSE.get(case.CAUSE))
    if case.CAUSE == "forward_outside_tape":
        with pytest.raises(introspect.IntrospectError, match="keep the forward pass inside the GradientTape"):
            look_at(case)
    elif expected is None and not HEALTHY.fullmatch(case.CAUSE):
        pytest.skip(f"no finding is agreed on for {case.CAUSE}")
    else:
        report = look_at(case)
        for one in expected or ():
            assert any(fits(finding, one) for finding in report.findings), f"{one} in\n{report}"
        meant = {rule for one in expected or () for rule in one.rule.split("|")}
        loud = {finding.rule for finding in report.findings if finding.severity != "info"}
        assert loud <= meant, str(report)


def fits(finding: Finding, expected: Expected) -> bool:
    text = f"{finding.message} {finding.cause} {finding.fix}"
    steps = [f"{step.note} {step.op_type} {step.location}" for step in finding.evidence]
    return (
        finding.rule in expected.rule.split("|")
        and all(phrase in text for phrase in expected.says)
        and all(any(re.search(shown, step) for step in steps) for shown in expected.shows)
    )


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"case_{name}", CASES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    case = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(case)
    return case


def look_at(case: Any) -> Report:
    model, data = case.build()
    acted = case.act(model, data)
    if isinstance(acted, tuple):
        model, data = acted
    return introspect.inspect(model) if hasattr(case, "next_fit") else introspect.inspect(model, data=data)
