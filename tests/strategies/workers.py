"""One of two workers of MultiWorkerMirroredStrategy: `python -m tests.strategies.workers tf_keras FOLDER`.

The workers do the same but for looking: who inspects does it alone, so that whatever waits for the other hangs. Prints
one JSON object: the faults of each situation, and what this worker saw.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.strategies.cluster import bound_life, read_task

bound_life()
TASK = read_task()

import tensorflow as tf  # noqa: E402

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()

import introspect  # noqa: E402
from tests.oracle import TOTALS, Asked, fit_once, hold, randomize  # noqa: E402
from tests.strategies.models import describe, make_arrays, make_model, make_pairs, make_threes  # noqa: E402

STATISTICS = Asked(kinds={"norm/moving_*": "statistics", "out/*": "gradient"})
BOTH = (0, 1)


@dataclass
class Play:
    """What one worker does and sees."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    def situate(
        self,
        name: str,
        model: Any,
        looks: tuple[int, ...],
        look: Callable[[], Any],
        asked: Asked = STATISTICS,
        data: Any = None,
        step: Callable[[Any, Any], Any] = fit_once,
        also: tuple[Any, ...] = (),
    ) -> None:
        """The workers of `looks` inspect; then all make one real step, against which the report is held."""
        mine = TASK.index in looks
        told: list[bool] = []

        def look_alone() -> Any:
            if not mine:
                return None
            before = read_keys()
            report = look()
            told.append(read_keys() == before)
            return report

        outcome = hold(model, look_alone, data, asked, step, list(also))
        if not mine:
            return
        self.faults[name] = outcome.faults + ([] if all(told) else ["a collective took its key"])
        self.seen[name] = None if outcome.report is None else describe(outcome.report)


def read_keys() -> Any:
    """Which collectives this worker has started: a look that starts one on its own upsets all later ones."""
    keys = STRATEGY.extended._collective_keys
    return copy.deepcopy((keys._group_key, keys._known_groups, keys._instance_key_table))


def train_tf_keras(play: Play, folder: str) -> None:
    """`fit` of tf_keras from before its first step to after a recompile."""
    import tf_keras

    with STRATEGY.scope():
        model = make_model(tf_keras)
        randomize(model)
        model.compile(tf_keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    pairs, threes = make_pairs(), make_threes()
    play.situate("before the first fit", model, (0,), lambda: introspect.inspect(model), data=pairs)
    play.situate("compiled", model, (1,), lambda: introspect.inspect(model, data=pairs), data=pairs)
    model.get_layer("hid").trainable = False
    stale = Asked(rules=("INT101",))
    play.situate("frozen", model, BOTH, lambda: introspect.inspect(model, data=pairs), stale, pairs)
    play.situate("retraced", model, (0,), lambda: introspect.inspect(model, data=threes), stale, threes)
    play.situate("fixed on a copy", model, (1,), lambda: introspect.inspect(model, try_fixes=True), stale, threes)
    play.situate("measured", model, (0,), lambda: introspect.inspect(model, data=pairs, measure=True), stale, pairs)
    with STRATEGY.scope():
        model.compile(tf_keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    play.situate("recompiled", model, (0,), lambda: introspect.inspect(model, data=pairs), data=pairs)
    follow(play, model, folder)


def follow(play: Play, model: Any, folder: str) -> None:
    """The callback on every worker: all of them read, the chief alone writes."""
    own, shared = os.path.join(folder, f"logs{TASK.index}"), os.path.join(folder, "logs")
    model.get_layer("out").trainable = False
    callbacks = [introspect.IntrospectCallback(log_dir=path, on_mismatch="log") for path in (own, shared)]
    model.fit(make_pairs(), epochs=2, verbose=0, callbacks=callbacks)
    report = callbacks[0].report
    play.seen["callback"] = None if report is None else describe(report)
    play.seen["own files"] = sorted(name for _, _, names in os.walk(own) for name in names)


def train_keras(play: Play, folder: str) -> None:
    """Keras 3, whose own `fit` fails on several workers, and a loop of one's own, which does not."""
    import keras

    keras.utils.set_random_seed(1)
    with STRATEGY.scope():
        model = make_model(keras)
        model.compile("adam", "mse")
    play.situate(
        "fit", model, (0,), lambda: introspect.inspect(model, data=make_pairs()), Asked(raises=True), make_pairs()
    )
    if TASK.index == 0:
        play.seen["refusal"] = refuse(model)
    loop(play, keras)


def refuse(model: Any) -> str:
    try:
        introspect.inspect(model)
    except introspect.IntrospectError as error:
        return str(error)
    return ""


def loop(play: Play, keras: Any) -> None:
    """A custom loop: `strategy.run` in a tf.function."""
    with STRATEGY.scope():
        model = make_model(keras, normalize=False)
        randomize(model)
        optimizer = keras.optimizers.Adam(0.05)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        def train(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        return STRATEGY.reduce("SUM", STRATEGY.run(train, args=(x, y)), axis=None)

    args = make_arrays()

    def look() -> Any:
        return introspect.inspect(step, args=args, model=model, optimizer=optimizer)

    def look_and_measure() -> Any:
        return introspect.inspect(step, args=args, model=model, optimizer=optimizer, measure=True)

    def look_and_try() -> Any:
        return introspect.inspect(step, args=args, model=model, optimizer=optimizer, try_fixes=True)

    def call(model: Any, data: Any) -> None:
        step(*args)

    kinds = Asked(kinds={"out/*": "gradient"})
    also = (optimizer, step)
    play.situate("loop, before the first step", model, (0,), look, kinds, step=call, also=also)
    play.situate("loop, compiled", model, (1,), look, kinds, step=call, also=also)
    model.get_layer("hid").trainable = False
    play.situate("loop, frozen", model, (0,), look_and_measure, Asked(rules=("INT101",)), step=call, also=also)
    model.get_layer("cold").trainable = True
    both = Asked(rules=("INT101", "INT103"))
    play.situate("loop, fixed on a copy", model, (1,), look_and_try, both, step=call, also=also)


def main(package: str, folder: str) -> None:
    play = Play()
    {"tf_keras": train_tf_keras, "keras": train_keras}[package](play, folder)
    print(json.dumps({"faults": play.faults, "seen": play.seen, "totals": TOTALS}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # the strategy's threads end as they like
