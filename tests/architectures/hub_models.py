"""Backbones of keras-hub from tiny configurations, nothing downloaded, each with a small head and one batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

CLASSES = 3
ROWS, TOKENS, WORDS, SIDE = 3, 6, 20, 32
Made = tuple[Any, Any, Any, dict[str, str]]
"""(backbone, model, data, what compile is told)"""
DENSE = {"loss": "sparse_categorical_crossentropy"}
SIZES: dict[str, Any] = {"vocabulary_size": WORDS, "num_layers": 1, "hidden_dim": 8, "intermediate_dim": 16}
GROUPED: dict[str, Any] = {**SIZES, "num_query_heads": 2, "num_key_value_heads": 1}


def make_tokens(*names: str) -> dict[str, Any]:
    """Random tokens under some names, all of them valid."""
    dice = np.random.default_rng(5)
    values = {
        "token_ids": dice.integers(1, WORDS, size=(ROWS, TOKENS)),
        "segment_ids": dice.integers(0, 2, size=(ROWS, TOKENS)),
        "padding_mask": np.ones((ROWS, TOKENS)),
    }
    return {name: values[name.removeprefix("encoder_").removeprefix("decoder_")].astype("int32") for name in names}


def make_features(*shape: int) -> Any:
    """Random numbers."""
    return np.random.default_rng(6).normal(size=(ROWS, *shape)).astype("float32")


def make_data(x: Any, y: Any = None) -> tf.data.Dataset:
    """One batch."""
    return tf.data.Dataset.from_tensor_slices((x, np.arange(ROWS) % CLASSES if y is None else y)).batch(ROWS)


def classify(backbone: Any, x: Any, pick: Callable[[Any], Any]) -> Made:
    """A dense head on what `pick` takes from the backbone's output."""
    outputs = keras.layers.Dense(CLASSES, activation="softmax", name="head")(pick(backbone.output))
    return backbone, keras.Model(backbone.input, outputs, name="task"), make_data(x), DENSE


def last_token(outputs: Any) -> Any:
    return outputs[:, -1]


def bert() -> Made:
    from keras_hub.models import BertBackbone

    backbone = BertBackbone(num_heads=2, max_sequence_length=TOKENS, **SIZES)
    return classify(backbone, make_tokens("token_ids", "segment_ids", "padding_mask"), lambda out: out["pooled_output"])


def gpt2() -> Made:
    from keras_hub.models import GPT2Backbone

    backbone = GPT2Backbone(num_heads=2, max_sequence_length=TOKENS, **SIZES)
    return classify(backbone, make_tokens("token_ids", "padding_mask"), last_token)


def tied_language_model() -> Made:
    """Gemma with its embedding at both ends: the sparse gradient of a lookup and a dense one meet."""
    from keras_hub.models import GemmaBackbone

    backbone = GemmaBackbone(head_dim=4, **GROUPED)
    logits = backbone.token_embedding(backbone.output, reverse=True)
    model = keras.Model(backbone.input, keras.layers.Softmax(name="head")(logits), name="task")
    x = make_tokens("token_ids", "padding_mask")
    return backbone, model, make_data(x, np.roll(x["token_ids"], -1, axis=1)), DENSE


def gemma() -> Made:
    from keras_hub.models import GemmaBackbone

    return classify(GemmaBackbone(head_dim=4, **GROUPED), make_tokens("token_ids", "padding_mask"), last_token)


def llama() -> Made:
    from keras_hub.models import LlamaBackbone

    return classify(LlamaBackbone(**GROUPED), make_tokens("token_ids", "padding_mask"), last_token)


def mixtral() -> Made:
    """A mixture of experts: a router picks two of them for each token."""
    from keras_hub.models import MixtralBackbone

    return classify(MixtralBackbone(num_experts=3, **GROUPED), make_tokens("token_ids", "padding_mask"), last_token)


def t5() -> Made:
    from keras_hub.models import T5Backbone

    names = ("encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask")
    return classify(
        T5Backbone(num_heads=2, **SIZES), make_tokens(*names), lambda out: out["decoder_sequence_output"][:, -1]
    )


def vit() -> Made:
    from keras_hub.models import ViTBackbone

    backbone = ViTBackbone(
        image_shape=(SIDE, SIDE, 3), patch_size=16, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    return classify(backbone, make_features(SIDE, SIDE, 3), lambda out: out[:, 0])


def whisper() -> Made:
    from keras_hub.models import WhisperBackbone

    backbone = WhisperBackbone(
        num_heads=2, num_mels=4, max_encoder_sequence_length=10, max_decoder_sequence_length=TOKENS, **SIZES
    )
    x = {"encoder_features": make_features(10, 4), **make_tokens("decoder_token_ids", "decoder_padding_mask")}
    return classify(backbone, x, lambda out: out["decoder_sequence_output"][:, -1])


def sam() -> Made:
    """SAM with all of its prompts. Its own task class refuses to fit, so its decoder stands in a plain model."""
    from keras_hub.layers import SAMMaskDecoder, SAMPromptEncoder
    from keras_hub.models import SAMBackbone, ViTDetBackbone

    encoder = ViTDetBackbone(
        hidden_size=8,
        num_layers=2,
        intermediate_dim=16,
        num_heads=2,
        global_attention_layer_indices=[1],
        num_output_channels=8,
        window_size=2,
        image_shape=(SIDE, SIDE, 3),
    )
    prompts = SAMPromptEncoder(
        hidden_size=8, image_embedding_size=(2, 2), input_image_size=(SIDE, SIDE), mask_in_channels=16
    )
    decoder = SAMMaskDecoder(
        hidden_size=8, num_layers=2, intermediate_dim=16, num_heads=2, embedding_dim=8, iou_head_hidden_dim=8
    )
    backbone = SAMBackbone(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder)
    masks = decoder(**backbone.output)["masks"]
    model = keras.Model(backbone.input, keras.layers.Activation("sigmoid", name="head")(masks), name="task")
    x = {
        "images": make_features(SIDE, SIDE, 3),
        "points": make_features(3, 2),
        "labels": np.tile([[1.0, 0.0, -1.0]], (ROWS, 1)).astype("float32"),
        "boxes": make_features(1, 2, 2),
        "masks": make_features(1, 8, 8, 1),
    }
    return backbone, model, make_data(x, np.zeros((ROWS, *model.output_shape[1:]), "float32")), {"loss": "mse"}


MODELS = {
    make.__name__: make for make in (bert, gpt2, gemma, tied_language_model, llama, mixtral, t5, vit, whisper, sam)
}
