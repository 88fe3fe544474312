"""Run by a test in a process of its own: fixes of custom loops with two replicas, tried and then really applied.

`python -m tests.fixes.mirrored_loops keras`; prints one JSON object. One strategy serves all, for the collectives of two
take the same numbers.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import tensorflow as tf

import introspect
from introspect.remedies import read_remedies
from tests.fixes.steps import make_data, make_model, path_of, values

KINDS = ("healthy", "freeze", "unfreeze", "cut", "all weights", "unbuilt")


def make_loop(library: str, strategy: Any, kind: str) -> tuple[Any, Any, Any, Any]:
    """Model, optimizer, step, batch: after one step, with the flags as the kind has them; before it where nothing is built."""
    keras = importlib.import_module(library)
    with strategy.scope():
        model, optimizer = make_model(library), keras.optimizers.Adam(0.1)
        model.get_layer("d1").trainable = kind != "unfreeze"
        if kind != "unbuilt":
            optimizer.build(model.trainable_variables)
    data = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(make_data()).batch(8))
    held = {"optimizer": optimizer}

    def train(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = model.get_layer("d1")(x)
            hidden = tf.stop_gradient(hidden) if kind == "cut" else hidden
            loss = tf.reduce_mean((model.get_layer("d3")(model.get_layer("d2")(hidden)) - y) ** 2)
        weights = model.weights if kind == "all weights" else model.trainable_weights
        pairs = zip(tape.gradient(loss, weights), weights, strict=True)
        held["optimizer"].apply_gradients([pair for pair in pairs if pair[0] is not None])
        return loss

    step = tf.function(lambda batch: strategy.run(train, args=batch))
    batch = next(iter(data))
    if kind == "unbuilt":
        return model, held, step, batch
    step(batch)
    model.get_layer("d1").trainable = True
    model.get_layer("d2").trainable = kind not in ("freeze", "all weights")
    return model, held, step, batch


def run(library: str, strategy: Any, kind: str) -> list[dict[str, Any]]:
    """What is said of each finding and of its proposals, and what each step of its fix really moves."""
    model, held, step, batch = make_loop(library, strategy, kind)
    before = values(model.variables)
    report = introspect.inspect(step, args=(batch,), model=model, optimizer=held["optimizer"], try_fixes=True)
    assert all((a == b).all() for a, b in zip(before, values(model.variables), strict=True))
    found = []
    for finding in report.findings:
        proposals = [one.code for one in read_remedies(finding.fix) if one.actions is not None]
        assert [trial.code for trial in finding.trials] == proposals
        for trial in finding.trials:
            model, held, step, batch = make_loop(library, strategy, kind)
            moved = apply(trial.code, model, held, step, batch)
            trained = {path_of(variable) for variable in model.trainable_variables}
            right = all((path in moved) == (path in trained) for path in finding.variables)
            found.append({"rule": finding.rule, "verified": trial.verified, "right": right, "note": trial.note})
    return found


def apply(code: str, model: Any, held: dict[str, Any], step: Any, batch: Any) -> set[str]:
    """Paths of what the step moves after the code was run with the names of a user's module."""
    names = {"model": model, "tf": tf, "step": step, **held}
    exec(code, names)
    held["optimizer"] = names["optimizer"]
    before = values(model.variables)
    names["step"](batch)
    pairs = zip(model.variables, before, values(model.variables), strict=True)
    return {path_of(variable) for variable, old, new in pairs if (old != new).any()}


def main() -> None:
    """Run all kinds."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print(json.dumps({kind: run(sys.argv[1], strategy, kind) for kind in KINDS}))


if __name__ == "__main__":
    main()
