"""A step that finds a net in a dict of its own, by the model or its id: a twin finds it too, and the dict stays as it is."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from typing import Any

import keras
import pytest

from tests.oracle import Asked, ask
from tests.rules.reported import aside, batches, x

pytestmark = pytest.mark.tf

layers = keras.layers
Nets = MutableMapping[Any, Any]


class Keyed(keras.Model):
    """Adds what the net says that `nets` holds for it."""

    def __init__(self, nets: Nets, key_of: Callable[[Any], Any], net: Any, holds: bool) -> None:
        super().__init__(name="keyed")
        self.out = layers.Dense(1, name="out")
        if holds:
            self.net = net
        self.find = lambda model: nets[key_of(model)]

    def call(self, inputs: Any) -> Any:
        return self.out(inputs) + self.find(self)(inputs)


def same(model: Any) -> Any:
    return model


KINDS: dict[str, tuple[Callable[[], Nets], Callable[[Any], Any]]] = {
    "by id": (dict, id),
    "by the model": (dict, same),
    "weakly": (weakref.WeakKeyDictionary, same),
    "with a default": (lambda: defaultdict(lambda: layers.Dense(1, name="another")), id),
}


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_net_that_is_found_by_the_model(kind: str, holds: bool) -> None:
    keras.backend.clear_session()
    make, key_of = KINDS[kind]
    nets, net = make(), layers.Dense(1, name="side")
    model = Keyed(nets, key_of, net, holds)
    model.__dict__["aside"] = lambda: net.trainable_variables
    nets[key_of(model)] = net
    model(x)
    model.compile("sgd", "mse")
    outcome = ask(model, batches(), Asked(extra=aside))
    assert outcome.faults == []
    assert outcome.rules == (set() if holds else {"INT105"})
    assert list(nets.items()) == [(key_of(model), net)]
