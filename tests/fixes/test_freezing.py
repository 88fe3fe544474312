"""The code that freezes what gets no gradient: it names whole layers, runs as it stands, and stops nothing that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.records import Finding
from introspect.remedies import read_remedies

pytestmark = pytest.mark.tf


@pytest.fixture(autouse=True)
def _fresh_names() -> Iterator[None]:
    import keras

    keras.utils.clear_session()
    yield
    keras.utils.clear_session()


def detach(name: str) -> Any:
    import keras
    import tensorflow as tf

    class Detach(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, h: Any) -> Any:
            return tf.stop_gradient(h)

    return Detach(name=name)


def end(inputs: Any, hidden: Any) -> Any:
    import keras

    model = keras.Model(inputs, keras.layers.Dense(1, name="head")(hidden), name="m")
    model.compile("sgd", "mse")
    return model


def many_layers() -> Any:
    import keras

    x = h = keras.Input((4,))
    for i in range(6):
        h = keras.layers.Dense(4, name=f"d{i}")(h)
    return end(x, detach("cut")(h))


def whole_container() -> Any:
    import keras

    base = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, name=f"d{i}") for i in range(3))], name="base")
    x = keras.Input((4,))
    return end(x, detach("cut")(base(x)))


def part_of_a_container() -> Any:
    import keras

    parts = [keras.layers.Dense(4, name="one"), detach("cut"), keras.layers.Dense(4, name="two")]
    x = keras.Input((4,))
    return end(x, keras.Sequential([keras.Input((4,)), *parts], name="base")(x))


EXECUTED = [
    (many_layers, 'for name in ("d0", "d1", "d2", "d3", "d4", "d5"):\n    model.get_layer(name).trainable = False'),
    (whole_container, 'model.get_layer("base").trainable = False'),
    (part_of_a_container, 'model.get_layer("base").get_layer("one").trainable = False'),
]


def inspect(model: Any) -> Finding:
    (finding,) = introspect.inspect(model, try_fixes=True).findings
    assert finding.rule == "INT104"
    assert finding.fix_result is not None
    assert not finding.verified
    return finding


@pytest.mark.parametrize(("make", "code"), EXECUTED, ids=lambda part: getattr(part, "__name__", None))
def test_code_is_run_as_it_stands(make: Callable[[], Any], code: str) -> None:
    import keras

    finding = inspect(make())
    (trial,) = finding.trials
    assert trial.verified
    assert "which mends it" in trial.note
    freeze = read_remedies(finding.fix)[1].code
    assert trial.code == freeze
    assert code in freeze
    keras.utils.clear_session()
    model = make()
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    exec(freeze, {"model": model, "introspect": introspect})
    report = introspect.inspect(model)
    assert report.ok
    assert report.variable("head/kernel").updated == "yes"


def held(kind: str) -> Any:
    """A layer of the user's own that holds, before a cut, a further one in the way of `kind`, and one behind it."""
    import keras

    class Encoder(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="encoder")
            inner, self.outer = keras.layers.Dense(4, name="inner"), keras.layers.Dense(4, name="outer")
            self.cut = detach("cut")
            if kind == "attribute":
                self.first = inner
            elif kind == "list":
                self.blocks = [[self.cut, inner]]
            elif kind == "dict":
                self.parts = {"a b": inner}
            elif kind == "private":
                self._first = inner
            else:
                self.deep = [[[inner]]]
            self.apply = [inner.__call__]

        def call(self, h: Any) -> Any:
            return self.outer(self.cut(self.apply[0](h)))

    x = keras.Input((4,))
    return end(x, Encoder()(x))


HELD = {
    "attribute": ".first",
    "list": ".blocks[0][1]",
    "dict": ".parts['a b']",
    "private": "._first",
}


@pytest.mark.parametrize("kind", HELD)
def test_a_layer_that_no_call_finds_is_reached_by_attributes(kind: str) -> None:
    finding = inspect(held(kind))
    code = f'model.get_layer("encoder"){HELD[kind]}.trainable = False\nintrospect.recompile(model)'
    (trial,) = finding.trials
    assert trial.verified
    assert trial.code.endswith(code)
    model = held(kind)
    model.fit(np.ones((4, 4)), np.ones((4, 1)), verbose=0)
    exec(trial.code, {"model": model, "introspect": introspect})
    report = introspect.inspect(model)
    assert report.ok
    assert {row.path: row.expected for row in report.variables}["encoder/inner/kernel"] is False
    assert report.variable("encoder/outer/kernel").updated == "yes"


def attend(package: Any) -> Any:
    """Only the scores of an attention go on, so that its values are not used."""
    x = package.layers.Input((4, 3))
    _, scores = package.layers.MultiHeadAttention(2, 2, name="mha")(x, x, return_attention_scores=True)
    model = package.Model(x, package.layers.Dense(1, name="head")(package.layers.Flatten()(scores)))
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(("package", "reached"), [("keras", ".value_dense"), ("tf_keras", "._value_dense")])
def test_a_part_of_an_attention_is_reached(package: str, reached: str) -> None:
    """By the property that Keras 3 gives, by the attribute where there is none."""
    k = pytest.importorskip(package)
    model, batch = attend(k), (np.ones((4, 4, 3)), np.ones((4, 1)))
    model.fit(*batch, verbose=0)
    (finding,) = introspect.inspect(model, try_fixes=True).findings
    (trial,) = finding.trials
    assert trial.verified
    assert f'model.get_layer("mha"){reached}.trainable = False\n' in trial.code
    exec(trial.code, {"model": model, "introspect": introspect})
    model.fit(*batch, verbose=0)
    report = introspect.inspect(model)
    assert report.ok
    assert [row.updated for row in report.variables if "/query/" in row.path] == ["yes", "yes"]


def test_a_layer_that_no_attribute_holds_is_named_by_its_path() -> None:
    finding = inspect(held("deep"))
    assert "layer.trainable = False  # encoder/inner\n" in finding.fix
    (trial,) = finding.trials
    assert trial.note.startswith("encoder/inner frozen")
    assert trial.verified


def test_what_a_layer_trains_beside_is_not_frozen() -> None:
    """Of the layer's two weights one gets a gradient: nothing is said of the layer's flag."""
    import keras
    import tensorflow as tf

    class Half(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def build(self, shape: Any) -> None:
            self.lost = self.add_weight(shape=(4,), name="lost")
            self.used = self.add_weight(shape=(4,), name="used")

        def call(self, h: Any) -> Any:
            return h * self.used + tf.round(self.lost)

    x = keras.Input((4,))
    finding = inspect(end(x, Half(name="half")(x)))
    assert finding.variables == ("half/lost",)
    assert "trainable = False" not in finding.fix


def test_a_weight_of_the_model_itself_freezes_no_model() -> None:
    import keras

    class Own(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="own")
            self.head = keras.layers.Dense(1, name="head")

        def build(self, shape: Any) -> None:
            self.spare = self.add_weight(shape=(4,), name="spare")
            self.head.build(shape)

        def call(self, h: Any) -> Any:
            return self.head(h)

    model = Own()
    model(np.ones((4, 4), "float32"))
    model.compile("sgd", "mse")
    finding = inspect(model)
    assert finding.variables == ("own/spare",)
    assert "trainable = False" not in finding.fix
