"""A layer whose output is only looked at: what is done with it is told; one that is also used trains, and nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.rules.reported import Asked, Case, batches, require_silent, require_told, x

pytestmark = pytest.mark.tf

layers = keras.layers
HERE = "test_uses.py:"
Look = Callable[[Any, Any], object]


class Looked(keras.Model):
    """Looks at what `side` computes; `used`: adds it to the output too."""

    def __init__(self, look: Look, used: bool) -> None:
        super().__init__(name="looked")
        self.hid = layers.Dense(3, name="hid")
        self.side = layers.Dense(1, name="side")
        self.out = layers.Dense(1, name="out")
        self.mean = keras.metrics.Mean(name="level")
        self.writer = tf.summary.create_noop_writer()
        self.look, self.used = look, used

    def call(self, inputs: Any) -> Any:
        seen = self.side(inputs)
        self.look(self, seen)
        made = self.out(self.hid(inputs))
        return made + seen if self.used else made


def looked(look: Look, used: bool = False, writer: Any = None) -> Any:
    model = Looked(look, used)
    if writer is not None:
        model.writer = writer
    model(x)
    model.compile("sgd", "mse")
    return model


def prints(model: Any, seen: Any) -> object:
    return tf.print("level", tf.reduce_mean(seen), output_stream="file:///dev/null")


def counts(model: Any, seen: Any) -> object:
    return model.mean.update_state(seen)


def checks(model: Any, seen: Any) -> object:
    return tf.debugging.Assert(tf.reduce_all(seen < 1e9), [seen])


def checks_and_prints(model: Any, seen: Any) -> object:
    return tf.print(tf.debugging.check_numerics(seen, "level"), output_stream="file:///dev/null")


def prints_and_counts(model: Any, seen: Any) -> object:
    return prints(model, seen), counts(model, seen)


def calls(model: Any, seen: Any) -> object:
    return tf.py_function(lambda value: None, [seen], [])


def sums_up(model: Any, seen: Any) -> object:
    with model.writer.as_default(step=0):
        return tf.summary.scalar("level", tf.reduce_mean(seen))


def forgets(model: Any, seen: Any) -> object:
    return tf.reduce_mean(seen)


SAID: dict[Look, str] = {
    prints: f"it is only printed ({HERE}",
    counts: f"it is only counted by metric level ({HERE}",
    checks: f"it is only checked ({HERE}",
    checks_and_prints: f"it is only printed ({HERE}",
    prints_and_counts: f"it is only printed ({HERE}",
    calls: f"it is only handed to Python ({HERE}",
    forgets: "nothing uses the result",
}


@pytest.mark.parametrize("look", SAID, ids=lambda look: look.__name__)
def test_what_is_only_looked_at_does_not_train(look: Look) -> None:
    never = ("nothing uses the result",) if look is not forgets else ("it is only",)
    require_told(Case(lambda: looked(look), "INT104", (SAID[look],), never, Asked(opaque=look is calls)))


@pytest.mark.parametrize("look", SAID, ids=lambda look: look.__name__)
def test_what_is_used_too_is_no_alarm(look: Look) -> None:
    require_silent(lambda: looked(look, used=True))


def test_a_summary_is_told(tmp_path: Path) -> None:
    writer = tf.summary.create_file_writer(str(tmp_path))
    said = (f"it is only written to a summary ({HERE}", "give it a loss")
    require_told(Case(lambda: looked(sums_up, writer=writer), "INT104", said))
    require_silent(lambda: looked(sums_up, used=True, writer=writer))


@pytest.mark.parametrize("whole", [False, True])
def test_an_output_of_which_only_a_metric_is_made(whole: bool) -> None:
    def build() -> Any:
        inputs = keras.Input((4,))
        ends = [layers.Dense(1, name=name)(inputs) for name in ("one", "two")]
        model = keras.Model(inputs, dict(zip(("one", "two"), ends, strict=True)))
        model.compile("sgd", {"one": "mse", "two": "mse" if whole else None}, metrics={"two": ["mae"]})
        return model

    data = batches().map(lambda a, b: (a, {"one": b, "two": b}))
    if whole:
        require_silent(build, data)
    else:
        require_told(Case(build, "INT104", ("it is only counted by metric",)), data)
