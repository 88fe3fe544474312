"""Flags that a traced step sets itself.

A GAN's `train_step` may freeze its discriminator halfway and leave it so. What the next step is expected to train goes by
the flags of before it, so they are put back as soon as the trace is made, and not only with everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from introspect.capture.framework import KerasName, list_model_variables
from introspect.capture.layers import walk_layers

FLAG = "_trainable"
"""Where layers, Keras 3's variables and TensorFlow's keep it. Seen on Keras 3.13 to 3.15, tf_keras 2.19 to 2.21."""


@contextmanager
def keep_flags(model: Any, keras: KerasName) -> Iterator[None]:
    """Put the flags of the model's layers and variables back at the end, past every setter that hands them down."""
    owners = [*walk_layers(model, keras).layers, *list_model_variables(model)]
    held = [(owner, vars(owner)[FLAG]) for owner in owners if FLAG in getattr(owner, "__dict__", ())]
    try:
        yield
    finally:
        for owner, flag in held:
            if vars(owner).get(FLAG) is not flag:
                vars(owner)[FLAG] = flag
