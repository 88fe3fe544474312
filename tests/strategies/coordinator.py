"""One process of a ParameterServerStrategy's cluster: `python -m tests.strategies.coordinator tf_keras FOLDER`.

The chief trains and inspects, the others serve. Prints one JSON object: the faults of each situation, and what was seen.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.strategies.cluster import bound_life, read_task

bound_life()

import tensorflow as tf  # noqa: E402

RESOLVER = tf.distribute.cluster_resolver.TFConfigClusterResolver()
if read_task().role != "chief":
    tf.distribute.Server(
        RESOLVER.cluster_spec(), job_name=RESOLVER.task_type, task_index=RESOLVER.task_id, protocol="grpc"
    ).join()

import introspect  # noqa: E402
from tests.oracle import TOTALS, Asked, hold, randomize  # noqa: E402
from tests.strategies.models import describe, make_model, make_pairs, make_threes  # noqa: E402

STATISTICS = Asked(kinds={"norm/moving_*": "statistics", "out/*": "gradient"})
STALE = Asked(rules=("INT101",))


@dataclass
class Play:
    """What the chief sees."""

    strategy: Any
    faults: dict[str, list[str]] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    def situate(
        self,
        name: str,
        model: Any,
        look: Callable[[], Any],
        step: Callable[[Any, Any], Any],
        data: Any = None,
        asked: Asked = STATISTICS,
        also: tuple[Any, ...] = (),
    ) -> None:
        """Inspect, then make one real step, against which the report is held."""

        def look_and_count() -> Any:
            before = self.strategy.extended._variable_count
            try:
                return look()
            finally:
                turns.append(self.strategy.extended._variable_count - before)

        turns: list[int] = []
        outcome = hold(model, look_and_count, data, asked, step, list(also))
        moved = [f"it is another server's turn by {turn}" for turn in turns if turn]
        self.faults[name] = outcome.faults + moved
        self.seen[name] = None if outcome.report is None else describe(outcome.report)


def fit(model: Any, data: Any) -> None:
    """Two steps: a coordinator asks for their number."""
    model.fit(data.repeat(), steps_per_epoch=2, epochs=1, verbose=0)


def train_tf_keras(play: Play, folder: str) -> None:
    """`fit` of tf_keras from before its first step to after a recompile."""
    import tf_keras

    with play.strategy.scope():
        model = make_model(tf_keras)
        randomize(model)
        model.compile(tf_keras.optimizers.Adam(0.05), "mse", metrics=["mae"])
    pairs, threes = make_pairs(), make_threes()

    def look(data: Any = None, **wanted: Any) -> Callable[[], Any]:
        return lambda: introspect.inspect(model, data=data, **wanted)

    play.situate("before the first fit", model, look(), fit, pairs)
    play.situate("compiled", model, look(pairs), fit, pairs)
    model.get_layer("hid").trainable = False
    play.situate("frozen", model, look(pairs), fit, pairs, STALE)
    play.situate("retraced", model, look(threes), fit, threes, STALE)
    play.situate("the first trace again", model, look(pairs, measure=True), fit, pairs, STALE)
    play.situate("fixed on a copy", model, look(threes, try_fixes=True), fit, threes, STALE)
    with play.strategy.scope():
        model.compile(tf_keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    play.situate("recompiled", model, look(pairs), fit, pairs)
    model.get_layer("out").trainable = False
    callback = introspect.IntrospectCallback(log_dir=folder + "/logs", on_mismatch="log")
    model.fit(pairs.repeat(), steps_per_epoch=2, epochs=2, verbose=0, callbacks=[callback])
    play.seen["callback"] = None if callback.report is None else describe(callback.report)
    play.seen["files"] = sorted(name for _, _, names in os.walk(folder + "/logs") for name in names)


def train_keras(play: Play, folder: str) -> None:
    """Keras 3, whose own `fit` fails under a coordinator, and a loop of one's own, which does not."""
    import keras

    keras.utils.set_random_seed(1)
    with play.strategy.scope():
        model = make_model(keras)
        model.compile("adam", "mse")
    pairs = make_pairs()
    play.situate("fit", model, lambda: introspect.inspect(model, data=pairs), fit, pairs, Asked(raises=True))
    try:
        introspect.inspect(model)
    except introspect.IntrospectError as error:
        play.seen["refusal"] = str(error)
    loop(play, keras)


def loop(play: Play, keras: Any) -> None:
    """A custom loop: a tf.function that the coordinator schedules on a worker."""
    strategy = play.strategy
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        model = make_model(keras, normalize=False)
        randomize(model)
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step(iterator: Any) -> Any:
        def train(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        return strategy.reduce("SUM", strategy.run(train, args=next(iterator)), axis=None)

    batches = iter(coordinator.create_per_worker_dataset(lambda: make_pairs().repeat()))

    def call(model: Any, data: Any) -> None:
        coordinator.schedule(step, args=(batches,))
        coordinator.join()

    def look() -> Any:
        return introspect.inspect(step, args=(batches,), model=model, optimizer=optimizer)

    kinds = Asked(kinds={"out/*": "gradient"})
    also = (optimizer, step)
    play.situate("loop, before the first step", model, look, call, asked=kinds, also=also)
    play.situate("loop, compiled", model, look, call, asked=kinds, also=also)
    model.get_layer("hid").trainable = False
    play.situate("loop, frozen", model, look, call, asked=STALE, also=also)

    def look_and_try() -> Any:
        return introspect.inspect(step, args=(batches,), model=model, optimizer=optimizer, try_fixes=True)

    model.get_layer("cold").trainable = True
    both = Asked(rules=("INT101", "INT103"))
    play.situate("loop, fixed on a copy", model, look_and_try, call, asked=both, also=also)


def train_shards(play: Play, folder: str) -> None:
    """Variables in two parts, each on a server of its own."""
    import tf_keras

    pairs = make_pairs()
    for name, optimizers in (("new", tf_keras.optimizers), ("legacy", tf_keras.optimizers.legacy)):
        with play.strategy.scope():
            model = make_model(tf_keras, normalize=False)
            model.compile(optimizers.Adam(0.05), "mse")

        def look(model: Any = model) -> Any:
            return introspect.inspect(model, data=pairs)

        play.situate(f"{name}, before the first fit", model, look, fit, pairs, Asked())
        play.situate(f"{name}, compiled", model, look, fit, pairs, Asked())
        model.get_layer("hid").trainable = False
        play.situate(f"{name}, frozen", model, look, fit, pairs, STALE)


PLAYS = {"tf_keras": train_tf_keras, "keras": train_keras, "shards": train_shards}


def main(name: str, folder: str) -> None:
    shards = tf.distribute.experimental.partitioners.FixedShardsPartitioner(2) if name == "shards" else None
    play = Play(tf.distribute.ParameterServerStrategy(RESOLVER, variable_partitioner=shards))
    PLAYS[name](play, folder)
    print(json.dumps({"faults": play.faults, "seen": play.seen, "totals": TOTALS}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # the coordinator's threads wait for servers that are about to be killed
