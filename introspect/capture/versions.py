"""The versions that introspect was tried on, and a specimen to try it on others."""

from __future__ import annotations

from typing import Any

TRIED = {"tensorflow": ((2, 19), (2, 21)), "keras": ((3, 13), (3, 15)), "tf_keras": ((2, 19), (2, 21))}
"""First and last release of each that the tests were run on."""


def list_untried(versions: dict[str, str | None]) -> tuple[str, ...]:
    """One sentence for each package whose version stands outside of TRIED."""
    found = []
    for package, version in versions.items():
        if version is None or package not in TRIED:
            continue
        first, last = TRIED[package]
        release = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
        if not first <= release <= last:
            span = f"{'.'.join(map(str, first))} to {'.'.join(map(str, last))}"
            found.append(f"{package} {version} is untried (tried: {span}); introspect checked itself on it first")
    return tuple(found)


def make_specimen(keras: Any) -> tuple[Any, tuple[Any, Any]]:
    """A compiled model of two layers, the first of them frozen, and its data; for the given Keras module.

    Names and values are fixed, so that neither name counters nor random state move.
    """
    import numpy as np

    ones = {"kernel_initializer": "ones", "bias_initializer": "zeros"}
    layers = [keras.layers.Dense(2, name=name, **ones) for name in ("frozen", "trained")]
    model = keras.Sequential([keras.Input((2,), name="specimen_input"), *layers], name="specimen")
    layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9, name="specimen_sgd"), "mse")
    return model, (np.ones((2, 2), "float32"), np.zeros((2, 2), "float32"))
