"""Backbones of keras-hub in the ways of fine-tuning: frozen and unfrozen, and LoRA switched on before and after a fit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("keras_hub", reason="keras-hub is not installed; bash tests/run --wide installs it")

import introspect
from introspect.errors import DataError
from tests.architectures.course import Course
from tests.architectures.hub_models import MODELS, SIZES, Made, make_tokens
from tests.oracle import Asked, ask

pytestmark = [pytest.mark.tf, pytest.mark.slow]


def start(name: str) -> tuple[Course, Made]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    made = MODELS[name]()
    _, model, data, told = made
    # Lion takes the gradient's sign: what no pretraining has scaled moves too, however little arrives.
    return Course(model, data, lambda model: model.compile(keras.optimizers.Lion(1e-3), **told)), made


def enable_lora(backbone: Any) -> None:
    """LoRA, its second factor not 0: at 0 the first one's gradient would be 0 too."""
    backbone.enable_lora(2)
    for variable in backbone.variables:
        if variable.name == "lora_kernel_b":
            variable.assign(np.random.default_rng(2).normal(size=variable.shape) * 0.1)


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
    enable_lora(backbone)
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
    enable_lora(backbone)
    course.ask("without compile", Asked(rules=("INT101", "INT103")))
    course.compile()
    course.ask("with compile")
    assert course.faults == []


def make_classifier(preprocessed: bool) -> tuple[Any, Any, Any]:
    """A classifier of texts that tokenizes in its own `fit`, or of tokens; texts (or tokens) and labels."""
    from keras_hub.models import BertBackbone, BertTextClassifier, BertTextClassifierPreprocessor, BertTokenizer

    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox", "jumps"]
    preprocessor = BertTextClassifierPreprocessor(BertTokenizer(vocabulary=words), sequence_length=6)
    backbone = BertBackbone(num_heads=2, max_sequence_length=6, **SIZES)
    model = BertTextClassifier(backbone, num_classes=3, preprocessor=preprocessor if preprocessed else None)
    model.compile(keras.optimizers.Lion(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
    x = ["the quick fox", "the brown fox", "fox jumps"]
    tokens = make_tokens("token_ids", "segment_ids", "padding_mask")
    return model, x if preprocessed else tokens, np.arange(3)


@pytest.mark.parametrize("preprocessed", [True, False])
@pytest.mark.parametrize("kind", ["set", "arrays"])
def test_own_fit(preprocessed: bool, kind: str) -> None:
    """What a task's own `fit` maps over its data is mapped over `data=`: before the first fit, after it, and stale."""
    model, x, y = make_classifier(preprocessed)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(3) if kind == "set" else (x, y)

    def fit(model: Any, data: Any) -> None:
        model.fit(*(data if kind == "arrays" else (data,)), verbose=0)

    faults = [ask(model, data, Asked(), fit).faults for _ in range(2)]
    model.backbone.trainable = False
    outcome = ask(model, data, Asked(rules=("INT101",)), fit)
    assert [*faults, outcome.faults] == [[], [], []]


def test_own_fit_refuses() -> None:
    """Data that the task's own `fit` cannot take is refused with its reason."""
    model, _, y = make_classifier(preprocessed=True)
    with pytest.raises(DataError, match=r"fit\(\) of BertTextClassifier cannot take this data"):
        introspect.inspect(model, data=(["the fox"], y))
