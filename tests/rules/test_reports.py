"""Steps as people report them: what is said of each is held against one real step, and so is its healthy twin."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.oracle import PLAIN, Asked, ask
from tests.rules.reported import OLD, Case, apply, aside, batches, own, require_silent, require_told, x, y

pytestmark = pytest.mark.tf

layers = keras.layers


def train_actor_alone(model: Any, inputs: Any, target: Any) -> Any:
    """Distillation: the critic only says what the actor learns from."""
    taught = model.critic(inputs)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model.actor(inputs) - taught) ** 2)
    return apply(model, tape, loss, model.actor.trainable_variables)


def train_by_cut_list(model: Any, inputs: Any, target: Any) -> Any:
    """zip ends with the shorter list."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model.actor(inputs) - target) ** 2) + tf.reduce_mean(
            (model.critic(inputs) - target) ** 2
        )
    gradients = tape.gradient(loss, [*model.actor.trainable_variables, *model.critic.trainable_variables])
    model.optimizer.apply_gradients(zip(gradients, model.actor.trainable_variables, strict=False))
    return loss


def policy(inside: bool, detached: bool = False) -> Callable[..., Any]:
    """PPO: the advantage is detached, the critic learns by a sum; its value is computed inside of the tape, or before."""

    def step(model: Any, inputs: Any, target: Any) -> Any:
        before = model.critic(inputs)
        with tf.GradientTape() as tape:
            value = model.critic(inputs) if inside else before
            value = tf.stop_gradient(value) if detached else value
            chosen = tf.nn.log_softmax(model.actor(inputs))[:, :1]
            gain = tf.stop_gradient(target - value)
            loss = -tf.reduce_mean(chosen * gain) + tf.reduce_mean((target - value) ** 2)
        return apply(model, tape, loss)

    return step


def sampled(model: Any, inputs: Any, target: Any) -> Any:
    """REINFORCE without the log probability of what was drawn."""
    with tf.GradientTape() as tape:
        drawn = tf.cast(tf.random.categorical(model.actor(inputs), 1), tf.float32)
        loss = tf.reduce_mean((drawn - target) ** 2) + tf.reduce_mean((model.critic(inputs) - target) ** 2)
    return apply(model, tape, loss)


class Penalized(keras.Model):
    """A critic that only the penalty of its slope trains; all shapes are known."""

    def __init__(self, whole: bool) -> None:
        super().__init__(name="penalized")
        parts = [layers.Dense(5, activation="tanh", name="hid"), layers.Dense(1, name="out")]
        self.critic = keras.Sequential([keras.Input((4,)), *parts], name="critic")
        self.whole = whole

    def call(self, inputs: Any) -> Any:
        return self.critic(inputs)

    def train_step(self, data: Any) -> Any:
        inputs = data[0] + tf.zeros((8, 4))
        with tf.GradientTape() as tape:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                score = self.critic(inputs)
            loss = tf.reduce_mean((tf.norm(inner.gradient(score, inputs), axis=1) - 1.0) ** 2)
            if self.whole:
                loss += tf.reduce_mean(score**2)
        return {"loss": apply(self, tape, loss)}


def penalized(whole: bool) -> Any:
    model = Penalized(whole)
    model(x)
    model.compile("sgd")
    return model


class Shrunk(layers.Layer):
    """Makes its kernel smaller at each call, frozen or not; or asks its flag."""

    def __init__(self, asks: bool) -> None:
        super().__init__(name="shrunk")
        self.asks = asks

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], 3), name="kernel")

    def call(self, inputs: Any) -> Any:
        if self.trainable or not self.asks:
            self.kernel.assign(self.kernel * 0.9)
        return inputs @ self.kernel


def shrunk(asks: bool) -> Any:
    """Fitted trainable, then frozen and compiled and fitted again."""
    model = keras.Sequential([keras.Input((4,)), Shrunk(asks), layers.Dense(1, name="out")], name="m")
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(batches(), verbose=0)
    return model


class Scaled(layers.Wrapper):
    """Takes the kernel of the layer inside by itself, and its bias or not."""

    def __init__(self, layer: Any, whole: bool) -> None:
        super().__init__(layer, name="scaled")
        self.whole = whole

    def build(self, shape: Any) -> None:
        self.layer.build(shape)
        self.direction = self.layer.kernel
        self.built = True

    def call(self, inputs: Any) -> Any:
        out = inputs @ tf.nn.l2_normalize(tf.convert_to_tensor(self.direction), 0)
        return out + tf.convert_to_tensor(self.layer.bias) if self.whole else out


def scaled(whole: bool) -> Any:
    model = keras.Sequential([keras.Input((4,)), Scaled(layers.Dense(1, name="inner"), whole)], name="m")
    model.compile("sgd", "mse")
    return model


def wrapped(in_lambda: bool) -> Any:
    base = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="tanh", name="inside")], name="base")
    inputs = keras.Input((4,))
    hidden = layers.Lambda(lambda h: base(h), name="features")(inputs) if in_lambda else base(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="out")(hidden), name="m")
    model.compile("sgd", "mse")
    model.__dict__["aside"] = lambda: base.trainable_variables
    return model


def weighed(by_loss: bool) -> Any:
    """The weight of a loss that is learned with it."""
    sigma = tf.Variable(0.1, name="log_sigma")

    def loss(target: Any, output: Any) -> Any:
        scale = sigma if by_loss else tf.stop_gradient(tf.constant(0.1))
        return tf.exp(-scale) * tf.reduce_mean((target - output) ** 2) + scale

    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="out")], name="m")
    model.compile("sgd", loss)
    model.__dict__["aside"] = lambda: [sigma] if by_loss else []
    return model


class Features(keras.losses.Loss):
    """Compares what a net of its own makes of both."""

    def __init__(self) -> None:
        super().__init__(name="features")
        self.net = keras.Sequential([keras.Input((1,)), layers.Dense(3, activation="tanh", name="eye")], name="net")

    def call(self, target: Any, output: Any) -> Any:
        return keras.ops.mean((self.net(target) - self.net(output)) ** 2, -1)


class Compared(layers.Layer):
    """Holds the net of the loss and adds the loss, as the fix says."""

    def __init__(self, loss: Any) -> None:
        super().__init__(name="compared")
        self.net, self.loss = loss.net, loss

    def call(self, outputs: Any, targets: Any) -> Any:
        self.add_loss(self.loss(targets, outputs))
        return outputs


def perceived(frozen: bool, fitted: bool = False) -> Any:
    """The net of the loss stays as it is, or is unfrozen, before the step is traced or after."""
    loss = Features()
    loss.net.trainable = not fitted and not frozen
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="out")], name="m")
    model.compile("sgd", loss)
    if fitted:
        model.fit(batches(), verbose=0)
        loss.net.trainable = not frozen
    model.__dict__["aside"] = lambda: loss.net.trainable_variables
    return model


def perceived_inside() -> Any:
    inputs, targets = keras.Input((4,)), keras.Input((1,))
    outputs = Compared(Features())(layers.Dense(1, name="out")(inputs), targets)
    model = keras.Model([inputs, targets], outputs, name="m")
    model.compile("sgd")
    return model


class Own(keras.Model):
    """A model with a call() of its own, which holds the net of its loss or not."""

    def __init__(self, net: Any) -> None:
        super().__init__(name="own_call")
        self.out = layers.Dense(1, name="out")
        if net is not None:
            self.net = net

    def call(self, inputs: Any) -> Any:
        return self.out(inputs)


class OwnFunctional(keras.Model):
    """A class of its own that is built as a functional model."""

    def __init__(self, net: Any) -> None:
        inputs = keras.Input((4,))
        super().__init__(inputs=inputs, outputs=layers.Dense(1, name="out")(inputs), name="own_functional")
        if net is not None:
            self.net = net


class OwnFunctionalCall(OwnFunctional):
    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training, mask=mask)


class OwnSequential(keras.Sequential):
    def __init__(self, net: Any) -> None:
        super().__init__([keras.Input((4,)), layers.Dense(1, name="out")], name="own_sequential")
        if net is not None:
            self.net = net


def functional(net: Any) -> Any:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1, name="out")(inputs), name="functional")
    if net is not None:
        model.net = net
    return model


def perceived_by(make: Callable[[Any], Any], holds: bool, frozen: bool = False) -> Any:
    loss = Features()
    loss.net.trainable = not frozen
    model = make(loss.net if holds else None)
    model(x)
    model.compile("sgd", loss)
    model.__dict__["aside"] = lambda: loss.net.trainable_variables
    return model


def gan(flag: bool) -> Any:
    """The discriminator has an optimizer of its own, and its flag is set back after the generator's step."""
    judge = keras.Sequential([keras.Input((4,)), layers.Dense(1, name="score")], name="judge")
    judge.compile("adam", "mse")
    maker = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="draw")], name="maker")
    inputs = keras.Input((4,))
    both = keras.Model(inputs, judge(maker(inputs)), name="both")
    judge.fit(batches(), verbose=0)
    judge.trainable = False
    both.compile("adam", "mse")
    both.train_on_batch(x, y)
    judge.trainable = flag
    return both


OUTSIDE = "no tape has followed it there"
FAULTS: dict[str, Case] = {
    "teacher left trainable": Case(
        lambda: own(train_actor_alone, fitted=True),
        "INT104",
        (
            "the step never asks a tape for their gradients",
            "ask the tape for what is to train",
            'model.get_layer("critic").trainable = False',
        ),
        OLD,
    ),
    "variables lost by zip": Case(
        lambda: own(train_by_cut_list, fitted=True),
        "INT104",
        ("computes their gradients and does not apply them", "# in train_step, hand on all the gradients"),
        OLD,
    ),
    "value computed before the tape": Case(
        lambda: own(policy(inside=False)), "INT104", (OUTSIDE, "test_reports.py:"), ("StopGradient",)
    ),
    "value detached": Case(
        lambda: own(policy(inside=True, detached=True)), "INT104", ("by StopGradient",), ("; then by StopGradient",)
    ),
    "sample without probability": Case(
        lambda: own(sampled), "INT104", ("draws samples", "log probability"), ("weigh by softmax",)
    ),
    "bias of a slope": Case(lambda: penalized(False), "INT104", ("what is only added falls away",), ("nothing uses",)),
    "kernel made smaller by its frozen layer": Case(
        lambda: shrunk(False),
        "INT102",
        ("A step traced now does it too: Shrunk assigns at test_reports.py:", "self.kernel.assign(...)"),
        ("weight decay", *OLD),
    ),
    "bias that a wrapper leaves": Case(
        lambda: scaled(False), "INT104", ("inner/kernel from it, and not",), (".trainable = False",)
    ),
    "model in a Lambda": Case(
        lambda: wrapped(True),
        "INT105",
        ("which the function of Lambda layer features calls",),
        asked=Asked(extra=aside),
    ),
    "weight of a loss": Case(
        lambda: weighed(True),
        "INT105",
        ("is held by the loss", "self.add_loss(", "tf.Variable(..., trainable=False)"),
        asked=Asked(extra=aside),
    ),
    "net of a loss": Case(
        lambda: perceived(False),
        "INT105",
        ("layer eye (used at test_reports.py:", "held by the loss", "net.trainable = False", "self.add_loss("),
        ("recompile", "self.eye"),
        asked=Asked(extra=aside),
    ),
    "net of a loss unfrozen late": Case(
        lambda: perceived(False, fitted=True),
        "INT105",
        ("layer eye (used at test_reports.py:", "held by the loss", "net.trainable = False", "self.add_loss("),
        ("recompile", "self.eye"),
        asked=Asked(extra=aside),
    ),
    "flag set back for the discriminator": Case(
        lambda: gan(True), "INT201", ("does not know 2 trainable variables of layer judge",), asked=Asked(raises=True)
    ),
}
HEALTHY: dict[str, Callable[[], Any]] = {
    "teacher frozen": lambda: own(train_actor_alone, fitted=True, frozen="critic"),
    "value inside the tape": lambda: own(policy(inside=True)),
    "penalty and score": lambda: penalized(True),
    "kernel kept by its frozen layer": lambda: shrunk(True),
    "bias that a wrapper adds": lambda: scaled(True),
    "model called as a layer": lambda: wrapped(False),
    "constant weight of a loss": lambda: weighed(False),
    "net of a loss frozen": lambda: perceived(True),
    "net of a loss frozen, fitted": lambda: perceived(True, fitted=True),
    "discriminator frozen": lambda: gan(False),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_told(name: str) -> None:
    require_told(FAULTS[name])


@pytest.mark.parametrize("name", HEALTHY)
def test_twin_is_silent(name: str) -> None:
    require_silent(HEALTHY[name])


OWN = "let the model hold it, in its __init__():\nself.net = net"
HOLDERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "own call": (Own, OWN),
    "functional, of its own class": (OwnFunctional, OWN),
    "functional, with a call": (OwnFunctionalCall, OWN),
    "functional": (functional, "let the model hold it, before compile:\nmodel.net = net"),
}


LATE = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 15)


@pytest.mark.parametrize("kind", HOLDERS)
def test_net_of_a_loss_of_a_model_that_takes_layers(kind: str) -> None:
    """Where the model holds it, it trains, as the fix says; frozen it is silent either way."""
    make, fix = HOLDERS[kind]
    if make is not Own and not LATE:
        said = ("held by the loss", "A functional model of Keras before 3.15 takes no layer", "self.add_loss(")
        for holds in (False, True):
            require_told(Case(partial(perceived_by, make, holds), "INT105", said, ("model.net",), Asked(extra=aside)))
        return
    said = ("held by the loss", "net.trainable = False", fix)
    case = Case(lambda: perceived_by(make, False), "INT105", said, ("A Sequential", "add_loss"), Asked(extra=aside))
    require_told(case)
    require_silent(lambda: perceived_by(make, False, frozen=True))
    require_silent(lambda: perceived_by(make, True, frozen=True))
    outcome = ask(perceived_by(make, True), batches(), PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    assert outcome.report.ok
    assert {row.updated for row in outcome.report.variables} == {"yes"}


def test_net_of_a_loss_of_a_sequential_of_its_own_class() -> None:
    """It takes no layer from an attribute: its trainable variables are two with the net and without."""
    said = ("held by the loss", "A Sequential takes no layer from an attribute either", "self.add_loss(")
    require_told(
        Case(lambda: perceived_by(OwnSequential, True), "INT105", said, ("self.net = net\n#",), Asked(extra=aside))
    )
    require_silent(lambda: perceived_by(OwnSequential, True, frozen=True))


def test_net_of_a_loss_trains_where_a_layer_holds_it() -> None:
    keras.backend.clear_session()
    outcome = ask(perceived_inside(), tf.data.Dataset.from_tensors(((x, y),)), PLAIN)
    assert outcome.faults == []
    assert outcome.report is not None
    assert outcome.report.ok
    assert [row.updated for row in outcome.report.variables if "/eye/" in row.path or row.path.startswith("net/")] == [
        "yes"
    ] * 2
