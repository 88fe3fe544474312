"""The ways of transfer learning on real architectures: what inspect says is what one real step and the tape say.

VGG16 and MobileNetV2 always; the larger ones, whose steps take TensorFlow minutes to trace, with the slow tests.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from introspect import cli
from tests.architectures.course import Course
from tests.architectures.models import (
    Architecture,
    compile_model,
    extend,
    nest,
    set_flags,
    stack,
    unfreeze_last,
)
from tests.oracle import Asked, ask_loop

pytestmark = pytest.mark.tf

QUICK = (Architecture("VGG16", 32, 4), Architecture("MobileNetV2", 64, 12))
SLOW = (
    Architecture("ResNet50", 64, 22),
    Architecture("EfficientNetV2B0", 64, 17),
    Architecture("ConvNeXtTiny", 32, 24),
)
LONG = tuple(
    ("MobileNetV2", way) for way in ("unfreeze_before_first_fit", "freeze_and_unfreeze", "unfreeze_last_layers")
)
"""Several of their traces hold much of the backward pass; VGG16's take a quarter of the time."""
STALE = Asked(rules=("INT103",))
LEAKING = Asked(rules=("INT101",))


def freeze_and_unfreeze(architecture: Architecture, folder: Path) -> list[str]:
    """The base as a layer: frozen, unfrozen and frozen again, with compile and without."""
    base = architecture.base()
    set_flags(base, False)
    course = Course(nest(base), architecture.data(), compile_model)
    course.expect("frozen, before the first fit", course.ask("frozen, before the first fit"))
    course.expect("frozen", course.ask("frozen"))
    base.trainable = True
    course.expect("unfrozen without compile", course.ask("unfrozen without compile", STALE), "INT103")
    base.trainable = False
    course.expect("as it was compiled", course.ask("as it was compiled"))
    base.trainable = True
    course.compile()
    course.expect("unfrozen with compile", course.ask("unfrozen with compile"))
    base.trainable = False
    course.expect("frozen after training", course.ask("frozen after training", LEAKING), *leaks(base))
    course.compile()
    course.expect("frozen with compile", course.ask("frozen with compile"))
    return course.faults


def unfreeze_before_first_fit(architecture: Architecture, folder: Path) -> list[str]:
    """Compiled while the base was frozen, unfrozen before anything was traced: Keras honours it."""
    base = architecture.base()
    set_flags(base, False)
    course = Course(stack(base), architecture.data(), compile_model)
    base.trainable = True
    course.expect("before the first fit", course.ask("before the first fit"))
    course.expect("after it", course.ask("after it"))
    return course.faults


def unfreeze_last_layers(architecture: Architecture, folder: Path) -> list[str]:
    """The base's layers are the model's own and the last of them train; then the same from a file."""
    base = architecture.base()
    unfreeze_last(base, architecture.last)
    course = Course(extend(base), architecture.data(), compile_model)
    course.expect("the last layers", course.ask("the last layers"))
    path = str(folder / "model.keras")
    course.model.save(path)
    # Before the load of our own: Keras numbers seed generators, and inspect gives its numbers back.
    report = introspect.inspect(path)
    course.model, course.tape = keras.models.load_model(path), None
    course.expect("from a file", course.hold("from a file", lambda: report))
    course.faults += compare_command_line(path, course)
    return course.faults


def leaks(base: Any) -> set[str]:
    """What a base that was frozen too late does: its weights go on training, its statistics go on moving."""
    normalizes = any(isinstance(layer, keras.layers.BatchNormalization) for layer in base.layers)
    return {"INT101", "INT102"} if normalizes else {"INT101"}


def compare_command_line(path: str, course: Course) -> list[str]:
    """Where the command line's answer on a file is not what the tape says of the model in it."""
    output = f"{path}.json"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = cli.main([path, "--format", "json", "-o", output])
    faults = course.compare_rows(json.loads(Path(output).read_text())["variables"])
    return [f"command line: {fault}" for fault in (*faults, *([f"ends with {code}"] if code else []))]


def call_for_inference(architecture: Architecture, folder: Path) -> list[str]:
    """`base(x, training=False)`: statistics of unfrozen BatchNormalizations move all the same; frozen ones stay."""
    base = architecture.base()
    unfreeze_last(base, architecture.last)
    course = Course(nest(base, training=False), architecture.data(), compile_model)
    course.expect("last layers, training=False", course.ask("last layers, training=False"))
    base.trainable = False
    course.expect("frozen after training", course.ask("frozen after training", LEAKING), *leaks(base))
    return course.faults


def loop_of_ones_own(architecture: Architecture, folder: Path) -> list[str]:
    """A tf.function with an optimizer of its own: what its trace trains, not what the flags became since."""
    base = architecture.base()
    unfreeze_last(base, architecture.last)
    model, optimizer = nest(base), keras.optimizers.Adam(1e-3)
    x, y = next(iter(architecture.data()))

    @tf.function
    def train(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True)))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    faults = [f"first call: {f}" for f in ask_loop(train, (x, y), model, optimizer).faults]
    base.trainable = False
    faults += [f"frozen after it: {f}" for f in ask_loop(train, (x, y), model, optimizer, LEAKING).faults]
    return faults


Way = Callable[[Architecture, Path], list[str]]
WAYS: dict[str, Way] = {
    way.__name__: way
    for way in (
        freeze_and_unfreeze,
        unfreeze_before_first_fit,
        unfreeze_last_layers,
        call_for_inference,
        loop_of_ones_own,
    )
}


def list_cases() -> Iterator[Any]:
    """Each architecture in each way; what takes minutes is slow."""
    for architecture in (*QUICK, *SLOW):
        for name, way in WAYS.items():
            slow = architecture in SLOW or (architecture.name, name) in LONG
            marks = [pytest.mark.slow] if slow else []
            yield pytest.param(architecture, way, id=f"{architecture.name}-{name}", marks=marks)


@pytest.mark.parametrize(("architecture", "way"), list(list_cases()))
def test_way(architecture: Architecture, way: Way, tmp_path: Path) -> None:
    """Every verdict of each situation on the way."""
    assert way(architecture, tmp_path) == []
