"""inspect against TensorFlow's first trace of the step and against the bare export of its graph.

python benchmarks/models.py [name …]; each model in a process of its own.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from typing import Any

from timing import peak_memory, show, time_pairs

NAMES = ("VGG16", "ResNet50", "EfficientNetV2L", "transformer")


def make_transformer() -> tuple[Any, Any, Any]:
    import keras
    import numpy as np

    tokens = keras.Input((32,), dtype="int32")
    h = keras.layers.Embedding(1000, 64)(tokens)
    for _ in range(12):
        a = keras.layers.LayerNormalization()(h)
        h = keras.layers.Add()([h, keras.layers.MultiHeadAttention(4, 16)(a, a)])
        f = keras.layers.LayerNormalization()(h)
        f = keras.layers.Dense(64)(keras.layers.Dense(256, activation="gelu")(f))
        h = keras.layers.Add()([h, f])
    model = keras.Model(tokens, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(h)))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, np.ones((2, 32), "int32"), np.zeros(2, "int32")


def make_application(name: str) -> tuple[Any, Any, Any]:
    import keras
    import numpy as np

    base = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(64, 64, 3))
    head = keras.layers.Dense(3, activation="softmax")
    model = keras.Sequential([base, keras.layers.GlobalAveragePooling2D(), head])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, np.zeros((2, 64, 64, 3), "float32"), np.zeros(2, "int32")


def measure(name: str) -> None:
    import introspect
    from introspect.capture.step import find_functions, list_traces

    model, x, y = make_transformer() if name == "transformer" else make_application(name)
    started = time.perf_counter()
    model.train_on_batch(x, y)
    first = time.perf_counter() - started
    started = time.perf_counter()
    model.train_on_batch(x, y)
    trace = first - (time.perf_counter() - started)
    before = peak_memory()
    live = list_traces(find_functions(model, "keras"))[-1]
    graph = live.concrete.graph
    gc.collect()
    export, inspected = time_pairs(graph.as_graph_def, lambda: introspect.inspect(model), 5)
    report = introspect.inspect(model)
    nodes = report.traces[-1].nodes
    show(f"{name} ({nodes:,} nodes): inspect / first trace ({trace:.0f} s)", f"{inspected / trace:.4f}", "≤ 0.01")
    show(
        f"{name}: inspect / as_graph_def ({export:.2f} s)",
        f"{inspected / export:.2f}; {nodes / inspected / 1e3:.0f} thousand nodes/s; +{peak_memory() - before} MiB",
        "≤ 2",
    )


def main(names: list[str]) -> None:
    for name in names:
        subprocess.run([sys.executable, __file__, "--one", name], check=True)


if __name__ == "__main__":
    measure(sys.argv[2]) if sys.argv[1:2] == ["--one"] else main(sys.argv[1:] or list(NAMES))
