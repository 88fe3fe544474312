"""Models that were never called: their variables are made for the time of a look, and training goes on as without it."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import introspect
from introspect.capture import making
from introspect.errors import NotBuiltError, StepError
from tests.matrix.models import make_data

pytestmark = pytest.mark.tf

KERAS = ("keras", "tf_keras")


def make_plain(keras: Any) -> Any:
    class Plain(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.a, self.drop = keras.layers.Dense(4, name="a"), keras.layers.Dropout(0.5)
            self.norm, self.b = keras.layers.BatchNormalization(name="norm"), keras.layers.Dense(1, name="b")

        def call(self, x: Any, training: Any = None) -> Any:
            return self.b(self.norm(self.drop(self.a(x), training=training), training=training))

    return Plain()


def make_drawing(keras: Any) -> Any:
    """Weights from the ops that draw by seeds of TensorFlow's own."""

    class Drawn(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def build(self, shape: Any) -> None:
            def draw(shape: Any, dtype: Any = None) -> Any:
                return tf.random.normal(shape)

            self.w = self.add_weight(name="w", shape=(int(shape[-1]), 1), initializer=draw)

        def call(self, x: Any) -> Any:
            return x @ tf.convert_to_tensor(self.w)

    class Drawing(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.drawn = Drawn(name="drawn")

        def call(self, x: Any) -> Any:
            return self.drawn(x)

    return Drawing()


def make_stepping(keras: Any) -> Any:
    """A net that only the train step calls, in a model without a call of its own."""

    class Stepping(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.inner = keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)], name="inner")

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.inner(x, training=True) - y) ** 2)
            weights = self.inner.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    return Stepping()


MODELS = {
    "plain": make_plain,
    "drawing": make_drawing,
    "stepping": make_stepping,
    "sequential": lambda keras: keras.Sequential([keras.layers.Dense(4), keras.layers.Dense(1)], name="net"),
}


def train(package: str, make: Any, eager: bool, look: bool) -> tuple[list[bytes], Any]:
    """Weights after two epochs, with a look at the model before them or without."""
    keras = importlib.import_module(package)
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    model, data = make(keras), make_data()
    model.compile(keras.optimizers.Adam(0.05), "mse", run_eagerly=eager)
    report = introspect.inspect(model, data=data, measure=True, try_fixes=True) if look else None
    if look:
        assert not model.built
        assert all("seed" in variable.name for variable in getattr(model, "_trainable_variables", []))
    model.fit(data, epochs=2, verbose=0)
    return [np.asarray(value).tobytes() for value in model.get_weights()], report


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("name", MODELS)
def test_a_look_at_a_model_that_was_never_called(package: str, name: str) -> None:
    """Its report is that of the step to come, and the training is the same with it and without, to the bit."""
    seen, report = train(package, MODELS[name], eager=False, look=True)
    unseen, _ = train(package, MODELS[name], eager=False, look=False)
    assert seen == unseen
    assert report is not None
    assert report.ok
    assert report.source == "traced"
    trained = [row for row in report.variables if row.trainable]
    assert trained
    assert all(row.updated == "yes" and row.measured.update_norm > 0 for row in trained if "bias" not in row.path)


@pytest.mark.parametrize("package", KERAS)
def test_an_eager_one(package: str) -> None:
    """Its step is traced all the same."""
    seen, report = train(package, make_plain, eager=True, look=True)
    assert seen == train(package, make_plain, eager=True, look=False)[0]
    assert report is not None
    assert (report.ok, report.source) == (True, "eager")


@pytest.mark.parametrize("package", KERAS)
def test_a_frozen_layer_is_seen(package: str) -> None:
    """What the flags say of a layer without variables holds for those that it will make."""
    keras = importlib.import_module(package)
    model, data = make_plain(keras), make_data()
    model.a.trainable = False
    model.compile("adam", "mse")
    report = introspect.inspect(model, data=data)
    assert report.ok
    rows = {row.path.split("/")[-2] + row.path.split("/")[-1][0]: row for row in report.variables if "/" in row.path}
    assert (rows["ak"].expected, rows["ak"].updated) == (False, "no")
    assert (rows["bk"].expected, rows["bk"].updated) == (True, "yes")


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("name", MODELS)
def test_without_data(package: str, name: str) -> None:
    """One line says what to do."""
    keras = importlib.import_module(package)
    model = MODELS[name](keras)
    model.compile("adam", "mse")
    with pytest.raises(NotBuiltError, match=r"pass data=, one batch as \(x, y\)") as caught:
        introspect.inspect(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("package", KERAS)
def test_data_that_does_not_fit(package: str) -> None:
    """The reason is Keras' own, and the model stays without variables."""
    keras = importlib.import_module(package)
    model = make_plain(keras)
    model.compile("adam", "mse")
    with pytest.raises(StepError, match="cannot be traced"):
        introspect.inspect(model, data=(np.zeros((4,), "int32"), np.zeros((4, 9, 2))))
    assert not model.built


def make_trainer(keras: Any) -> Any:
    """A model whose every weight stands in an object that Keras does not look into."""

    class Parts:
        def __init__(self) -> None:
            self.encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="encode")])
            self.decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="decode")])
            self.decoder.trainable = False

    class Trainer(keras.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name="trainer")
            self.parts = Parts()

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self.parts.decoder(self.parts.encoder(x)) - y) ** 2)
            weights = self.parts.encoder.trainable_weights
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Trainer()
    model.compile("sgd")
    return model


@pytest.mark.parametrize("package", KERAS)
def test_weights_outside_of_the_model(package: str) -> None:
    """A step that trains what its model does not hold is read, before `fit` by data and afterwards as it is."""
    model = make_trainer(importlib.import_module(package))
    data = (np.ones((8, 3), "float32"), np.zeros((8, 1), "float32"))
    with pytest.raises(NotBuiltError, match="has no variables yet"):
        introspect.inspect(model)
    for inspected in (True, False):
        report = introspect.inspect(model, data=data if inspected else None)
        assert report.ok
        updated = {row.path.removesuffix(":0"): row.updated for row in report.variables}
        moved = [path for path, one in updated.items() if one == "yes"]
        assert len(moved) == 2
        assert all("encode/" in path for path in moved)
        assert set(updated.values()) <= {"yes", "no"}
        before = [np.array(w) for part in (model.parts.encoder, model.parts.decoder) for w in part.weights]
        model.fit(*data, batch_size=4, verbose=0)
        after = [np.array(w) for part in (model.parts.encoder, model.parts.decoder) for w in part.weights]
        assert [bool((a != b).any()) for a, b in zip(before, after, strict=True)] == [True, True, False, False]


@pytest.mark.parametrize("eager", [False, True], ids=["compiled", "run_eagerly"])
@pytest.mark.parametrize("keeps", ["tensor", "array"])
def test_a_layer_that_keeps_a_tensor_of_its_build(keeps: str, eager: bool) -> None:
    """Keras 3 builds it while it traces, and the second trace refuses that tensor; not so where the step runs eagerly."""
    import keras

    class Shift(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],))
            self.shift = keras.ops.ones((shape[-1],)) if keeps == "tensor" else np.ones(shape[-1], "float32")

        def call(self, values: Any) -> Any:
            return values * self.scale + self.shift

    model = keras.Sequential([Shift(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=eager)
    data = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    if keeps == "tensor" and not eager:
        with pytest.raises(StepError, match="keeps a tensor that it made while it was traced"):
            introspect.inspect(model, data=data)
        with pytest.raises(ValueError, match="is out of scope and cannot be used here"):
            model.fit(*data, verbose=0)
        return
    assert introspect.inspect(model, data=data).ok
    model.fit(*data, verbose=0)
    assert introspect.inspect(model).ok


@pytest.mark.parametrize("kind", KERAS)
@pytest.mark.parametrize("beside", [False, True], ids=["call makes all", "the step makes more"])
def test_the_step_is_not_traced_for_variables_that_the_call_makes(
    kind: str, beside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first look traces the step once; where the step builds a layer that the call leaves out, twice."""
    keras, real, traced = importlib.import_module(kind), making.make_by_step, list[Any]()
    monkeypatch.setattr(making, "make_by_step", lambda *given: traced.append(given) or real(*given))

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = keras.layers.Dense(4), keras.layers.Dense(1) if beside else None

        def call(self, x: Any, training: Any = None) -> Any:
            return self.a(x)

        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                out = self(x, training=True)
                loss = tf.reduce_mean((y - (out if self.b is None else self.b(out))) ** 2)
            own = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
            return {"loss": loss}

    model = Net()
    model.compile("sgd", "mse")
    report = introspect.inspect(model, data=(np.ones((4, 3), "float32"), np.ones((4, 1), "float32")))
    assert [row.updated for row in report.variables] == ["yes"] * (4 if beside else 2)
    assert len(traced) == beside
