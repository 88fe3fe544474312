"""What a step counts, while it is traced, in objects of many kinds: a look leaves nothing of it."""

from __future__ import annotations

import array
import types
import weakref
from argparse import Namespace
from collections import ChainMap, UserDict, UserList
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pytest
import tensorflow as tf

import introspect
from tests.rules.exchanged import PACKAGES, X, Y, make_layers, train

pytestmark = pytest.mark.tf


@dataclass(slots=True)
class Slotted:
    number: int = 0
    last: Any = None


class HalfSlotted(Slotted):
    """Has a dict too."""


class Unset:
    __slots__ = ("number",)


class Plain:
    number = 0

    @classmethod
    def count(cls) -> None:
        cls.number += 1


KEPT = Plain()
"""What a proxy stands for."""


def count_attribute(holder: Any) -> int:
    holder.number = getattr(holder, "number", 0) + 1
    return int(holder.number)


def count_item(holder: Any) -> int:
    holder["number"] = holder.get("number", 0) + 1
    return int(holder["number"])


def count_items(holder: Any) -> int:
    holder.append(1)
    return len(holder)


def count_calls(holder: Callable[[int], None]) -> int:
    holder(1)
    owner: Any = holder.__self__  # type: ignore[attr-defined]
    return len(owner)


def count_class(holder: Callable[[], None]) -> int:
    holder()
    return Plain.number


HOLDERS: dict[str, tuple[Callable[[], Any], Callable[[Any], int]]] = {
    "a namespace": (types.SimpleNamespace, count_attribute),
    "options": (Namespace, count_attribute),
    "slots": (Slotted, count_attribute),
    "slots and a dict": (HalfSlotted, count_attribute),
    "a slot that was not set": (Unset, count_attribute),
    "a proxy": (lambda: weakref.proxy(KEPT), count_attribute),
    "a user dict": (UserDict, count_item),
    "a chain of dicts": (ChainMap, count_item),
    "a user list": (UserList, count_items),
    "an array": (lambda: array.array("i"), count_items),
    "bytes": (bytearray, count_items),
    "a list's method": (lambda: [].append, count_calls),
    "a class method": (lambda: Plain.count, count_class),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_look_leaves_nothing_of_what_a_step_counts(kind: str) -> None:
    make, count = HOLDERS[kind]
    holder, model, optimizer = make(), make_layers(keras), keras.optimizers.SGD()
    before = count(holder)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        count(holder)
        return train(model, optimizer, x, y)

    assert introspect.inspect(step, args=(X, Y), model=model).findings == ()
    assert count(holder) == before + 1
    if kind == "a slot that was not set":
        del holder.number
        introspect.inspect(step, args=(X, Y), model=model)
        assert not hasattr(holder, "number")


@PACKAGES
@pytest.mark.parametrize("measure", [False, True])
def test_a_model_with_a_proxy_of_what_is_gone(package: Any, measure: bool) -> None:
    model, remembered = make_layers(package), Plain()
    model.remembered = weakref.proxy(remembered)
    del remembered
    model.compile("sgd", "mse")
    assert introspect.inspect(model, data=(X, Y), measure=measure).findings == ()
    model.fit(X, Y, verbose=0)
    assert introspect.inspect(model, data=(X, Y), measure=measure).findings == ()
