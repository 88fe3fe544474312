"""inspect against TensorFlow's first trace of the step and against the bare export of its graph.

python benchmarks/models.py [--large] [name …]; each model in a process of its own. --large adds EfficientNetV2-L, whose
first trace takes TensorFlow minutes.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from timing import peak_memory, run_alone, show, time_pairs

NAMES = ("VGG16", "ResNet50", "transformer")
LARGE = "EfficientNetV2L"
PAIRS = 9


def make_model(name: str) -> tuple[Any, Any, Any]:
    """(compiled model, x, y); an application of Keras with a new head, or the transformer."""
    if name == "transformer":
        from transformer import make_transformer

        return make_transformer()
    return make_application(name)


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
    from introspect.capture.memo import memo_of
    from introspect.capture.trace.step import find_functions, list_traces

    model, x, y = make_model(name)
    started = time.perf_counter()
    model.train_on_batch(x, y)
    first = time.perf_counter() - started
    started = time.perf_counter()
    model.train_on_batch(x, y)
    trace = first - (time.perf_counter() - started)
    started = time.perf_counter()
    report = introspect.inspect(model)
    began = time.perf_counter() - started
    before = peak_memory()
    live = list_traces(find_functions(model, "keras"))[-1]
    export, memo = live.concrete.graph.as_graph_def, memo_of(live.concrete.graph)

    def look_first() -> None:
        memo.clear()
        introspect.inspect(model)

    gc.collect()
    exported, inspected = time_pairs(export, look_first, PAIRS)
    exported_again, later = time_pairs(export, lambda: introspect.inspect(model), PAIRS)
    nodes = report.traces[-1].nodes
    show(
        f"{name} ({nodes:,} nodes): inspect / first trace ({trace:.1f} s)",
        f"{inspected / trace:.4f}; the first inspect of the process {began / trace:.4f}",
        "≤ 0.01",
    )
    show(
        f"{name}: inspect ({inspected:.3f} s) / bare export, graph.as_graph_def() ({exported:.3f} s)",
        f"{inspected / exported:.2f}; {nodes / inspected / 1e3:.0f} thousand nodes/s; +{peak_memory() - before} MiB",
        "≤ 2",
    )
    show(
        f"{name}: each later inspect of the same trace ({later:.3f} s) / bare export",
        f"{later / exported_again:.2f}; {memo.size / 2**20:.1f} MiB kept for it",
        "≤ 2",
    )


def main(words: list[str]) -> None:
    names = [word for word in words if word != "--large"] or list(NAMES)
    for name in [*names, LARGE] if "--large" in words else names:
        run_alone(__file__, "--one", name)


if __name__ == "__main__":
    measure(sys.argv[2]) if sys.argv[1:2] == ["--one"] else main(sys.argv[1:])
