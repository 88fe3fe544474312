"""Small models and an oracle: which variables one real step moves."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

ROWS = 8


def make_data(seed: int = 0, outputs: int = 2) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(size=(ROWS, 4)).astype("float32"), random.normal(size=(ROWS, outputs)).astype("float32")


def make_model(library: str = "keras", norm: bool = False) -> Any:
    """Three dense layers, d1, d2 and d3, of the same weights at each call; `norm` adds a BatchNorm bn after d1."""
    keras = importlib.import_module(library)
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(3, activation="tanh", name="d1")]
    layers += [keras.layers.BatchNormalization(name="bn")] if norm else []
    layers += [keras.layers.Dense(3, activation="tanh", name="d2"), keras.layers.Dense(2, name="d3")]
    inputs = hidden = keras.Input((4,), name="inputs")
    for layer in layers:
        hidden = layer(hidden)
    return keras.Model(inputs, hidden, name="net")


def train(model: Any, steps: int, seed: int = 0) -> None:
    x, y = make_data(seed)
    for _ in range(steps):
        model.fit(x, y, batch_size=ROWS, epochs=1, shuffle=False, verbose=0)


def values(variables: Any) -> list[Any]:
    return [np.array(variable.numpy() if hasattr(variable, "numpy") else variable) for variable in variables]


def same(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def path_of(variable: Any) -> str:
    return str(getattr(variable, "path", None) or variable.name)


def step_moves(model: Any, seed: int = 3) -> set[str]:
    """Paths of the variables that one real step on randomised weights moves."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        if variable.dtype in ("float32",) or getattr(variable.dtype, "name", "") == "float32":
            variable.assign(np.abs(random.normal(size=variable.shape)).astype("float32"))
    before = values(model.variables)
    model.train_on_batch(*make_data(seed))
    after = values(model.variables)
    return {path_of(v) for v, a, b in zip(model.variables, before, after, strict=True) if not np.array_equal(a, b)}
