"""Causes as the code of people's own makes them: what a step itself does to flags, tapes, averages and old functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.oracle import Asked
from tests.rules.reported import OLD, Case, apply, aside, batches, compare, own, require_silent, require_told, x, y

pytestmark = pytest.mark.tf

layers = keras.layers
HERE = "test_reported_causes.py:"


class Freezing(keras.Model):
    """Sets the flag of a layer at each call, or leaves it as it was set before."""

    def __init__(self, sets: bool | None) -> None:
        super().__init__(name="freezing")
        self.hid = layers.Dense(3, activation="tanh", name="hid")
        self.out = layers.Dense(1, name="out")
        self.sets = sets

    def build(self, shape: Any) -> None:
        self.hid.build(shape)
        self.out.build((None, 3))

    def call(self, inputs: Any) -> Any:
        if self.sets is not None:
            self.hid.trainable = self.sets
        return self.out(self.hid(inputs))


def freezing(sets: bool | None, trainable: bool = False, fitted: bool = False) -> Any:
    model = Freezing(sets)
    model.build((None, 4))
    model.hid.trainable = trainable
    model.compile("sgd", "mse")
    if fitted:
        model.fit(batches(), verbose=0)
        model.hid.trainable = trainable
    return model


def watch(whole: bool) -> Callable[..., Any]:
    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=whole) as tape:
            tape.watch([variable.value for variable in model.critic.trainable_variables])
            loss = compare(model, inputs, target)
        gradients = zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
        model.optimizer.apply_gradients([pair for pair in gradients if pair[0] is not None])
        return loss

    return step


class Followed(keras.Model):
    """A net and its average, which follows the net, or the net follows it."""

    def __init__(self, right: bool) -> None:
        super().__init__(name="followed")
        self.net = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(1)], name="net")
        self.ema = keras.models.clone_model(self.net)
        self.ema.name = "ema"
        self.right = right

    def train_step(self, data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.net(data[0]) - data[1]) ** 2)
        apply(self, tape, loss, self.net.trainable_variables)
        for one, other in zip(self.net.weights, self.ema.weights, strict=True):
            follower, leader = (other, one) if self.right else (one, other)
            follower.assign(0.9 * follower + 0.1 * leader)
        return {"loss": loss}


def followed(right: bool) -> Any:
    model = Followed(right)
    model.compile("sgd")
    return model


class Times(layers.Layer):
    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


def scaled(operand: bool) -> Any:
    scale = keras.Variable([1.0, 2.0, 3.0, 4.0], name="scale")
    inputs = keras.Input((4,))
    hidden = keras.ops.multiply(inputs, scale) if operand else Times(name="times")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="out")(hidden), name="m")
    model.compile("sgd", "mse")
    model.__dict__["aside"] = lambda: [scale] if operand else []
    return model


class Taken(layers.Layer):
    """Uses its weight, or the value that it had when the layer was built."""

    def __init__(self, once: bool, name: str) -> None:
        super().__init__(name=name)
        self.once = once

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(4,), name="scale", initializer="ones")
        self.kept = tf.nn.sigmoid(self.scale)

    def call(self, inputs: Any) -> Any:
        return inputs * (self.kept if self.once else tf.nn.sigmoid(self.scale))


def taken(once: bool) -> Any:
    # the scope of the first layer's call is the second layer's name
    first, second = Taken(once, name="taken"), Taken(False, name="taken_1")
    model = keras.Sequential([keras.Input((4,)), first, second, layers.Dense(1, name="out")], name="m")
    model.compile("sgd", "mse")
    return model


class Scaled(layers.Layer):
    """Names its weight as a layer of tf_keras would, or as one of Keras 3 does."""

    def __init__(self, old: bool) -> None:
        super().__init__(name="scaled")
        self.old = old

    def build(self, shape: Any) -> None:
        if self.old:
            self.scale = tf.Variable(tf.ones(4), name="scale")
            self._trainable_weights = [self.scale]
        else:
            self.scale = self.add_weight(shape=(4,), name="scale", initializer="ones")

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


def named(old: bool) -> Any:
    layer = Scaled(old)
    model = keras.Sequential([keras.Input((4,)), layer, layers.Dense(1, name="out")], name="m")
    model.compile("sgd", "mse")
    model.__dict__["aside"] = lambda: [layer.scale] if old else []
    return model


class Chain(layers.Layer):
    """Chooses the likeliest state several times, or weighs all of them."""

    def __init__(self, hard: bool) -> None:
        super().__init__(name="chain")
        self.hard = hard

    def build(self, shape: Any) -> None:
        self.start = self.add_weight(shape=(3,), name="start", initializer="random_normal")
        self.moves = self.add_weight(shape=(3, 3), name="moves", initializer="random_normal")

    def call(self, inputs: Any) -> Any:
        state = inputs[:, :3] + self.start
        for _ in range(3):
            chosen = tf.one_hot(tf.argmax(state, 1), 3) if self.hard else tf.nn.softmax(state)
            state = chosen @ tf.convert_to_tensor(self.moves)
        return tf.reduce_sum(state, 1, keepdims=True)


def chained(hard: bool) -> Any:
    model = keras.Sequential([keras.Input((4,)), Chain(hard)], name="m")
    model.compile("sgd", "mse")
    return model


def frozen_late(cached: bool) -> Any:
    """The gradients come from a tf.function of the user's, which keeps its trace, or from a plain one."""

    def differentiate(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = compare(model, inputs, target)
        return loss, tape.gradient(loss, model.trainable_variables)

    kept: dict[str, Any] = {}

    def step(model: Any, inputs: Any, target: Any) -> Any:
        make = kept.setdefault("made", tf.function(lambda a, b: differentiate(model, a, b)))
        loss, gradients = make(inputs, target) if cached else differentiate(model, inputs, target)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    model = own(step, fitted=True)
    model.actor.trainable = False
    if not cached:
        model.compile("sgd")
    return model


def look_ahead(forgets: bool) -> Callable[..., Any]:
    """Slow weights made in the first call of a tf.function, of values known then alone; the step trains all, or the actor."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        trained = model.actor.trainable_variables if forgets else model.trainable_variables
        if "slow" not in model.__dict__:
            model.__dict__["slow"] = [tf.Variable(v.value, trainable=False, name="slow") for v in trained]
        with tf.GradientTape() as tape:
            loss = compare(model, inputs, target)
        apply(model, tape, loss, trained)
        for variable, slow in zip(trained, model.__dict__["slow"], strict=True):
            slow.assign(slow + 0.5 * (variable - slow))
            variable.assign(slow)
        return loss

    return step


def eager(step: Callable[..., Any]) -> Any:
    model = own(step)
    model.compile("sgd", run_eagerly=True)
    return model


class Distance(keras.metrics.Metric):
    """Compares features of a net of its own, as the kernel inception distance does."""

    def __init__(self) -> None:
        super().__init__(name="distance")
        self.mean = keras.metrics.Mean()
        self.features = keras.Sequential([keras.Input((1,)), layers.Dense(3)], name="features")

    def update_state(self, one: Any, other: Any, sample_weight: Any = None) -> None:
        self.mean.update_state(tf.reduce_mean((self.features(one) - self.features(other)) ** 2))

    def result(self) -> Any:
        return self.mean.result()

    def reset_state(self) -> None:
        self.mean.reset_state()


def measured(in_loss: bool = False, inside: bool = False, summed: bool = False, whole: bool = False) -> Any:
    """The metric's net is used after the gradients, inside of the tape, or is a part of the loss, also of a plain sum."""
    distance = Distance()
    run = tf.function(distance.features) if whole else distance.features

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            output = tf.tanh(model.actor(inputs)[:, :1]) * model.critic(inputs)
            loss = tf.reduce_mean((output - target) ** 2)
            if in_loss:
                loss += tf.reduce_mean((distance.features(output) - distance.features(target)) ** 2)
            if summed:
                loss += tf.reduce_mean(distance.features(target))
            if inside:
                distance.update_state(target, output)
                distance.mean.update_state(tf.reduce_mean(run(tf.tanh(output))))
        apply(model, tape, loss)
        distance.update_state(target, output)
        return loss

    model = own(step)
    model.__dict__["aside"] = lambda: distance.features.trainable_variables
    return model


class Quantized(layers.Layer):
    """Its weight has a gradient of the user's own."""

    def __init__(self, back: Callable[[Any, Any], Any]) -> None:
        super().__init__(name="quantized")
        self.back = back

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, inputs: Any) -> Any:
        @tf.custom_gradient
        def halve(value: Any) -> Any:
            return value * 0.5, lambda upstream: self.back(value, upstream)

        return inputs @ halve(tf.convert_to_tensor(self.kernel))


def quantized(back: Callable[[Any, Any], Any], fitted: bool = False) -> Any:
    model = keras.Sequential([keras.Input((4,)), Quantized(back), layers.Dense(1, name="out")], name="m")
    model.compile("sgd", "mse")
    if fitted:
        model.fit(batches(), verbose=0)
    return model


def plain_loop() -> Any:
    """A loop of the user's own whose first call makes a variable of a value that is known then alone."""
    net = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="tanh"), layers.Dense(1)], name="net")
    optimizer = keras.optimizers.SGD(0.1)
    kept: dict[str, Any] = {}

    @tf.function
    def step(inputs: Any, target: Any) -> Any:
        if "sum" not in kept:
            kept["sum"] = tf.Variable(net.layers[0].kernel.value * 0.0, trainable=False)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((net(inputs) - target) ** 2)
        gradients = tape.gradient(loss, net.trainable_variables)
        kept["sum"].assign_add(gradients[0])
        optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))
        return loss

    return step, net, optimizer, kept


FAULTS: dict[str, Case] = {
    "flag set in call": Case(
        lambda: freezing(False, trainable=True),
        "INT104",
        (f"The step itself sets hid.trainable at {HERE}", "leave them alone in call()"),
        ("takes no gradient", "tape.gradient"),
    ),
    "flag set back in call": Case(
        lambda: freezing(True), "INT101", (f"The step itself sets hid.trainable at {HERE}",), OLD
    ),
    "flag set in call, and again after fit": Case(
        lambda: freezing(False, trainable=True, fitted=True),
        "INT103",
        (f"The step itself sets hid.trainable at {HERE}", "leave them alone in call()"),
        ("recompile", *OLD),
    ),
    "flag set back in call, and again after fit": Case(
        lambda: freezing(True, fitted=True), "INT101", (f"The step itself sets hid.trainable at {HERE}",), OLD
    ),
    "step with variables of its own that leaves some out": Case(
        lambda: own(look_ahead(True)), "INT104", ("2 trainable variables of layer critic",)
    ),
    "net of a metric in the loss": Case(
        lambda: measured(in_loss=True),
        "INT105",
        ("2 variables that were made to be trained",),
        asked=Asked(extra=aside),
    ),
    "net of a metric in a sum that is added to the loss": Case(
        lambda: measured(inside=True, summed=True),
        "INT105",
        ("2 variables that were made to be trained",),
        asked=Asked(extra=aside),
    ),
    "custom gradient of nothing": Case(
        lambda: quantized(lambda value, upstream: None),
        "INT104",
        ("has a gradient of your own (tf.custom_gradient) that hands none back.",),
        ("zeros",),
    ),
    "tape that does not watch": Case(lambda: own(watch(False)), "INT104", ("watch_accessed_variables=False",)),
    "average the wrong way": Case(
        lambda: followed(False),
        "INT104",
        ("runs nothing of layer ema and reads them only to write other variables: ", "assign to it and not from it"),
        ("nothing uses the result", "give this output a loss"),
    ),
    "operand of an operation": Case(
        lambda: scaled(True),
        "INT105",
        ("scale is an operand of operations between the layers", "self.scale = self.add_weight("),
        ("the loss",),
        asked=Asked(extra=aside),
    ),
    "weight of which build took the value": Case(
        lambda: taken(True), "INT104", ("runs layer taken, and does not read it",), ("is not called",)
    ),
    "weight in a list of the other Keras": Case(
        lambda: named(True),
        "INT105",
        ("is no weight of a layer", "self.w = self.add_weight("),
        ("tf_keras",),
        asked=Asked(extra=aside),
    ),
    "argmax in an unrolled loop": Case(lambda: chained(True), "INT104", (f"by ArgMax ({HERE}",), ("; then by ArgMax",)),
    "old function that a new step cannot use": Case(
        lambda: frozen_late(True),
        "INT101",
        (
            "Compiled again as it is, it does not train at all: ",
            "zip() argument 2 is shorter",
            "# mend the step itself",
        ),
        ("silently freeze",),
    ),
}
HEALTHY: dict[str, Callable[[], Any]] = {
    "flag left alone in call": lambda: freezing(None),
    "flag that call sets as it is": lambda: freezing(True, trainable=True),
    "step with variables of its own": lambda: own(look_ahead(False)),
    "step with variables of its own, run eagerly": lambda: eager(look_ahead(False)),
    "step with variables of its own, fitted": lambda: own(look_ahead(False), fitted=True),
    "net of a metric": lambda: measured(),
    "net of a metric inside of the tape": lambda: measured(inside=True),
    "net of a metric inside of the tape, a tf.function": lambda: measured(inside=True, whole=True),
    "custom gradient": lambda: quantized(lambda value, upstream: upstream),
    "custom gradient of a constant": lambda: quantized(lambda value, upstream: tf.ones((4, 3))),
    "custom gradient of a constant, fitted": lambda: quantized(lambda value, upstream: tf.ones((4, 3)), fitted=True),
    "custom gradient of the value's shape": lambda: quantized(lambda value, upstream: tf.ones_like(value)),
    "custom gradient of the value": lambda: quantized(lambda value, upstream: tf.sign(value)),
    "tape that watches": lambda: own(watch(True)),
    "average the right way": lambda: followed(True),
    "operand held by a layer": lambda: scaled(False),
    "weight that call reads": lambda: taken(False),
    "weight of add_weight": lambda: named(False),
    "softmax in an unrolled loop": lambda: chained(False),
    "plain function": lambda: frozen_late(False),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_told(name: str) -> None:
    require_told(FAULTS[name])


@pytest.mark.parametrize("name", HEALTHY)
def test_twin_is_silent(name: str) -> None:
    require_silent(HEALTHY[name])


@pytest.mark.parametrize(
    "make", [lambda value: tf.zeros((4, 3)), tf.zeros_like, lambda value: tf.fill(value.shape, 0.0)]
)
def test_a_custom_gradient_of_zeros_is_none(make: Callable[[Any], Any]) -> None:
    keras.backend.clear_session()
    model = quantized(lambda value, upstream: make(value))
    report = introspect.inspect(model, data=batches())
    kernel = model.layers[0].kernel
    before = kernel.numpy()
    model.fit(batches(), verbose=0)
    assert (before == kernel.numpy()).all()
    assert report.variable(kernel.path).updated == "no"
    assert [one.rule for one in report.findings if one.severity == "warning"] == ["INT104"]
    assert "that hands none back, or only zeros." in report.findings[0].cause


def test_first_call_that_makes_variables_is_traced() -> None:
    keras.backend.clear_session()
    step, net, optimizer, kept = plain_loop()
    before = introspect.inspect(step, args=(x, y), model=net, optimizer=optimizer)
    assert kept == {}
    step(x, y)
    after = introspect.inspect(step, args=(x, y), model=net, optimizer=optimizer)
    for report in (before, after):
        assert report.ok
        assert {row.updated for row in report.variables if row.trainable} == {"yes"}


def test_recompiled_optimizer_knows_what_call_unfreezes() -> None:
    keras.backend.clear_session()
    model = freezing(True, fitted=True)
    introspect.recompile(model)
    model.fit(batches(), verbose=0)
    assert {variable.path for variable in model.trainable_variables} <= {
        variable.path for variable in model.optimizer._trainable_variables
    }


@pytest.mark.parametrize("hidden", [True, False])
def test_python_that_may_use_a_layer_is_a_doubt(hidden: bool) -> None:
    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.critic(inputs) - target) ** 2)
        apply(model, tape, loss, model.critic.trainable_variables)
        return tf.py_function(lambda a: tf.reduce_mean(model.actor(a)), [inputs], tf.float32) if hidden else loss

    keras.backend.clear_session()
    report = introspect.inspect(own(step), data=batches())
    (finding,) = [one for one in report.findings if "own/actor/kernel" in one.variables]
    assert (finding.rule, finding.certainty) == ("INT104", "likely" if hidden else "proven")
    assert (f"({HERE}" in finding.cause) is hidden
    assert ("may use it" in finding.cause) is hidden


def descend_by_hand(model: Any, inputs: Any, target: Any) -> Any:
    with tf.GradientTape() as tape:
        loss = compare(model, inputs, target)
    gradients = tape.gradient(loss, model.trainable_variables)
    for gradient, variable in zip(gradients, model.trainable_variables, strict=True):
        variable.assign_sub(0.1 * gradient)
    return loss


@pytest.mark.parametrize("hidden", [True, False])
def test_a_step_that_trains_in_python_alone_is_unknown(hidden: bool) -> None:
    def step(model: Any, inputs: Any, target: Any) -> Any:
        if not hidden:
            return descend_by_hand(model, inputs, target)
        return tf.py_function(lambda a, b: descend_by_hand(model, a, b), [inputs, target], tf.float32)

    keras.backend.clear_session()
    model = own(step)
    report = introspect.inspect(model, data=batches())
    before = [variable.numpy() for variable in model.trainable_variables]
    model.fit(batches(), verbose=0)
    assert all((old != new.numpy()).any() for old, new in zip(before, model.trainable_variables, strict=True))
    assert {row.updated for row in report.variables if row.trainable} == {"unknown" if hidden else "yes"}
    assert not [one for one in report.findings if one.severity == "error"]


@pytest.mark.parametrize(("optimizer", "said"), [("sgd", "are written"), ("adamw", "change")])
def test_zeros_in_place_of_a_missing_gradient(optimizer: str, said: str) -> None:
    """With SGD they leave the variable as it is; AdamW decays it."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model.critic(inputs) - target) ** 2)
        weights = model.trainable_variables
        gradients = zip(tape.gradient(loss, weights), weights, strict=True)
        model.optimizer.apply_gradients([(tf.zeros_like(v) if g is None else g, v) for g, v in gradients])
        return loss

    keras.backend.clear_session()
    model = own(step)
    model.compile(optimizer)
    (kernel,) = [v for v in model.trainable_variables if v.path == "own/actor/kernel"]
    report = introspect.inspect(model, data=batches())
    before = kernel.numpy()
    model.fit(batches(), verbose=0)
    assert bool((before != kernel.numpy()).any()) is (said == "change")
    (finding,) = [one for one in report.findings if one.rule == "INT301" and kernel.path in one.variables]
    assert f" {said} without a gradient" in finding.message
