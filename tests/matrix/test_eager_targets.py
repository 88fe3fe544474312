"""Steps that run eagerly and move values through numpy: target networks, updates by hand, values for the loss."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from tests.matrix.models import make_data
from tests.oracle import PLAIN, Asked, ask, ask_loop, randomize

pytestmark = [pytest.mark.tf, pytest.mark.slow]

KERAS = ("keras", "tf_keras")
Follow = Callable[[Any, Any, Any], None]
"""(target, online, batch)"""


def copy_each(target: Any, online: Any, _: Any) -> None:
    for slow, fast in zip(target.weights, online.weights, strict=True):
        slow.assign(fast.numpy())


def copy_late(target: Any, online: Any, _: Any) -> None:
    """Read, trained away from, read again: the newest value counts."""
    first = [fast.numpy() for fast in online.weights]
    online.weights[0].assign(online.weights[0].numpy() * 2.0)
    assert (online.weights[0].numpy() == 2.0 * first[0]).all()
    target.set_weights(online.get_weights())


def mix_lists(target: Any, online: Any, _: Any) -> None:
    pairs = zip(target.get_weights(), online.get_weights(), strict=True)
    target.set_weights([0.9 * slow + 0.1 * fast for slow, fast in pairs])


def mix_objects(target: Any, online: Any, _: Any) -> None:
    kept, new = (np.array([*net.get_weights(), None], dtype=object)[:-1] for net in (target, online))
    target.set_weights(list(0.9 * kept + 0.1 * new))


def mix_in_place(target: Any, online: Any, _: Any) -> None:
    for slow, fast in zip(target.weights, online.weights, strict=True):
        value = np.zeros_like(slow.numpy())
        value[...] = fast.numpy()
        value += slow.numpy()
        slow.assign(np.stack([value, fast.numpy()]).mean(0))


def copy_tensors(target: Any, online: Any, _: Any) -> None:
    for slow, fast in zip(target.weights, online.weights, strict=True):
        slow.assign(tf.constant(fast.numpy()))


def copy_plain(target: Any, online: Any, _: Any) -> None:
    """Arrays of variables and tensors, one by one, in lists, and copied."""
    for slow, fast in zip(target.weights, online.weights, strict=True):
        copied = np.copy(np.ascontiguousarray(tf.convert_to_tensor(fast) + 0.0))
        mean = 0.5 * np.array(fast) + 0.5 * np.asarray([copied])[0]
        slow.assign((np.array([np.asarray(slow), mean], "float32") * 0.5).sum(0))


FOLLOWS: dict[str, Follow] = {
    "set_weights": lambda target, online, _: target.set_weights(online.get_weights()),
    "by layer": lambda target, online, _: target.layers[0].set_weights(online.layers[0].get_weights()),
    "numpy": copy_each,
    "late": copy_late,
    "mixed": mix_lists,
    "mixed as objects": mix_objects,
    "mixed in place": mix_in_place,
    "constants": copy_tensors,
    "plain arrays": copy_plain,
}


def use_ones(target: Any, online: Any, batch: Any) -> None:
    for slow in target.weights:
        slow.assign(np.ones(slow.shape, "float32"))


def use_batch(target: Any, online: Any, batch: Any) -> None:
    for slow in target.weights:
        slow.assign(np.zeros(slow.shape, "float32") + batch.numpy()[:1, :1].mean(0))


def use_batch_in_place(target: Any, online: Any, batch: Any) -> None:
    for slow, fast in zip(target.weights, online.weights, strict=True):
        value = fast.numpy()
        np.add(value, batch.numpy()[:1, :1].mean(0), out=value)
        slow.assign(value)


def use_plain_batch(target: Any, online: Any, batch: Any) -> None:
    for slow in target.weights:
        slow.assign(np.zeros(np.array(slow).shape, "float32") + np.asarray(batch)[:1, :1].mean(0))


FAULTS: dict[str, Follow] = {
    "ones": use_ones,
    "batch": use_batch,
    "batch in place": use_batch_in_place,
    "plain batch": use_plain_batch,
}


def make_net(keras: Any, name: str) -> Any:
    layers = [keras.layers.Dense(4, activation="tanh", name=f"{name}_a"), keras.layers.Dense(1, name=f"{name}_b")]
    return keras.Sequential([keras.Input((3,)), *layers], name=name)


def build(package: str, follow: Follow) -> tuple[Any, Any]:
    """A net that trains, with a frozen target that `follow` writes after each step."""
    keras = importlib.import_module(package)

    class Agent(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="agent")
            self.online, self.target = make_net(keras, "online"), make_net(keras, "target")
            self.target.trainable = False

        def call(self, x: Any) -> Any:
            return self.online(x) + 0.0 * self.target(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.online(x) - y - 0.9 * self.target(x)) ** 2)
            weights = self.online.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            follow(self.target, self.online, x)
            return {"loss": loss}

    model = Agent()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=True)
    return model, make_data()


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("way", FOLLOWS)
def test_a_target_that_follows_through_numpy(package: str, way: str) -> None:
    """It says what it says of the same target in a compiled step: an average, meant, and no alarm."""
    model, data = build(package, FOLLOWS[way])
    kinds = {"*target_a/*": "average", "*online*": "gradient"}
    for _ in range(2):
        asked = Asked(averaged=("*target*",), rules=("INT301", "INT507"), kinds=kinds)
        assert ask(model, data, asked).faults == []


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("way", FAULTS)
def test_a_frozen_net_that_is_given_other_values(package: str, way: str) -> None:
    """Of no net's weights, or of the batch too: an error, as for a frozen layer's statistics."""
    model, data = build(package, FAULTS[way])
    kind = "state" if way == "ones" else "statistics"
    assert ask(model, data, Asked(rules=("INT102",), kinds={"*target*": kind})).faults == []


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("stale", [False, True])
def test_a_plain_loop(package: str, stale: bool) -> None:
    """The same step, called without `fit`; its twin gives the target what the batch holds."""
    keras = importlib.import_module(package)
    follow = FAULTS["batch"] if stale else FOLLOWS["set_weights"]
    model, data = build(package, follow)
    model.compile()
    optimizer = keras.optimizers.Adam(0.05)
    optimizer.build(model.online.trainable_variables)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.online(x) - y - 0.9 * model.target(x)) ** 2)
        weights = model.online.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        follow(model.target, model.online, x)
        return loss

    asked = Asked(rules=("INT102",)) if stale else Asked(averaged=("*target*",), rules=("INT301",))
    assert ask_loop(step, next(iter(data)), model, optimizer, asked).faults == []


@pytest.mark.parametrize("package", KERAS)
def test_a_target_that_a_callback_copies(package: str) -> None:
    """It is no part of the step: nothing is wrong, and what its values show is told as coming from elsewhere."""
    keras = importlib.import_module(package)
    model, data = build(package, lambda target, online, batch: None)

    class Sync(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            model.target.set_weights(model.online.get_weights())

    seen = introspect.IntrospectCallback(on_mismatch="raise", proof=1)
    model.fit(data, epochs=2, verbose=0, callbacks=[Sync(), seen])
    assert seen.report is not None
    assert seen.report.ok
    rows = {row.path: row for row in seen.report.variables}
    assert all(row.updated == ("no" if "target" in path else "yes") for path, row in rows.items())


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("healthy", [True, False])
def test_gradients_that_go_through_numpy(package: str, healthy: bool) -> None:
    """A descent by hand trains; without the gradient in what is assigned, nothing does."""
    model, data = build(package, FOLLOWS["set_weights"])

    def train_step(data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.online(x) - y) ** 2)
        weights = model.online.trainable_variables
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign(weight.numpy() - 0.1 * (gradient.numpy() if healthy else 1.0))
        return {"loss": loss}

    model.train_step = train_step
    model.target.trainable = False
    asked = Asked(arrived={"*online*": "dense"}) if healthy else Asked(rules=("INT104",), kinds={"*online*": "decay"})
    assert ask(model, data, asked).faults == []


def test_a_loss_of_what_went_through_numpy_says_so() -> None:
    """The cut is named with its line; the twin keeps the tensor."""
    model, data = build("keras", FOLLOWS["set_weights"])
    through = [np.array]

    def train_step(data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            hidden = through[0](model.online.layers[0](x))
            loss = tf.reduce_mean((model.online.layers[1](hidden) - y) ** 2)
        weights = model.online.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return {"loss": loss}

    model.train_step = train_step
    for cut in (lambda h: h.numpy(), lambda h: tf.constant(h.numpy()), lambda h: np.array(h)):
        through[0] = cut
        report = introspect.inspect(model, data=data)
        (finding,) = (found for found in report.findings if found.rule == "INT104")
        assert "numpy (test_eager_targets.py:" in finding.cause
        assert "without .numpy()" in finding.fix
        assert ask(model, data, Asked(rules=("INT104",))).faults == []
    through[0] = np.tanh
    (finding,) = (found for found in introspect.inspect(model, data=data).findings if found.rule == "INT104")
    assert "Python takes values of tensors at test_eager_targets.py:" in finding.cause
    through[0] = tf.identity
    assert ask(model, data, PLAIN).faults == []


def test_many_weights_are_had_in_few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of a variable that the step has not written costs no run, and one run tells of all that it has."""
    from introspect.capture.trace import partial

    runs: list[int] = []
    call = partial.call_by_name
    monkeypatch.setattr(partial, "call_by_name", lambda *args: runs.append(1) or call(*args))
    model, data = build("keras", FOLLOWS["mixed"])
    before = [value.tobytes() for value in model.get_weights()]
    introspect.inspect(model, data=data)
    assert len(runs) == 1
    assert [value.tobytes() for value in model.get_weights()] == before
