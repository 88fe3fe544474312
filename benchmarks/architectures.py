"""Every model of keras.applications, partly frozen: what inspect says against one real step and tf.GradientTape.

    python benchmarks/architectures.py                  all but the largest, each in a process of its own
    python benchmarks/architectures.py --all            the largest too
    python benchmarks/architectures.py ResNet50 …       these

The last fifth of the base trains. Each model is asked before its first fit, after it, and once more when all of it was
frozen without compile.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LARGEST = ("ConvNeXtLarge", "ConvNeXtXLarge", "EfficientNetB7", "EfficientNetV2L", "NASNetLarge")
"""A step of theirs takes TensorFlow minutes to trace and gigabytes to run."""
SIDES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}
"""Smallest square input, where it is not 32 pixels."""
FIGURES = ("situations", "right", "variables", "variables right", "unknown", "false alarms")


def list_names() -> list[str]:
    """All functions of keras.applications that build a model."""
    import keras

    return sorted(name for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value))


def judge(name: str) -> dict[str, Any]:
    """Build one, ask three times, and say what was seen."""
    sys.path.insert(0, str(HERE.parent))
    from tests.architectures.course import Course
    from tests.architectures.models import Architecture, nest, unfreeze_last
    from tests.oracle import TOTALS, Asked

    started = time.perf_counter()
    architecture = Architecture(name, SIDES.get(name, 32), 0)
    base = architecture.base()
    unfreeze_last(base, len(base.layers) // 5)
    course = Course(nest(base), architecture.data(), compile_model)
    outcome = course.ask("before the first fit")
    course.ask("after it")
    base.trainable = False
    course.ask("frozen without compile", Asked(rules=("INT101",)))
    return {
        "faults": course.faults,
        "layers": len(base.layers),
        "nodes": outcome.report.traces[-1].nodes if outcome.report else 0,
        "seconds": time.perf_counter() - started,
        **{figure: TOTALS[figure] for figure in FIGURES},
    }


def compile_model(model: Any) -> None:
    """Lion takes the gradient's sign: what no pretraining has scaled moves too, however little arrives."""
    import keras

    model.compile(keras.optimizers.Lion(1e-3), "sparse_categorical_crossentropy")


def run_apart(name: str) -> dict[str, Any]:
    """One process for each model: a step of some needs most of the memory."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    command = [sys.executable, __file__, "--one", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"faults": [(done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(arguments: list[str]) -> int:
    """Run those asked for; 0 where nothing disagreed."""
    names = [a for a in arguments if not a.startswith("-")]
    names = names or [n for n in list_names() if "--all" in arguments or n not in LARGEST]
    total = dict.fromkeys(FIGURES, 0)
    faulty = 0
    for name in names:
        found = run_apart(name)
        faulty += bool(found["faults"])
        total = {figure: total[figure] + found.get(figure, 0) for figure in FIGURES}
        if "layers" in found:
            size = f"{found['layers']} layers, {found['nodes']:,} nodes, {found['seconds']:.0f} s"
            print(f"{name} ({size}): {format_figures(found)}", flush=True)
        print("".join(f"{name}: {fault[:600]}\n" for fault in found["faults"][:10]), end="", flush=True)
    print(f"{len(names)} models, {faulty} with faults: {format_figures(total)}")
    return 1 if faulty else 0


def format_figures(found: dict[str, Any]) -> str:
    """`3 situations, 3 right, …`"""
    return ", ".join(f"{found[figure]} {figure}" for figure in FIGURES)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(judge(sys.argv[2])))
    else:
        sys.exit(main(sys.argv[1:]))
