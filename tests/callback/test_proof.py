"""Looks at the values while training goes on: what really changed, to the bit, and what contradicts the graph."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.errors import IntrospectError, IntrospectWarning
from tests.fixes.steps import make_data, make_model, path_of, same, values

pytestmark = pytest.mark.tf
LIBRARIES = ["keras", "tf_keras"]
ROOT = Path(__file__).parents[2]


def act(library: str, **hooks: Callable[..., None]) -> Any:
    """A callback of these hooks, each given the model first."""
    keras = importlib.import_module(library)
    made = {name: lambda self, *given, hook=hook: hook(self.model, *given) for name, hook in hooks.items()}
    return type("Act", (keras.callbacks.Callback,), made)()


def make_frozen(library: str = "keras", optimizer: Any = "adam") -> Any:
    model = make_model(library, norm=True)
    model.get_layer("d1").trainable = False
    model.compile(optimizer, "mse")
    return model


def fit(model: Any, callbacks: list[Any], epochs: int = 4, **options: Any) -> None:
    x, y = make_data()
    options = {"batch_size": 4, "shuffle": False} | options
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=callbacks, **options)


def take_values(model: Any) -> dict[str, bytes]:
    found = values(model.variables)
    return {path_of(variable): value.tobytes() for variable, value in zip(model.variables, found, strict=True)}


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_changed_is_what_the_bits_say(library: str) -> None:
    """At each epoch, against a copy of all weights; a layer that a callback writes included."""
    model = make_frozen(library)
    callback = introspect.IntrospectCallback(proof="epoch", on_mismatch="log")
    seen: list[tuple[set[str], set[str], set[str]]] = []
    before = {}

    def touch(model: Any, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            kernel = model.get_layer("d1").kernel
            kernel.assign(np.nextafter(values([kernel])[0], np.float32(9)))

    def compare(model: Any, epoch: int, logs: Any = None) -> None:
        nonlocal before
        after = take_values(model)
        proof = callback.proof
        if before and proof is not None:
            really = {path for path in after if after[path] != before[path]}
            told = {row.path for row in proof.variables if row.age == 0}
            seen.append((really, told, set(proof.moved)))
        before = after

    fit(model, [callback, act(library, on_epoch_begin=touch, on_epoch_end=compare)], epochs=5)
    kernel = path_of(model.get_layer("d1").kernel)
    assert len(seen) == 4
    assert all(really == told for really, told, _ in seen)
    assert [moved for _, _, moved in seen] == [set(), {kernel}, set(), set()]
    assert callback.proof.since + 2 == callback.proof.step


@pytest.mark.parametrize("library", LIBRARIES)
def test_slots_and_ages(library: str) -> None:
    model = make_frozen(library)
    callback = introspect.IntrospectCallback(proof=1)
    fit(model, [callback], epochs=3)
    proof = callback.proof
    assert (proof.since, proof.step, proof.steps) == (5, 6, 1)
    frozen = {path_of(variable) for variable in model.get_layer("d1").variables}
    assert set(proof.unchanged) == frozen
    assert {row.age for row in proof.variables if row.path in frozen} == {5}
    assert len(proof.slots) == 2 * len(model.trainable_variables)
    assert {row.age for row in proof.slots} == {0}
    assert proof.moved == proof.still == ()


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_write_from_outside_is_told_once_with_its_steps(library: str) -> None:
    model = make_frozen(library)
    callback = introspect.IntrospectCallback(proof="epoch")

    def touch(model: Any, epoch: int, logs: Any = None) -> None:
        if epoch:
            kernel = model.get_layer("d1").kernel
            kernel.assign(values([kernel])[0] + 1)

    with pytest.warns(IntrospectWarning) as caught:
        fit(model, [callback, act(library, on_epoch_begin=touch)])
    ours = [str(w.message) for w in caught if w.category is IntrospectWarning]
    assert len(ours) == 1
    assert path_of(model.get_layer("d1").kernel) in ours[0]
    assert "epoch 2" in ours[0]
    assert "between steps 2 and 4" in ours[0]
    assert [w.filename for w in caught if w.category is IntrospectWarning] == [__file__]


def test_on_mismatch_raise_only_warns_of_it() -> None:
    model = make_frozen()
    callback = introspect.IntrospectCallback(proof="epoch", on_mismatch="raise")

    def touch(model: Any, epoch: int, logs: Any = None) -> None:
        model.get_layer("d1").bias.assign_add([float(epoch)] * 3)

    with pytest.warns(IntrospectWarning, match="d1/bias"):
        fit(model, [callback, act("keras", on_epoch_begin=touch)])


HEALTHY: dict[str, Callable[[Any], dict[str, Any]]] = {
    "averages": lambda keras: {"optimizer": keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=3)},
    "decay": lambda keras: {"optimizer": keras.optimizers.AdamW(weight_decay=0.1)},
    "sgd": lambda keras: {"optimizer": keras.optimizers.SGD(0.01)},
    "momentum": lambda keras: {"optimizer": keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True)},
    "adafactor": lambda keras: {"optimizer": keras.optimizers.Adafactor()},
    "accumulation": lambda keras: {"optimizer": keras.optimizers.Adam(gradient_accumulation_steps=3)},
    "eager": lambda keras: {"optimizer": "adam", "run_eagerly": True},
    "several steps at once": lambda keras: {"optimizer": "adam", "steps_per_execution": 2},
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_contradicts_nothing(name: str) -> None:
    import keras

    model = make_model(norm=True)
    model.get_layer("d1").trainable = False
    model.compile(loss="mse", metrics=["mae"], **HEALTHY[name](keras))
    callback = introspect.IntrospectCallback(proof="epoch")
    proofs = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback, act("keras", on_epoch_end=lambda *_: proofs.append(callback.proof))], epochs=5)
    looks = [proof for proof in proofs if proof is not None]
    assert len(looks) >= 4
    assert [proof.moved + proof.still for proof in looks] == [()] * len(looks)
    assert {row.path for row in looks[-1].variables if row.age > 0} == {"d1/kernel", "d1/bias"}


def test_written_and_not_changed_is_shown_and_not_told() -> None:
    import keras

    model = make_frozen(optimizer=keras.optimizers.SGD(0.01))
    callback = introspect.IntrospectCallback(proof="epoch")

    def stop(model: Any, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            model.optimizer.learning_rate = 0.0

    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback, act("keras", on_epoch_begin=stop)])
    assert set(callback.proof.still) == {variable.path for variable in model.trainable_variables}
    assert {row.age for row in callback.proof.variables if row.judgement == "still"} == {4}


def test_a_recompile_ends_the_window() -> None:
    """What trained before it and does not after it contradicts neither report; slots of a new optimizer are new."""
    model = make_frozen()
    callback = introspect.IntrospectCallback(proof="epoch")

    def freeze(model: Any, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            model.get_layer("d2").trainable = False
            introspect.recompile(model, keep_optimizer_state=False)

    proofs = []

    def note(model: Any, epoch: int, logs: Any = None) -> None:
        proofs.append(callback.proof)

    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback, act("keras", on_epoch_begin=freeze, on_epoch_end=note)], epochs=4)
    assert [proof.moved + proof.still for proof in proofs] == [()] * 4
    assert [row.age for row in proofs[-1].variables if row.path == "d2/kernel"] != [0]
    assert [row.age for row in proofs[1].variables if row.path == "d2/kernel"] == [0]


def test_no_report_in_the_log_has_a_look_of_another_step(tmp_path: Path) -> None:
    """An unfreezing without a recompile, then with one in the middle of a window: each look is of its report's step."""
    from tests.tb.serving import LogClient

    model = make_frozen()
    callback = introspect.IntrospectCallback(str(tmp_path), proof=2, every=2, on_mismatch="log")

    def unfreeze(model: Any, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            model.get_layer("d1").trainable = True
        if epoch == 4:
            introspect.recompile(model)

    fit(model, [callback, act("keras", on_epoch_begin=unfreeze)], epochs=7, batch_size=3)
    client = LogClient(str(tmp_path))
    marks = client.read("timeline", run="introspect")["marks"]
    assert {"first trace", "flag changed", "recompiled", "train end"} <= {mark["reason"] for mark in marks}
    told = set()
    for mark, report in zip(marks, callback.reports, strict=True):
        ages = client.read("proof", run="introspect", at=mark["at"])["age"]
        if ages:
            changed = {row.path for row, age in zip(report.variables, ages, strict=True) if age == 0}
            assert changed == {row.path for row in report.variables if row.updated == "yes" or "moving" in row.path}
            told.add(mark["reason"])
    assert told >= {"first trace", "flag changed", "train end"}


def test_what_happens_between_two_fits_is_not_told() -> None:
    model = make_frozen()
    callback = introspect.IntrospectCallback(proof="epoch")
    fit(model, [callback])
    model.set_weights([value + 1 for value in model.get_weights()])
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback])
    assert {row.path for row in callback.proof.variables if row.age > 0} == {"d1/kernel", "d1/bias"}


def test_a_loop_of_ones_own_shows_and_does_not_tell() -> None:
    """Two models that share layers, each trained by its own step: what the other one writes is no fault."""
    import keras

    critic = make_model()
    critic.compile("sgd", "mse")
    inputs = keras.Input((4,))
    critic.trainable = False
    joint = keras.Model(inputs, critic(keras.layers.Dense(4, name="maker")(inputs)))
    joint.compile("sgd", "mse")
    critic.trainable = True
    x, y = make_data()
    callback = introspect.IntrospectCallback(proof=2, on_mismatch="warn")
    critic.train_on_batch(x, y)
    critic.trainable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        for _ in range(6):
            joint.train_on_batch(x, y)
            callback.inspect(joint)
            critic.train_on_batch(x, y)
    proof = callback.proof
    assert set(proof.moved) == {variable.path for variable in critic.variables}
    assert {row.path for row in proof.variables if row.age == 0} >= {"maker/kernel", "maker/bias"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_are_identical_to_the_bit(library: str) -> None:
    def run(callbacks: list[Any]) -> list[Any]:
        keras = importlib.import_module(library)
        model = make_model(library, norm=True)
        keras.utils.set_random_seed(3)
        model.compile("adam", "mse")
        fit(model, callbacks, shuffle=True)
        optimizer = model.optimizer.variables
        return values(model.variables) + values(optimizer() if callable(optimizer) else optimizer)

    assert same(run([introspect.IntrospectCallback(proof=1)]), run([]))


def test_it_holds_no_variable_and_no_model() -> None:
    import gc
    import weakref

    model = make_frozen()
    callback = introspect.IntrospectCallback(proof="epoch")
    fit(model, [callback])
    kernel = weakref.ref(model.get_layer("d1").kernel)
    del model
    callback.set_model(None)
    gc.collect()
    assert kernel() is None
    assert callback.proof.variables


def test_it_pickles(tmp_path: Path) -> None:
    callback = introspect.IntrospectCallback(str(tmp_path), proof=2)
    fit(make_frozen(), [callback])
    again = pickle.loads(pickle.dumps(callback))
    assert again.proof == callback.proof
    fit(make_frozen(), [again])
    assert again.proof.step == callback.proof.step


@pytest.mark.parametrize("proof", [0, -1, "batch", 1.5])
def test_an_interval_that_is_none(proof: Any) -> None:
    with pytest.raises(IntrospectError, match=f"proof={proof!r} is no interval"):
        introspect.IntrospectCallback(proof=proof)


def test_a_step_of_ones_own_with_its_own_optimizer() -> None:
    import keras
    import tensorflow as tf

    model, optimizer = make_frozen(), keras.optimizers.Adam()
    x, y = make_data()

    @tf.function
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))

    callback = introspect.IntrospectCallback(proof=2)
    for _ in range(5):
        step(x, y)
        callback.inspect(model, step, args=(x, y), optimizer=optimizer)
    proof = callback.proof
    assert (proof.since, proof.step) == (3, 5)
    assert len(proof.slots) == 12
    assert {row.age for row in proof.slots} == {0}
    assert {row.path for row in proof.variables if row.age > 0} == {"d1/kernel", "d1/bias"}


@pytest.mark.parametrize("library", LIBRARIES)
def test_each_replica_is_looked_at(library: str) -> None:
    """Two replicas: what changed in any copy is told, also where one copy alone was written."""
    command = [sys.executable, "-m", "tests.callback.replicated", library]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert len(answer["seen"]) == 4
    assert all(one["really"] == one["told"] for one in answer["seen"])
    assert [one["moved"] for one in answer["seen"]] == [[], [answer["kernel"]], [answer["bias"]], []]
    assert set(answer["slots"]) == {0}
