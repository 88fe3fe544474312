"""Backbones of keras-hub in the ways of fine-tuning: frozen and unfrozen, and LoRA switched on before and after a fit."""

from __future__ import annotations

import keras
import pytest

pytest.importorskip("keras_hub", reason="keras-hub is not installed; bash tests/run --wide installs it")

from tests.architectures.course import Course
from tests.architectures.hub_models import MODELS, Made
from tests.oracle import Asked

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def start(name: str) -> tuple[Course, Made]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    made = MODELS[name]()
    _, model, data, told = made
    return Course(model, data, lambda model: model.compile(keras.optimizers.Adam(1e-3), **told)), made


@pytest.mark.parametrize("name", MODELS)
def test_freezing(name: str) -> None:
    """A backbone frozen, unfrozen without compile, and with it."""
    course, (backbone, *_) = start(name)
    backbone.trainable = False
    if course.model.trainable_variables:
        course.ask("frozen, before the first fit")
        course.ask("frozen")
        backbone.trainable = True
        course.ask("unfrozen without compile", Asked(rules=("INT103",)))
    backbone.trainable = True
    course.compile()
    course.ask("unfrozen with compile")
    course.ask("after it")
    backbone.trainable = False
    course.ask("frozen after training", Asked(rules=("INT101",)))
    assert course.faults == []


@pytest.mark.parametrize("name", ["bert", "gpt2", "gemma", "tied_language_model", "llama"])
def test_lora(name: str) -> None:
    """LoRA before the first fit: its factors train and what they stand beside does not."""
    course, (backbone, *_) = start(name)
    backbone.enable_lora(2)
    outcome = course.ask("before the first fit")
    assert [path for path, truth in outcome.truth.items() if "lora" in path and truth.gradient == "none"] == []
    assert [path for path, truth in outcome.truth.items() if path.startswith("token_emb") and truth.moves] == []
    course.ask("after it")
    assert course.faults == []


@pytest.mark.parametrize("name", ["bert", "gpt2", "gemma", "tied_language_model", "llama"])
def test_lora_after_a_fit(name: str) -> None:
    """LoRA after a fit: the old step still trains all kernels and knows nothing of the factors, until compile."""
    course, (backbone, *_) = start(name)
    course.ask("whole")
    backbone.enable_lora(2)
    course.ask("without compile", Asked(rules=("INT101", "INT103")))
    course.compile()
    course.ask("with compile")
    assert course.faults == []
