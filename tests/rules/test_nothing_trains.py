"""A model of which all weights are frozen: a note, for a step that does as the flags say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import introspect
from tests.oracle import ask

pytestmark = pytest.mark.tf

DATA = (np.random.default_rng(0).random((8, 4), dtype="float32"), np.ones((8, 1), "float32"))
KINDS = pytest.mark.parametrize("kind", [keras, tf_keras], ids=["keras", "tf_keras"])


def make_net(kind: Any, name: str = "net", width: int = 1) -> Any:
    return kind.Sequential([kind.layers.Dense(3, name="hid"), kind.layers.Dense(width, name="out")], name=name)


def find_note(model: Any) -> Any | None:
    """The finding, of a report that agrees with one real step."""
    outcome = ask(model, tf.data.Dataset.from_tensor_slices(DATA).batch(4))
    assert not outcome.faults, outcome.faults
    assert outcome.report is not None
    return next((finding for finding in outcome.report.findings if finding.rule == "INT404"), None)


def freeze_first(model: Any) -> None:
    model.trainable = False
    model.compile("sgd", "mse")


def freeze_then(model: Any) -> None:
    model.compile("sgd", "mse")
    model.trainable = False


def freeze_layers(model: Any) -> None:
    for layer in model.layers:
        layer.trainable = False
    model.compile("sgd", "mse")


@KINDS
@pytest.mark.parametrize("freeze", [freeze_first, freeze_layers])
@pytest.mark.parametrize("fitted", [False, True])
def test_all_frozen(kind: Any, freeze: Callable[[Any], None], fitted: bool) -> None:
    model = make_net(kind)
    model.build((None, 4))
    freeze(model)
    if fitted:
        model.fit(*DATA, verbose=0)
    note = find_note(model)
    assert note is not None
    assert note.severity == "info"
    assert set(note.layers) == {"net/hid", "net/out"}


def test_frozen_behind_compile() -> None:
    """A GAN's discriminator in Keras 3: compiled, frozen for the stack, and asked for by itself."""
    critic, maker = make_net(keras, "critic"), make_net(keras, "maker", 4)
    critic.build((None, 4))
    freeze_then(critic)
    stack = keras.Sequential([keras.Input((4,)), maker, critic], name="stack")
    stack.compile("sgd", "mse")
    stack.train_on_batch(*DATA)
    critic.train_on_batch(*DATA)
    note = find_note(critic)
    assert note is not None
    assert "not at compile" in note.cause
    assert find_note(stack) is None
    report = introspect.inspect(critic, try_fixes=True)
    assert next(finding for finding in report.findings if finding.rule == "INT404").verified


def test_tf_keras_goes_by_compile() -> None:
    """The healthy twin of that: tf_keras keeps the flags of compile, and the discriminator trains."""
    critic = make_net(tf_keras, "critic")
    critic.build((None, 4))
    freeze_then(critic)
    critic.train_on_batch(*DATA)
    assert "INT404" not in {finding.rule for finding in introspect.inspect(critic).findings}


@KINDS
def test_one_layer_trains(kind: Any) -> None:
    model = make_net(kind)
    model.build((None, 4))
    model.get_layer("hid").trainable = False
    model.compile("sgd", "mse")
    assert find_note(model) is None


@KINDS
def test_nothing_to_train(kind: Any) -> None:
    """A model without weights that were made to train is no such case."""
    model = kind.Sequential([kind.layers.Normalization(mean=0.0, variance=1.0), kind.layers.Flatten()], name="net")
    model.build((None, 1))
    model.compile("sgd", "mse")
    model.train_on_batch(DATA[1], DATA[1])
    assert "INT404" not in {finding.rule for finding in introspect.inspect(model).findings}


def test_frozen_late_is_another_matter() -> None:
    """What an old step still trains is INT101."""
    model = make_net(keras)
    model.compile("sgd", "mse")
    model.fit(*DATA, verbose=0)
    model.trainable = False
    assert {finding.rule for finding in introspect.inspect(model).findings} == {"INT101"}


@KINDS
def test_the_fix_unfreezes_layers_below_a_flag_that_says_true(kind: Any) -> None:
    """Frozen layer by layer, the model's own flag is True still: setting it to True again is nothing in Keras 3."""
    model = make_net(kind)
    model.build((None, 4))
    freeze_layers(model)
    (note,) = (one for one in introspect.inspect(model, try_fixes=True).findings if one.rule == "INT404")
    assert note.verified
    exec(note.fix, {"model": model, "introspect": introspect})
    assert len(model.trainable_variables) == 4
    assert find_note(model) is None
