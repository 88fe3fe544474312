"""A text classifier built as keras-hub builds its BERT: layers of layers, a padding mask, dropout, AdamW with a schedule."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

VOCABULARY, LENGTH, WIDTH, HEADS, BLOCKS = 1000, 32, 64, 4, 12


class TokenAndPosition(layers.Layer):
    """Embeddings of tokens, their places and their segment, normalized."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.token = layers.Embedding(VOCABULARY, WIDTH, name="token_embedding")
        self.position = layers.Embedding(LENGTH, WIDTH, name="position_embedding")
        self.segment = layers.Embedding(2, WIDTH, name="segment_embedding")
        self.norm = layers.LayerNormalization(epsilon=1e-12, name="embeddings_layer_norm")
        self.dropout = layers.Dropout(0.1)

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        places = ops.arange(ops.shape(tokens)[1])
        total = self.token(tokens) + self.position(places) + self.segment(ops.zeros_like(tokens))
        return self.dropout(self.norm(total), training=training)


class EncoderBlock(layers.Layer):
    """Self-attention and a feed-forward part, each with dropout, a way around and a norm behind it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, dropout=0.1, name="self_attention_layer")
        self.attention_norm = layers.LayerNormalization(epsilon=1e-12, name="self_attention_layer_norm")
        self.inner = layers.Dense(4 * WIDTH, activation="gelu", name="feedforward_intermediate_dense")
        self.outer = layers.Dense(WIDTH, name="feedforward_output_dense")
        self.norm = layers.LayerNormalization(epsilon=1e-12, name="feedforward_layer_norm")
        self.dropout = layers.Dropout(0.1)

    def call(self, inputs: Any, padding: Any, training: bool | None = None) -> Any:
        mask = ops.expand_dims(padding, 1)
        attended = self.attention(inputs, inputs, attention_mask=mask, training=training)
        hidden = self.attention_norm(inputs + self.dropout(attended, training=training))
        changed = self.outer(self.inner(hidden))
        return self.norm(hidden + self.dropout(changed, training=training))


def make_transformer() -> tuple[Any, Any, Any]:
    """(compiled model, tokens, labels)"""
    import numpy as np

    tokens = keras.Input((LENGTH,), dtype="int32", name="token_ids")
    padding = ops.not_equal(tokens, 0)
    hidden = TokenAndPosition(name="embeddings")(tokens)
    for i in range(BLOCKS):
        hidden = EncoderBlock(name=f"transformer_layer_{i}")(hidden, padding)
    pooled = layers.Dense(WIDTH, activation="tanh", name="pooled_dense")(hidden[:, 0, :])
    model = keras.Model(tokens, layers.Dense(2, name="logits")(layers.Dropout(0.1)(pooled)), name="text_classifier")
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 1000, warmup_target=1e-4, warmup_steps=100)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.01, global_clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model, np.ones((2, LENGTH), "int32"), np.zeros(2, "int32")
