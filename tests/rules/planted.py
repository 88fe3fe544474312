"""Models in which a gradient is cut at a known line: `# cut` marks the ops to be named, `# also` those of another way."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@dataclass(frozen=True)
class Planted:
    """A model with cuts.

    Attributes:
        build: gives (model, data).
        cuts: (op type, line) of the ops that are to be named, in their order on the way.
        others: those on another way.
        starved: beginnings of the paths of all variables that get no gradient.
    """

    build: Callable[[], tuple[Any, Any]]
    cuts: tuple[tuple[str, int], ...]
    others: tuple[tuple[str, int], ...]
    starved: tuple[str, ...]


PLANTED: dict[str, Planted] = {}


def plant(*ops: str, also: tuple[str, ...] = (), starved: tuple[str, ...] = ("enc/",)) -> Any:
    """Register a builder; `ops` and `also` are the op types at its marked lines, in order."""

    def keep(build: Callable[[], tuple[Any, Any]]) -> Callable[[], tuple[Any, Any]]:
        lines, first = inspect.getsourcelines(build)
        marked = {
            mark: [first + i for i, line in enumerate(lines) for _ in range(line.count(mark))]
            for mark in ("# cut", "# also")
        }
        cuts = tuple(zip(ops, marked["# cut"], strict=True))
        others = tuple(zip(also, marked["# also"], strict=True))
        PLANTED[build.__name__] = Planted(build, cuts, others, starved)
        return build

    return keep


class Block(keras.layers.Layer):
    """A layer of one function, so that the function's line is the op's."""

    def __init__(self, function: Callable[..., Any], **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, *values: Any) -> Any:
        return self.function(*values)


def batches(*shapes: tuple[int, ...], y: tuple[int, ...] = (1,)) -> tf.data.Dataset:
    draw = np.random.default_rng(0)
    arrays = [draw.random((4, *shape), dtype="float32") for shape in (*shapes, y)]
    *x, target = arrays
    return tf.data.Dataset.from_tensors((x[0] if len(x) == 1 else tuple(x), target))


def through(function: Callable[[Any], Any], optimizer: Any = "sgd", **settings: Any) -> tuple[Any, Any]:
    """enc, then the function, then head; `settings` are those of compile."""
    x = keras.Input((4,))
    h = keras.layers.Dense(5, activation="tanh", name="enc")(x)
    h = Block(function, name="block")(h)
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile(optimizer, "mse", **settings)
    return model, batches((4,))


@plant("StopGradient")
def stop_gradient():
    return through(lambda h: tf.stop_gradient(h) * 2.0)  # cut


@plant("Round")
def rounding():
    return through(lambda h: tf.round(h * 3.0) / 3.0)  # cut


@plant("Floor")
def flooring():
    return through(lambda h: tf.floor(h * 3.0) / 3.0)  # cut


@plant("Cast")
def cast_to_integer():
    def quantize(h):
        whole = tf.cast(h * 10.0, tf.int32)  # cut
        return tf.cast(whole, tf.float32) / 10.0

    return through(quantize)


@plant("Greater")
def comparison():
    def gate(h):
        on = h > 0.0  # cut
        return tf.cast(on, tf.float32)

    return through(gate)


@plant("ArgMax")
def argmax_one_hot():
    def choose(h):
        best = tf.argmax(h, axis=-1)  # cut
        return tf.one_hot(best, 5)

    return through(choose)


@plant("TopKV2")
def top_k_indices():
    def choose(h):
        best = tf.math.top_k(h, k=2).indices  # cut
        return tf.reduce_sum(tf.one_hot(best, 5), axis=1)

    return through(choose)


@plant("LowerBound")
def search_sorted():
    def bucket(h):
        edges = tf.zeros_like(h) + tf.constant([0.1, 0.2, 0.3, 0.4, 0.5])
        found = tf.searchsorted(edges, h)  # cut
        return tf.one_hot(found, 6)[:, 0, :5]

    return through(bucket)


@plant("PyFunc")
def numpy_function():
    def by_numpy(h):
        doubled = tf.numpy_function(lambda a: a * 2, [h], tf.float32)  # cut
        return tf.ensure_shape(doubled, [None, 5])

    return through(by_numpy)


@plant("EagerPyFunc")
def py_function_of_integers():
    def count(h):
        whole = tf.py_function(lambda a: tf.cast(a * 3.0, tf.int32), [h], tf.int32)  # cut
        return tf.ensure_shape(tf.cast(whole, tf.float32), [None, 5])

    return through(count)


@plant("EagerPyFunc")
def whole_output_of_a_mixed_py_function():
    def count(h):
        both = tf.py_function(lambda a: (a * 2.0, tf.cast(a * 3.0, tf.int32)), [h], [tf.float32, tf.int32])  # cut
        return tf.ensure_shape(tf.cast(both[1], tf.float32), [None, 5])

    return through(count)


@plant("EagerPyFunc")
def whole_output_before_a_real_one():
    def count(h):
        both = tf.py_function(lambda a: (tf.argmax(a, axis=-1), a * 2.0), [h], [tf.int64, tf.float32])  # cut
        return tf.one_hot(tf.ensure_shape(both[0], [None]), 5)

    return through(count)


@plant(starved=())
def real_output_of_a_mixed_py_function():
    def double(h):
        both = tf.py_function(lambda a: (tf.argmax(a, axis=-1), a * 2.0), [h], [tf.int64, tf.float32])
        return tf.ensure_shape(both[1], [None, 5])

    return through(double)


@plant(starved=())
def both_outputs_of_a_mixed_py_function():
    def double(h):
        both = tf.py_function(lambda a: (tf.argmax(a, axis=-1), a * 2.0), [h], [tf.int64, tf.float32])
        return tf.ensure_shape(both[1], [None, 5]) + tf.one_hot(tf.ensure_shape(both[0], [None]), 5)

    return through(double)


@plant("PyFunc")
def real_output_of_a_mixed_numpy_function():
    def double(h):
        both = tf.numpy_function(lambda a: (a.argmax(-1), a * 2), [h], [tf.int64, tf.float32])  # cut
        return tf.ensure_shape(both[1], [None, 5])

    return through(double)


@plant("PyFunc", "Greater")
def two_behind_a_mixed_numpy_function():
    def gate(h):
        both = tf.numpy_function(lambda a: (a.argmax(-1), a * 2), [h], [tf.int64, tf.float32])  # cut
        on = tf.ensure_shape(both[1], [None, 5]) > 0.5  # cut
        return tf.cast(on, tf.float32)

    return through(gate)


@plant("PyFunc")
def one_behind_a_mixed_numpy_function():
    def choose(h):
        both = tf.numpy_function(lambda a: (a * 2, a.argmax(-1)), [h], [tf.float32, tf.int64])  # cut
        on = tf.ensure_shape(both[1], [None]) > 2
        return tf.cast(on, tf.float32)[:, None] * tf.ones((1, 5))

    return through(choose)


@plant("Multinomial")
def sampling():
    def draw(h):
        drawn = tf.random.categorical(h, 1)  # cut
        return tf.one_hot(drawn[:, 0], 5)

    return through(draw)


@plant("AsString")
def strings():
    def spell(h):
        said = tf.strings.as_string(h)  # cut
        return tf.strings.to_number(said)

    return through(spell)


@plant("StopGradient")
def two_of_one_line():
    def both(h):
        left, right = tf.nest.map_structure(tf.stop_gradient, [h * 2.0, h * 3.0])  # cut
        return left + right

    return through(both)


@plant("StopGradient", starved=("enc/", "head/"))
def in_the_loss():
    x = keras.Input((4,))
    out = keras.layers.Dense(1, name="head")(keras.layers.Dense(5, name="enc")(x))
    model = keras.Model(x, [out, keras.layers.Dense(1, name="aux")(x)], name="m")

    def blind(y, p):
        return tf.reduce_mean(tf.square(y - tf.stop_gradient(p)))  # cut

    model.compile("sgd", [blind, "mse"])
    y = np.ones((4, 1), "float32")
    return model, tf.data.Dataset.from_tensors((np.ones((4, 4), "float32"), (y, y)))


@plant("StopGradient")
def in_add_loss():
    class Penalty(keras.layers.Layer):
        def call(self, h, aside):
            self.add_loss(tf.reduce_mean(tf.stop_gradient(aside)))  # cut
            return h

    x = keras.Input((4,))
    h = Penalty(name="penalty")(x, keras.layers.Dense(5, name="enc")(x))
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, batches((4,))


@plant("Round")
def in_a_lambda():
    x = keras.Input((4,))
    h = keras.layers.Dense(5, name="enc")(x)
    h = keras.layers.Lambda(lambda v: tf.round(v), name="block")(h)  # cut
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, batches((4,))


@plant("IdentityN")
def custom_gradient_of_nothing():
    @tf.custom_gradient
    def swallow(h):
        return h * 2.0, lambda upstream: None

    return through(lambda h: swallow(h))  # cut


@plant("AssignVariableOp")
def assign():
    class Store(keras.layers.Layer):
        def build(self, shape):
            self.held = self.add_weight(shape=(4, 5), trainable=False, name="held")

        def call(self, h):
            self.held.assign(h)  # cut
            return tf.convert_to_tensor(self.held) * 2.0

    x = keras.Input((4,), batch_size=4)
    h = Store(name="store")(keras.layers.Dense(5, name="enc")(x))
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, batches((4,))


@plant("AssignVariableOp", starved=("store/scale",))
def assign_of_weights():
    """What is stored is made of variables alone, as an average is."""

    class Store(keras.layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(4,), initializer="ones", name="scale")
            self.held = self.add_weight(shape=(4,), initializer="zeros", trainable=False, name="held")

        def call(self, h):
            self.held.assign_add(self.scale)  # cut
            return h * self.held

    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1, name="head")(Store(name="store")(x)), name="m")
    model.compile("sgd", "mse")
    return model, batches((4,))


@plant("StopGradient", "Round")
def two_in_series():
    def twice(h):
        h = tf.stop_gradient(h)  # cut
        h = tf.tanh(h)
        return tf.round(h * 3.0)  # cut

    return through(twice)


@plant("StopGradient", also=("Round",))
def two_in_parallel():
    def both(h):
        left = tf.stop_gradient(h)  # cut
        right = tf.round(h * 3.0)  # also
        return tf.concat([left * 2.0, right], axis=-1)

    return through(both)


@plant("Round", also=("StopGradient", "ArgMax"))
def cheap_way_beside_a_long_one():
    def both(h):
        best = tf.argmax(tf.stop_gradient(h), axis=-1)  # also # also
        left = tf.one_hot(best, 5)
        right = tf.round(h * 3.0)  # cut
        return left + right * tf.ones_like(h)

    return through(both)


@plant("StopGradient")
def linear_tail():
    """No op of the backward pass reads the cut value: the loss is its mean."""
    x = keras.Input((4,))
    kept = keras.layers.Dense(1, name="head")(x)
    cut = Block(lambda h: tf.stop_gradient(h), name="block")(keras.layers.Dense(1, name="enc")(x))  # cut
    model = keras.Model(x, keras.layers.Add()([kept, cut]), name="m")
    model.compile("sgd", loss=lambda y, p: tf.reduce_mean(p))
    return model, batches((4,))


@plant("StopGradient")
def checked_numbers():
    def check(h):
        h = tf.debugging.check_numerics(h, "bad")
        return tf.stop_gradient(h)  # cut

    return through(check)


@plant("StopGradient", starved=("emb/", "rnn/"))
def behind_a_loop():
    x = keras.Input((6,), dtype="int32")
    h = keras.layers.Embedding(7, 4, name="emb")(x)
    h = keras.layers.LSTM(5, name="rnn")(h)
    h = Block(lambda v: tf.stop_gradient(v), name="block")(h)  # cut
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, tf.data.Dataset.from_tensors((np.ones((4, 6), "int32"), np.ones((4, 1), "float32")))


@plant(starved=())
def inside_a_loop():
    """TensorFlow's gradient of a loop hands back zeros, not nothing."""

    def recur(h):
        total = tf.zeros_like(h)
        for _ in tf.range(tf.shape(h)[0]):
            total = total * 0.5 + tf.stop_gradient(h)
        return total

    return through(tf.function(recur))


@plant("Round")
def inside_nested_functions():
    @tf.function
    def inner(h):
        return tf.round(h * 4.0)  # cut

    @tf.function
    def outer(h):
        return inner(h) * 2.0

    return through(lambda h: outer(h))


@plant("StopGradient", also=("Greater", "StopGradient"))
def inside_both_branches():
    def choose(h):
        return tf.cond(
            tf.reduce_sum(h) > 0.0,  # also
            lambda: tf.stop_gradient(h) * 2.0,  # cut
            lambda: tf.stop_gradient(h) * 3.0,  # also
        )

    return through(choose)


@plant("Greater", starved=("gate/",))
def branch_decided_by_a_variable():
    def choose(h, gate):
        on = tf.reduce_sum(gate) > 0.0  # cut
        return tf.cond(on, lambda: h * 2.0, lambda: h * 3.0)

    x = keras.Input((4,))
    h = keras.layers.Dense(5, name="enc")(x)
    h = Block(choose, name="block")(h, keras.layers.Dense(1, name="gate")(x))
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, batches((4,))


@plant(starved=("enc/",))
def shape_only():
    x = keras.Input((4,))
    rows = Block(lambda h: tf.cast(tf.shape(h)[0], tf.float32), name="rows")(keras.layers.Dense(5, name="enc")(x))
    h = Block(lambda v, n: v * n, name="scale")(x, rows)
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, batches((4,))


@plant(
    "ArgMax",
    starved=("embed/", *(f"q{i}/" for i in range(6)), *(f"f{i}/" for i in range(6)), *(f"n{i}/" for i in range(6))),
)
def transformer_of_twelve_layers():
    x = keras.Input((5,), dtype="int32")
    h = keras.layers.Embedding(9, 8, name="embed")(x)
    for i in range(12):
        a = keras.layers.MultiHeadAttention(2, 4, name=f"q{i}")(h, h)
        h = keras.layers.LayerNormalization(name=f"n{i}")(keras.layers.Add()([h, a]))
        h = keras.layers.Add()([h, keras.layers.Dense(8, activation="gelu", name=f"f{i}")(h)])
        if i == 5:
            h = Block(lambda v: tf.one_hot(tf.argmax(v, axis=-1), 8), name="route")(h)  # cut
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h[:, 0]), name="m")
    model.compile("adam", "mse")
    return model, tf.data.Dataset.from_tensors((np.ones((4, 5), "int32"), np.ones((4, 1), "float32")))


@plant("StopGradient", starved=("skip1/",))
def unet_with_a_detached_skip():
    def double(h, width, name):
        return keras.layers.Conv2D(width, 3, padding="same", activation="relu", name=name)(h)

    x = h = keras.Input((16, 16, 1))
    skips = []
    for i, width in enumerate((2, 4, 8)):
        h = double(h, width, f"down{i}")
        skips.append(keras.layers.Conv2D(width, 1, name=f"skip{i}")(h))
        h = keras.layers.MaxPooling2D()(h)
    h = double(h, 8, "middle")
    skips[1] = Block(lambda v: tf.stop_gradient(v), name="detach")(skips[1])  # cut
    for i, width in reversed(list(enumerate((2, 4, 8)))):
        h = keras.layers.Concatenate()([keras.layers.UpSampling2D()(h), skips[i]])
        h = double(h, width, f"up{i}")
    model = keras.Model(x, keras.layers.Conv2D(1, 1, name="head")(h), name="unet")
    model.compile("adam", "mse")
    return model, batches((16, 16, 1), y=(16, 16, 1))


@plant("StopGradient")
def two_steps_per_execution():
    return through(lambda h: tf.stop_gradient(h), steps_per_execution=2)  # cut


@plant("ArgMax")
def compiled_by_xla():
    return through(lambda h: tf.one_hot(tf.argmax(h, axis=-1), 5), jit_compile=True)  # cut


@plant("StopGradient")
def clipped_by_the_global_norm():
    optimizer = keras.optimizers.AdamW(global_clipnorm=1.0, weight_decay=0.1)
    return through(lambda h: tf.stop_gradient(h), optimizer)  # cut


@plant("StopGradient")
def scaled_loss():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())
    return through(lambda h: tf.stop_gradient(h), optimizer)  # cut


@plant("Round")
def in_a_replica():
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        return through(lambda h: tf.round(h * 3.0))  # cut


@plant("IdentityN")
def own_gradient_between_those_of_silu():
    @tf.custom_gradient
    def swallow(h):
        return h * 2.0, lambda upstream: None

    return through(lambda h: tf.nn.silu(swallow(tf.nn.silu(h))))  # cut


class Cell(keras.layers.Layer):
    """A recurrent cell whose input is detached."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.state_size = self.output_size = 3

    def build(self, shape: Any) -> None:
        self.inward = self.add_weight(shape=(shape[-1], 3), name="inward")
        self.recurrent = self.add_weight(shape=(3, 3), name="recurrent")

    def call(self, h: Any, states: Any) -> Any:
        h = tf.stop_gradient(h @ self.inward) + states[0] @ self.recurrent
        return h, [h]


@plant(starved=())
def in_a_cell_that_is_looped():
    """TensorFlow's gradient of a loop hands back zeros, not nothing."""
    x = keras.Input((5, 4))
    h = keras.layers.RNN(Cell(name="cell"), name="rnn")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="head")(h), name="m")
    model.compile("sgd", "mse")
    return model, batches((5, 4))
