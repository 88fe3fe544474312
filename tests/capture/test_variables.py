"""Rows of variables: order, roles, paths, flags, owners, and the graph's captures that belong to them."""

from __future__ import annotations

import gc
import importlib
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model  # noqa: E402
from introspect.capture.record import Capture, CapturedVariable  # noqa: E402
from tests.capture import zoo  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)
ROLES = {"model": 0, "untracked": 1, "optimizer": 2, "metric": 2}


def row(capture: Capture, path: str) -> CapturedVariable:
    (found,) = [variable for variable in capture.variables if variable.path.removesuffix(":0") == path]
    return found


def with_role(capture: Capture, role: str) -> list[str]:
    return [variable.path.removesuffix(":0") for variable in capture.variables if variable.role == role]


@pytest.mark.parametrize("build", zoo.BUILDERS, ids=lambda build: build.__name__)
@PACKAGES
def test_every_captured_variable_has_a_row(package: Any, build: zoo.Builder) -> None:
    model, data = build(package)
    model.fit(*data, batch_size=4, verbose=0)
    capture = capture_model(model)
    orders = [ROLES[variable.role] for variable in capture.variables]
    assert orders == sorted(orders)
    assert len({variable.path for variable in capture.variables}) == len(capture.variables)
    assert with_role(capture, "untracked") == []
    assert len(with_role(capture, "model")) == len({id(variable) for variable in model.variables})
    trained = {id(variable) for variable in model.trainable_variables}
    assert sum(variable.expected for variable in capture.variables) == len(trained)
    for trace, probe in zip(capture.traces, capture.probes, strict=True):
        resources = [inside for _, inside in probe.root.captures if inside.dtype == tf.resource]  # type: ignore[union-attr]
        assert len(trace.bindings) == len(resources)


@PACKAGES
def test_repeated_paths_are_numbered(package: Any) -> None:
    inputs = package.Input((3,))
    halves = [package.Sequential([package.layers.Input((3,)), package.layers.Dense(2, name="d")]) for _ in range(3)]
    outputs = package.layers.Add(name="add")([half(inputs) for half in halves])
    model = package.Model(inputs, outputs, name="m")
    for half in halves:
        for variable in half.variables:
            assert variable.shape
    model.compile("sgd", "mse")
    capture = capture_model(model)
    paths = [variable.path for variable in capture.variables if variable.role == "model"]
    assert len(set(paths)) == 6
    if package is tf_keras:
        assert paths == ["d/kernel:0", "d/bias:0", "d/kernel:0#2", "d/bias:0#2", "d/kernel:0#3", "d/bias:0#3"]
        assert [layer.path for layer in capture.layers if layer.name == "d"][1:] != []


@PACKAGES
def test_flags_are_told_apart(package: Any) -> None:
    model, _ = zoo.plain(package)
    model.get_layer("hid").trainable = False
    capture = capture_model(model)
    kernel, out = (next(v for v in capture.variables if part in v.path) for part in ("hid/kernel", "out/kernel"))
    assert (kernel.expected, out.expected) == (False, True)
    assert (kernel.watched, out.watched) == (True, True)
    assert kernel.trainable == (package is tf_keras)
    statistics = next(v for v in capture.variables if "moving_mean" in v.path)
    assert (statistics.trainable, statistics.expected, statistics.watched) == (False, False, False)


def test_a_weight_made_untrainable_is_not_watched_though_its_flag_says_so() -> None:
    class Scale(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def build(self, shape: Any) -> None:
            self.s = self.add_weight(shape=(), initializer="ones", trainable=False, name="s")

        def call(self, x: Any) -> Any:
            return x * self.s

    model = keras.Sequential([keras.layers.Input((4,)), Scale(name="scale"), keras.layers.Dense(1)], name="m")
    model.get_layer("scale").s.trainable = True
    model.compile("sgd", "mse")
    found = row(capture_model(model), "m/scale/s")
    assert (found.trainable, found.expected, found.watched) == (True, True, False)


def test_seeds_are_marked() -> None:
    model, _ = zoo.plain(keras)
    seeds = [variable.path for variable in capture_model(model).variables if variable.seed]
    assert len(seeds) == 1
    assert seeds[0].endswith("seed_generator_state")


@PACKAGES
def test_an_untracked_layer_is_found_with_its_name(package: Any) -> None:
    class Net(package.Model):  # type: ignore[misc,name-defined]
        hidden = [package.layers.Dense(4, name="hidden")]  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__(name="net")
            self.head = package.layers.Dense(1, name="head")

        def call(self, x: Any) -> Any:
            return self.head(self.hidden[0](x))

    model = Net()
    x, y = zoo.arrays()
    model(x)
    model.compile("sgd", "mse")
    for capture in (capture_model(model), capture_model(model, (x, y))):
        untracked = [variable for variable in capture.variables if variable.role == "untracked"]
        assert [variable.path.removesuffix(":0") for variable in untracked] == ["net/hidden/kernel", "net/hidden/bias"]
        assert all(v.watched and v.trainable and v.expected and v.layer == "hidden" for v in untracked)


def test_a_variable_that_is_only_written_is_found() -> None:
    class Note:
        last = tf.Variable(0.0, trainable=False, name="last")

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.head = keras.layers.Dense(1, name="head")

        def call(self, x: Any) -> Any:
            y = self.head(x)
            Note.last.assign(tf.reduce_mean(y))
            return y

    model = Net()
    x, y = zoo.arrays()
    model(x)
    model.compile("sgd", "mse")
    capture = capture_model(model, (x, y))
    assert with_role(capture, "untracked") == ["last"]


def test_tables_and_iterators_are_no_variables() -> None:
    class Look(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="look")
            keys = tf.constant([0, 1], tf.int64)
            values = tf.constant([1.0, 2.0])
            self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0.0)

        def call(self, x: Any) -> Any:
            return x * self.table.lookup(tf.cast(x, tf.int64))

    model = keras.Sequential([keras.layers.Input((4,)), Look(), keras.layers.Dense(1, name="out")], name="m")
    model.compile("sgd", "mse")
    assert with_role(capture_model(model), "untracked") == []


def test_an_optimizer_that_only_the_graph_knows() -> None:
    holder = {"optimizer": keras.optimizers.SGD(0.1, momentum=0.9, name="hidden_sgd")}

    class Net(keras.Sequential):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
            variables = self.trainable_variables
            holder["optimizer"].apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return {"loss": loss}

    model = Net([keras.layers.Input((4,)), keras.layers.Dense(1, name="out")], name="m")
    model.compile("adam", "mse")
    x, y = zoo.arrays()
    fresh = capture_model(model, (x, y))
    assert [(o.name, o.current, o.built) for o in fresh.optimizers][1:] == [("hidden_sgd", False, False)]
    assert not holder["optimizer"].built
    assert len(holder["optimizer"].variables) == 2
    model.fit(x, y, verbose=0)
    capture = capture_model(model)
    known = {optimizer.name: optimizer for optimizer in capture.optimizers}
    assert known["hidden_sgd"].built
    assert [slot.name for slot in known["hidden_sgd"].slots] == ["momentum", "momentum"]
    assert with_role(capture, "untracked") == []


def test_copies_of_an_earlier_look_own_nothing() -> None:
    gc.disable()
    try:
        test_an_optimizer_that_only_the_graph_knows()
        test_an_optimizer_that_only_the_graph_knows()
    finally:
        gc.enable()


def test_the_optimizer_replaced_without_compile_is_still_known() -> None:
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1, name="out")], name="m")
    model.compile(keras.optimizers.SGD(0.0, momentum=0.5, name="old"), "mse")
    model.fit(*zoo.arrays(), verbose=0)
    model.optimizer = keras.optimizers.Adam(name="new")
    capture = capture_model(model)
    assert [(optimizer.name, optimizer.current) for optimizer in capture.optimizers] == [("new", True), ("old", False)]
    assert len(capture.optimizers[1].slots) == 2


@PACKAGES
def test_the_layer_tree(package: Any) -> None:
    shared = package.layers.Dense(4, name="shared")
    inner = package.Sequential([package.layers.Input((4,)), shared, package.layers.Dense(4, name="own")], name="inner")
    inputs = package.Input((4,))
    outputs = package.layers.Dense(1, name="out")(inner(shared(inputs)))
    model = package.Model(inputs, outputs, name="m")
    model.compile("sgd", "mse")
    capture = capture_model(model)
    rows = {layer.name: layer for layer in capture.layers}
    assert [layer.name for layer in capture.layers].count("shared") == 1
    assert rows["m"].parent is None
    assert rows["inner"].parent == "m"
    assert rows["own"].parent == "m/inner"
    assert rows["own"].path == "m/inner/own"
    assert len(rows["shared"].variables) == 2
    assert rows["inner"].variables == ()
    paths = {variable.path for variable in capture.variables}
    assert all(set(layer.variables) <= paths for layer in capture.layers)


def test_layers_in_containers_are_those_that_keras_tracks() -> None:
    model, _ = zoo.subclassed(keras)
    capture = capture_model(model)
    assert {layer.name for layer in capture.layers} == {"net", "b0", "b1"}
    assert [v.layer for v in capture.variables if v.role == "model"] == ["net/b0", "net/b0", "net/b1", "net/b1"]


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_list_of_weights_in_an_attribute_owns_none_of_them(library: str) -> None:
    """The layer that made a weight is its owner; a model's own weight stays the model's."""
    keras_like: Any = importlib.import_module(library)

    class Net(keras_like.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.inner = keras_like.layers.Dense(2, name="inner")
            self.inner.build((None, 3))
            self.listed = list(self.inner.trainable_variables)
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x: Any) -> Any:
            return self.inner(x) * self.scale

    model = Net()
    model(np.zeros((2, 3), "float32"))
    model.compile("sgd", "mse")
    capture = capture_model(model, (np.zeros((2, 3), "float32"), np.zeros((2, 2), "float32")))
    layers = {
        row.path.partition(":")[0].rpartition("/")[2]: row.layer for row in capture.variables if row.role == "model"
    }
    assert layers == {"kernel": "net/inner", "bias": "net/inner", "scale": "net"}
    owners = [row.owners for row in capture.variables if row.layer == "net/inner"]
    assert owners == [("net/inner", "net")] * 2
