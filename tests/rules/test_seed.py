"""The three examples of the question that this tool grew from: what really trains in each."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect.records import Report

SAMPLES = Path(__file__).parents[2] / "samples" / "seed"


def test_examples_1_and_2_are_the_same_code() -> None:
    first, second = (read_build(f"example{i}") for i in (1, 2))
    assert first == second


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize("name", ["example1", "example2"])
def test_all_of_vgg16_trains(name: str) -> None:
    report, _, _ = look_at(name)
    assert report.ok
    assert len(trained(report)) == len([row for row in report.variables if row.expected]) == 28


@pytest.mark.tf
@pytest.mark.slow
def test_example_1_as_meant_leaves_vgg16_out_until_it_is_recompiled() -> None:
    report, model, data = look_at("example1_as_meant")
    assert [finding.rule for finding in report.findings] == ["INT103"]
    assert len(report.findings[0].variables) == 26
    assert (
        "26 of 28 trainable variables are not trained by the step, those of layer vgg16" in report.findings[0].message
    )
    introspect.recompile(model)
    mended = introspect.inspect(model, data=data)
    assert mended.ok
    assert len(trained(mended)) == 28


@pytest.mark.tf
def test_sub_model_selects_nothing() -> None:
    report, model, _ = look_at("example3")
    assert report.ok
    assert trained(report) == {variable.path for variable in model.trainable_variables}
    assert len(trained(report)) == 4


def trained(report: Report) -> set[str]:
    return {row.path for row in report.variables if row.updated == "yes"}


def look_at(name: str) -> tuple[Report, Any, Any]:
    spec = importlib.util.spec_from_file_location(name, SAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model, data = module.build()
    return introspect.inspect(model, data=data), model, data


def read_build(name: str) -> str:
    tree = ast.parse((SAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    return "\n".join(ast.dump(node) for node in tree.body if isinstance(node, ast.FunctionDef))
