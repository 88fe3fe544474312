"""How models are put together, and what is done to them between two fits."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.matrix.cells import Cell
from tests.matrix.models import Built, dense_model, find_layer, freeze, make_data, unfreeze
from tests.oracle import Asked, randomize

pytestmark = pytest.mark.tf

layers = keras.layers


def compiled(make: Callable[[], Any], data: Any = make_data, optimizer: Any = "adam") -> Callable[[], Built]:
    def build() -> Built:
        model = make()
        if not model.built:
            model(np.zeros((2, 3), "float32"))
        randomize(model)
        model.compile(optimizer, "mse")
        return model, data()

    return build


def sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, activation="tanh", name="a", trainable=False),
            layers.Dense(4, activation="tanh", name="b"),
            layers.Dense(1, name="c"),
        ]
    )


def lazy_sequential() -> Any:
    return keras.Sequential(
        [layers.Dense(4, name="a", trainable=False), layers.Dense(4, name="b"), layers.Dense(1, name="c")]
    )


def block(name: str, depth: int, width: int = 3, flat: bool = False) -> Any:
    """A functional model in a model, `depth` levels deep; the innermost has dense, BatchNorm and dense."""
    inputs = keras.Input((width,))
    if depth == 0:
        h = layers.Dense(3, activation="tanh", name=f"{name}_dense")(inputs)
        h = layers.BatchNormalization(name=f"{name}_norm")(h)
        return keras.Model(inputs, layers.Dense(3, name=f"{name}_out")(h), name=name)
    return keras.Model(inputs, block(f"{name}{depth}", depth - 1)(inputs), name=name)


def nested() -> Any:
    inputs = keras.Input((3,))
    h = layers.Dense(3, name="a", trainable=False)(inputs)
    return keras.Model(inputs, layers.Dense(1, name="c")(block("b", 2)(h)))


def nested_frozen() -> Any:
    inputs = keras.Input((3,))
    frozen = block("a", 2)
    frozen.trainable = False
    return keras.Model(inputs, layers.Dense(1, name="c")(layers.Dense(3, name="b")(frozen(inputs, training=False))))


def nested_sequential() -> Any:
    inner = keras.Sequential(
        [layers.Dense(3), keras.Sequential([layers.Dense(3), layers.BatchNormalization()])], name="b"
    )
    return keras.Sequential(
        [keras.Input((3,)), layers.Dense(3, name="a", trainable=False), inner, layers.Dense(1, name="c")]
    )


def shared() -> Any:
    inputs = keras.Input((3,))
    b = layers.Dense(3, activation="tanh", name="b")
    h = layers.Dense(3, name="a", trainable=False)(inputs)
    return keras.Model(inputs, layers.Dense(1, name="c")(layers.Concatenate()([b(b(h)), b(inputs)])))


class Tied(layers.Layer):
    """Output projection with the embedding's own weights."""

    def __init__(self, embedding: Any, **names: Any) -> None:
        super().__init__(**names)
        self.embedding = embedding

    def call(self, x: Any) -> Any:
        return keras.ops.matmul(x, keras.ops.transpose(self.embedding.embeddings))


def tied() -> Any:
    inputs = keras.Input((3,), dtype="int32")
    embedding = layers.Embedding(5, 4, name="b")
    h = layers.Dense(4, activation="tanh", name="a", trainable=False)(keras.ops.mean(embedding(inputs), axis=1))
    return keras.Model(inputs, layers.Dense(1, name="c")(Tied(embedding, name="tied")(h)))


def reversible() -> Any:
    inputs = keras.Input((3,), dtype="int32")
    embedding = layers.ReversibleEmbedding(5, 4, name="b")
    h = layers.Dense(4, activation="tanh", name="a", trainable=False)(keras.ops.mean(embedding(inputs), axis=1))
    return keras.Model(inputs, layers.Dense(1, name="c")(embedding(h, reverse=True)))


def integers() -> tf.data.Dataset:
    x = np.asarray([[0, 1, 2], [3, 4, 0], [1, 1, 2], [2, 3, 4]], "int32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, :1].astype("float32"))).batch(4)


def sequences() -> tf.data.Dataset:
    x = np.random.default_rng(1).normal(size=(4, 5, 3)).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, x[:, 0, :1])).batch(4)


class Listed(keras.Model):
    """Layers in lists, tuples and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.first = [layers.Dense(3, name="a", trainable=False)]
        self.second = {"x": layers.Dense(3, activation="tanh", name="b"), "y": (layers.Dense(3, name="d"),)}
        self.last = layers.Dense(1, name="c")

    def call(self, x: Any) -> Any:
        h = self.second["x"](self.first[0](x))
        return self.last(h + self.second["y"][0](x))


class Hidden(keras.Model):
    """A layer where Keras does not look."""

    def __init__(self) -> None:
        super().__init__()
        self.a = layers.Dense(3, name="a", trainable=False)
        self.b = layers.Dense(3, activation="tanh", name="b")
        self.rows = SimpleNamespace(lost=layers.Dense(3, name="lost"))
        self.c = layers.Dense(1, name="c")

    def call(self, x: Any) -> Any:
        return self.c(self.rows.lost(self.b(self.a(x))))


def lost(model: Any) -> list[Any]:
    return list(model.rows.lost.variables)


class Unused(Hidden):
    """A tracked layer whose result is dropped, and one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped, self.idle = layers.Dense(3, name="dropped"), layers.Dense(3, name="idle")
        self.idle.build((None, 3))

    def call(self, x: Any) -> Any:
        self.dropped(x)
        return self.c(self.b(self.a(x)))


class Cut(keras.Model):
    """argmax, round and a cast stand between a layer and the loss."""

    def __init__(self, cut: Callable[[Any], Any]) -> None:
        super().__init__()
        self.a = layers.Dense(3, name="a", trainable=False)
        self.d = layers.Dense(3, name="d")
        self.b = layers.Dense(3, activation="tanh", name="b")
        self.c = layers.Dense(1, name="c")
        self.cut = cut

    def call(self, x: Any) -> Any:
        return self.c(self.b(self.a(x)) + self.cut(self.d(x)))


CUTS: dict[str, Callable[[Any], Any]] = {
    "round": lambda h: tf.round(h),
    "floor": lambda h: tf.floor(h),
    "argmax": lambda h: tf.one_hot(tf.argmax(h, -1), 3),
    "cast": lambda h: tf.cast(tf.cast(h, tf.int32), tf.float32),
    "compare": lambda h: tf.cast(h > 0.0, tf.float32),
    "stop": lambda h: tf.stop_gradient(h),
    "keras stop": lambda h: keras.ops.stop_gradient(h),
    "top_k indices": lambda h: tf.cast(tf.math.top_k(h, 3).indices, tf.float32),
    "numpy_function": lambda h: tf.ensure_shape(tf.numpy_function(lambda v: np.tanh(v), [h], tf.float32), (None, 3)),
    "zeros_like": lambda h: tf.zeros_like(h),
    "bucketize": lambda h: tf.cast(tf.raw_ops.Bucketize(input=h, boundaries=[0.0, 1.0]), tf.float32),
    "searchsorted": lambda h: tf.cast(tf.searchsorted(tf.sort(h, -1), h), tf.float32),
}


class Late(keras.Model):
    """Makes a layer when it is first called."""

    def __init__(self) -> None:
        super().__init__()
        self.a = layers.Dense(3, name="a", trainable=False)
        self.b = layers.Dense(3, name="b")
        self.c = layers.Dense(1, name="c")
        self.extra: Any = None

    def build(self, shape: Any) -> None:
        self.extra = layers.Dense(3, name="late")
        self.extra.build((None, 3))
        super().build(shape)

    def call(self, x: Any) -> Any:
        return self.c(self.extra(self.b(self.a(x))))


def two_owners() -> Any:
    """Layer b lives in this model and in another one."""
    model = dense_model()
    other = keras.Sequential([keras.Input((4,)), model.get_layer("b")])
    model.other = lambda: other
    return model


def lora_built() -> Any:
    model = dense_model()
    model.get_layer("a").trainable = False
    model.get_layer("b").enable_lora(2)
    return model


def enable_lora(model: Any, data: Any) -> None:
    find_layer(model, "b").enable_lora(2)


def lora_and_compile(model: Any, data: Any) -> None:
    enable_lora(model, data)
    randomize(model)
    model.compile("adam", "mse")


def quantized(mode: str, lora: bool = False) -> Callable[[], Any]:
    def make() -> Any:
        model = dense_model(width=4)
        model.get_layer("a").trainable = False
        randomize(model)
        model.get_layer("a").quantize(mode)
        if lora:
            model.get_layer("a").trainable = True
            model.get_layer("a").enable_lora(2)
        return model

    return make


def float8() -> Built:
    model = keras.Sequential(
        [
            keras.Input((16,)),
            layers.Dense(16, name="a", activation="tanh"),
            layers.Dense(16, name="b", activation="tanh"),
            layers.Dense(1, name="c"),
        ]
    )
    randomize(model)
    model.get_layer("a").quantize("float8")
    model.compile("adam", "mse")
    return model, make_data(rows=16, width=16)


def normalized(**flags: Any) -> Callable[[], Any]:
    """BatchNorm in the state that the flags say: the layer's, and that of its weights."""

    def make() -> Any:
        model = dense_model(normalize=True)
        model.get_layer("a").trainable = False
        norm = model.get_layer("norm")
        norm.trainable = flags.get("layer", True)
        if not flags.get("weights", True):
            norm.gamma.trainable = norm.beta.trainable = False
        return model

    return make


class CallsInference(keras.Model):
    """Calls BatchNorm in inference mode, whatever its flag."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self.a = layers.Dense(3, name="a", trainable=False)
        self.b = layers.Dense(3, name="b")
        self.norm = layers.BatchNormalization(name="norm", trainable=not training)
        self.c = layers.Dense(1, name="c")
        self.mode = training

    def call(self, x: Any) -> Any:
        return self.c(self.norm(self.b(self.a(x)), training=self.mode))


def recompile(model: Any, data: Any) -> None:
    model.get_layer("b").trainable = False
    model.compile("adam", "mse")


def unfreeze_and_recompile(model: Any, data: Any) -> None:
    model.trainable = True
    find_layer(model, "a").trainable = True
    model.compile("sgd", "mse")


def recompile_same_optimizer(model: Any, data: Any) -> None:
    find_layer(model, "a").trainable = True
    model.compile(model.optimizer, "mse")


def saved(model: Any, data: Any) -> Any:
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.keras")
        model.save(path)
        return keras.models.load_model(path), data


def saved_and_unfrozen(model: Any, data: Any) -> Any:
    loaded, data = saved(model, data)
    find_layer(loaded, "a").trainable = True
    return loaded, data


def cloned(model: Any, data: Any) -> Any:
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    clone.compile("adam", "mse")
    return clone, data


def freeze_root(model: Any, data: Any) -> None:
    model.trainable = False


def new_metric(model: Any, data: Any) -> None:
    model.compile(model.optimizer, "mse", metrics=["mae"])


def evaluate(model: Any, data: Any) -> None:
    model.evaluate(data, verbose=0)
    model.predict(data, verbose=0)


def flip_variable(model: Any, data: Any) -> None:
    find_layer(model, "b").kernel.trainable = False


def flip_twice(model: Any, data: Any) -> None:
    layer = find_layer(model, "b")
    layer.trainable = False
    layer.trainable = True


def grow(model: Any, data: Any) -> Any:
    """The trained layers in a new model with a new head."""
    head = layers.Dense(1, name="head")(model.get_layer("b").output)
    new = keras.Model(model.inputs, head)
    randomize(new)
    new.compile("adam", "mse")
    return new, data


MISSING = Asked(rules=("INT104",))
BOTH = Asked(rules=("INT101", "INT104"))
CELLS: dict[str, Cell] = {
    "sequential": Cell(compiled(sequential)),
    "sequential, built late": Cell(compiled(lazy_sequential)),
    "nested three deep": Cell(compiled(nested)),
    "nested three deep, frozen": Cell(compiled(nested_frozen)),
    "nested, unfrozen inside": Cell(compiled(nested_frozen), act=unfreeze("a"), after=Asked(rules=("INT103",))),
    "nested sequential": Cell(compiled(nested_sequential)),
    "shared": Cell(compiled(shared)),
    "tied": Cell(compiled(tied, integers)),
    "reversible embedding": Cell(compiled(reversible, integers)),
    "lists and dicts": Cell(compiled(Listed)),
    "hidden": Cell(
        compiled(Hidden), Asked(rules=("INT105",), extra=lost), after=Asked(rules=("INT101", "INT105"), extra=lost)
    ),
    "unused": Cell(compiled(Unused), MISSING, after=BOTH),
    "gradient that is 0": Cell(compiled(lambda: Cut(tf.sign)), Asked(zero=("cut/d/*",))),
    "late": Cell(compiled(Late)),
    "two owners": Cell(compiled(two_owners)),
    "lora": Cell(compiled(lora_built)),
    "lora after a fit": Cell(compiled(dense_model), act=enable_lora, after=Asked()),
    "lora and compile": Cell(compiled(dense_model), act=lora_and_compile, after=Asked()),
    "int8": Cell(compiled(quantized("int8"), lambda: make_data(width=4))),
    "int8 with lora": Cell(compiled(quantized("int8", lora=True), lambda: make_data(width=4))),
    "int4": Cell(compiled(quantized("int4"), lambda: make_data(width=4))),
    "float8": Cell(float8, Asked(numeric=True)),
    "batchnorm": Cell(compiled(normalized()), Asked(kinds={"norm/moving_*": "statistics"})),
    "batchnorm, frozen": Cell(compiled(normalized(layer=False))),
    "batchnorm, weights frozen": Cell(compiled(normalized(weights=False)), Asked(arguable=False)),
    "batchnorm, frozen too late": Cell(
        compiled(normalized()), act=freeze("norm"), after=Asked(rules=("INT101", "INT102"))
    ),
    "batchnorm, inference": Cell(compiled(lambda: CallsInference(False))),
    "batchnorm, frozen and called to train": Cell(
        compiled(lambda: CallsInference(True)),
    ),
    "frozen and compiled": Cell(compiled(sequential), act=recompile, after=Asked()),
    "unfrozen and compiled": Cell(compiled(sequential), act=unfreeze_and_recompile, after=Asked()),
    "unfrozen": Cell(compiled(sequential), act=unfreeze("a"), after=Asked(rules=("INT103",))),
    "same optimizer again": Cell(compiled(sequential), act=recompile_same_optimizer, after=Asked(raises=True)),
    "saved": Cell(compiled(sequential), act=saved, after=Asked()),
    "saved and unfrozen": Cell(compiled(sequential), act=saved_and_unfrozen, after=Asked(raises=True)),
    "saved, sgd": Cell(compiled(sequential, optimizer="sgd"), act=saved_and_unfrozen, after=Asked(raises=True)),
    "cloned": Cell(compiled(sequential), act=cloned, after=Asked()),
    "root frozen": Cell(compiled(sequential), act=freeze_root),
    "same optimizer, new metrics": Cell(compiled(sequential), act=new_metric, after=Asked()),
    "evaluated": Cell(compiled(sequential), act=evaluate, after=Asked()),
    "variable frozen": Cell(compiled(sequential), act=flip_variable),
    "flipped twice": Cell(compiled(sequential), act=flip_twice, after=Asked()),
    "new head": Cell(compiled(sequential), act=grow, after=Asked()),
    **{f"cut by {name}": Cell(compiled(lambda cut=cut: Cut(cut)), MISSING, after=BOTH) for name, cut in CUTS.items()},
}


@pytest.mark.parametrize("name", CELLS)
def test_cell(name: str) -> None:
    """Healthy twice, then what is done to it."""
    assert CELLS[name].run() == []
