"""Which concrete functions are found, and which of them the next step uses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model  # noqa: E402
from introspect.capture.record import Capture  # noqa: E402
from introspect.capture.trace.current import look_up  # noqa: E402
from introspect.capture.trace.export import export_graph, export_step  # noqa: E402
from introspect.capture.trace.step import find_functions  # noqa: E402
from introspect.capture.trace.traces import list_live  # noqa: E402
from introspect.graph.parse import FunctionBody, ParsedGraph  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)


def mlp(package: Any, optimizer: Any = "sgd", **settings: Any) -> Any:
    layers = [package.layers.Input((4,)), package.layers.Dense(5, name="hid"), package.layers.Dense(1, name="out")]
    model = package.Sequential(layers, name="m")
    model.compile(optimizer, "mse", **settings)
    return model


def batch(rows: int = 8, weights: bool = False) -> tuple[Any, ...]:
    random = np.random.RandomState(0)
    parts = [random.rand(rows, 4), random.rand(rows, 1)] + ([random.rand(rows)] if weights else [])
    return tuple(part.astype("float32") for part in parts)


def dataset(rows: int = 8, weights: bool = False, static: bool = False, size: int = 4) -> Any:
    return tf.data.Dataset.from_tensor_slices(batch(rows, weights)).batch(size, drop_remainder=static)


def trained(capture: Capture) -> list[tuple[str, bool]]:
    return [(trace.id, trace.current) for trace in capture.traces]


def bound_paths(capture: Capture) -> set[str]:
    return {capture.variables[binding.variable].path for trace in capture.traces for binding in trace.bindings}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@PACKAGES
def test_one_fit_is_one_trace(package: Any, optimizer: str) -> None:
    model = mlp(package, optimizer)
    model.fit(dataset(), verbose=0)
    capture = capture_model(model)
    assert trained(capture) == [("fit/1", True)]
    assert capture.source == "compiled"
    assert capture.traces[0].signature == "(float32[?, 4], float32[?, 1])"
    assert {variable.path for variable in capture.variables if variable.role == "model"} <= bound_paths(capture)


def call_fit(model: Any, **settings: Any) -> None:
    model.fit(dataset(), verbose=0, **settings)


def call_train_on_batch(model: Any) -> None:
    model.train_on_batch(*batch())


@pytest.mark.parametrize("call", [call_fit, call_train_on_batch])
@PACKAGES
def test_a_trace_knows_the_call_that_made_it(package: Any, call: Any) -> None:
    """The line of the user's own call, neither Keras' nor a later one's that used the same trace."""
    model = mlp(package, "adam")
    call(model)
    call(model)
    place = capture_model(model).traces[0].location
    assert place is not None
    assert (place.file, place.function) == (__file__, call.__name__)
    assert place.line == call.__code__.co_firstlineno + 1


def test_a_trace_of_introspects_own_names_no_call() -> None:
    assert capture_model(mlp(keras), dataset()).traces[0].location is None


def test_the_first_trace_that_made_slots_is_dead() -> None:
    model = mlp(keras, "adam")
    model.train_on_batch(*batch())
    inner = find_functions(model, "keras").inner
    assert len(inner._function_cache) == 2
    assert len(list_live(inner)) == 1
    assert trained(capture_model(model)) == [("train_on_batch/1", True)]


def test_fit_and_train_on_batch_have_traces_of_their_own() -> None:
    model = mlp(keras, "adam")
    model.fit(dataset(), verbose=0)
    model.train_on_batch(*batch())
    assert trained(capture_model(model)) == [("fit/1", False), ("train_on_batch/1", True)]
    assert trained(capture_model(model, dataset())) == [("fit/1", True), ("train_on_batch/1", False)]


def test_train_on_batch_of_another_size_is_a_second_trace() -> None:
    model = mlp(keras)
    model.train_on_batch(*batch(8))
    model.train_on_batch(*batch(4))
    capture = capture_model(model)
    assert trained(capture) == [("train_on_batch/1", False), ("train_on_batch/2", True)]
    assert [trace.signature for trace in capture.traces] == [
        "(float32[8, 4], float32[8, 1], None)",
        "(float32[?, 4], float32[?, 1], None)",
    ]


def test_fit_calls_the_stale_trace_that_train_on_batch_left() -> None:
    model = mlp(keras)
    model.train_on_batch(*batch(8, weights=True))
    model.get_layer("hid").trainable = False
    static = dataset(8, weights=True, static=True, size=8)
    capture = capture_model(model, static)
    assert trained(capture) == [("train_on_batch/1", True)]
    assert not capture.retraces
    before = model.get_layer("hid").kernel.numpy()
    model.fit(static, verbose=0)
    assert (model.get_layer("hid").kernel.numpy() != before).any()


def test_fit_of_pairs_does_not_call_it() -> None:
    model = mlp(keras)
    model.train_on_batch(*batch(8, weights=True))
    model.get_layer("hid").trainable = False
    pairs = dataset(8, static=True, size=8)
    capture = capture_model(model, pairs)
    assert trained(capture) == [("train_on_batch/1", False), ("fit/1", True)]
    assert capture.retraces
    before = model.get_layer("hid").kernel.numpy()
    model.fit(pairs, verbose=0)
    assert (model.get_layer("hid").kernel.numpy() == before).all()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {}),
        ({}, {"static": True}),
        ({}, {"weights": True}),
        ({"static": True}, {"static": True}),
        ({"static": True}, {}),
        ({"static": True}, {"static": True, "size": 2}),
        ({"weights": True}, {}),
    ],
    ids=str,
)
@PACKAGES
def test_a_retrace_is_foreseen(package: Any, first: dict[str, Any], second: dict[str, Any]) -> None:
    model = mlp(package, "adam")
    model.fit(dataset(**first), verbose=0)
    capture = capture_model(model, dataset(**second))
    count = count_traces(model, package)
    model.fit(dataset(**second), verbose=0)
    assert capture.retraces == (count_traces(model, package) > count)
    assert sum(trace.current for trace in capture.traces) == 1
    assert [trace.source for trace in capture.traces if trace.current] == ["traced" if capture.retraces else "compiled"]


def count_traces(model: Any, package: Any) -> int:
    return len(find_functions(model, package.__name__).outer._function_cache)


@PACKAGES
def test_arrays_are_looked_up_as_fit_takes_them(package: Any) -> None:
    for rows in (8, 32, 33, 64):
        model = mlp(package)
        model.fit(*batch(rows), verbose=0)
        capture = capture_model(model, batch(rows))
        assert trained(capture) == [("fit/1", True)], rows
        assert not capture.retraces


@PACKAGES
def test_batch_size_is_that_of_fit(package: Any) -> None:
    model = mlp(package)
    model.fit(*batch(8), batch_size=2, verbose=0)
    assert capture_model(model, batch(8)).retraces
    assert not capture_model(model, batch(8), batch_size=2).retraces


@PACKAGES
def test_a_model_that_was_never_fitted_is_traced(package: Any) -> None:
    model = mlp(package, "adam")
    capture = capture_model(model)
    assert capture.source == "traced"
    assert trained(capture) == [("fit/1", True)]
    assert capture.traces[0].signature == "(float32[?, 4], float32[?, 1])"
    (optimizer,) = capture.optimizers
    assert not optimizer.built
    assert len(optimizer.tracks) == 4
    assert {slot.name for slot in optimizer.slots} in ({"momentum", "velocity"}, {"m", "v"})
    assert model.train_function is None
    assert not getattr(model.optimizer, "built", getattr(model.optimizer, "_built", False))


@PACKAGES
def test_made_up_targets_fit_the_loss(package: Any) -> None:
    layers = [package.layers.Input((4,)), package.layers.Dense(3, activation="softmax", name="out")]
    model = package.Sequential(layers, name="m")
    for loss, signature in (
        ("sparse_categorical_crossentropy", "(float32[?, 4], int64[?])"),
        ("categorical_crossentropy", "(float32[?, 4], float32[?, 3])"),
        (package.losses.SparseCategoricalCrossentropy(), "(float32[?, 4], int64[?])"),
    ):
        model.compile("sgd", loss, metrics=["accuracy"])
        assert capture_model(model).traces[0].signature == signature


@PACKAGES
def test_made_up_batches_have_the_size_asked_for(package: Any) -> None:
    assert capture_model(mlp(package), batch_size=16).traces[0].signature == "(float32[16, 4], float32[16, 1])"


@PACKAGES
def test_run_eagerly_is_traced_in_isolation(package: Any) -> None:
    model = mlp(package, run_eagerly=True)
    model.fit(dataset(), verbose=0)
    capture = capture_model(model, dataset())
    assert capture.source == "eager"
    assert [(trace.source, trace.current) for trace in capture.traces] == [("eager", True)]
    assert capture.model.run_eagerly


@PACKAGES
def test_the_switch_that_runs_functions_eagerly(package: Any) -> None:
    model = mlp(package)
    model.fit(dataset(), verbose=0)
    tf.config.run_functions_eagerly(True)
    try:
        capture = capture_model(model, dataset())
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)
    assert capture.source == "eager"
    assert len(capture.traces) == 1


@pytest.mark.parametrize("settings", [{}, {"jit_compile": True}, {"steps_per_execution": 3}], ids=str)
@PACKAGES
def test_settings_of_compile_are_told(package: Any, settings: dict[str, Any]) -> None:
    model = mlp(package, **settings)
    for capture in (capture_model(model), capture_model(model, dataset())):
        assert capture.model.jit_compile == capture.traces[0].jit == bool(settings.get("jit_compile"))
        assert capture.model.steps_per_execution == settings.get("steps_per_execution", 1)


def test_a_train_function_of_the_users() -> None:
    class Own(keras.Sequential):  # type: ignore[misc,name-defined]
        def make_train_function(self, force: bool = False) -> Any:
            if self.train_function is None or force:
                self.train_function = tf.function(lambda iterator: self.train_step(next(iterator)))
            return self.train_function

    model = Own([keras.layers.Input((4,)), keras.layers.Dense(1, name="out")], name="own")
    model.compile("adam", "mse")
    fresh = capture_model(model)
    assert fresh.source == "traced"
    model.make_train_function()
    for step in (1, 2):
        model.train_function(iter(dataset()))
        capture = capture_model(model)
        assert (step, trained(capture)) == (step, [("fit/1", True)])
    assert capture.source == "compiled"


def test_a_lookup_leaves_no_mark() -> None:
    @tf.function(reduce_retracing=True)
    def step(x: Any) -> Any:
        return x + 1.0

    step(tf.zeros(3))
    table = step._function_cache._dispatch_dict
    before = {context: list(dispatch._dispatch_cache) for context, dispatch in table.items()}
    assert look_up(step, (tf.zeros(3),), {})[0] is list_live(step)[0]
    assert look_up(step, (tf.zeros(4),), {})[0] is None
    assert look_up(step, (tf.zeros((2, 2)),), {})[0] is None
    assert len(step._function_cache) == 1
    assert {context: list(dispatch._dispatch_cache) for context, dispatch in table.items()} == before


@pytest.mark.parametrize("keras_module", [keras, tf_keras], ids=["keras", "tf_keras"])
@pytest.mark.parametrize("settings", [{}, {"steps_per_execution": 2}, {"jit_compile": True}], ids=str)
def test_the_exported_definitions_are_the_graph(keras_module: Any, settings: dict[str, Any]) -> None:
    model = mlp(keras_module, "adam", **settings)
    model.fit(dataset(), verbose=0)
    library = find_functions(model, "keras" if keras_module is keras else "tf_keras").outer
    (live,) = list_live(library)
    wanted = live.graph.as_graph_def()
    exported = export_step(live)
    graph = tf.compat.v1.GraphDef.FromString(exported.graph)
    assert exported.step
    assert not graph.node
    assert {function.signature.name for function in graph.library.function} == {
        exported.step,
        *(function.signature.name for function in wanted.library.function),
    }
    step = ParsedGraph(exported.graph, (), exported.step, exported.arguments).main
    plain = ParsedGraph(export_graph(live.graph), [tensor.name for tensor in live.graph.outputs]).main
    assert read_nodes(step) == read_nodes(plain)
    assert [step.name_of(step.port_node[port]) for port in step.returns] == [
        plain.name_of(plain.port_node[port]) for port in plain.returns
    ]


def read_nodes(body: FunctionBody) -> dict[str, tuple[str, list[str]]]:
    """By name: op type, and the names of the nodes that it reads."""
    nodes = {}
    for node in range(body.nodes):
        ports = body.input_port[body.input_start[node] : body.input_start[node + 1]]
        makers = [int(body.port_node[port]) for port in ports]
        reads = [body.name_of(maker) for maker in makers]
        nodes[body.name_of(node)] = (body.op_types[body.op[node]], reads)
    return nodes


@pytest.mark.parametrize("scope", ["a", "b2", "long" * 40])
@pytest.mark.parametrize("end", ["", "/"], ids=["plain", "absolute"])
def test_a_definition_that_renames_a_node_is_not_taken(scope: str, end: str) -> None:
    """The name of an op may be given with a slash behind it: then TensorFlow's own books do not hold it."""
    weight = tf.Variable(1.0)
    taken = f"{scope}_read_readvariableop_resource"

    @tf.function
    def step(x: Any) -> Any:
        with tf.name_scope(scope):
            value = weight.read_value()
        return weight.assign_sub(tf.identity(x * value, name=taken + end))

    live = step.get_concrete_function(tf.TensorSpec((), tf.float32))
    assert taken not in {node.name for node in live.function_def.node_def}
    exported = export_step(live)
    assert exported.step == ""
    assert taken in {node.name for node in tf.compat.v1.GraphDef.FromString(exported.graph).node}


def test_the_summary_says_whose_train_step_it_is() -> None:
    class Own(keras.Sequential):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            return super().train_step(data)

    model = Own([keras.layers.Input((4,)), keras.layers.Dense(1, name="out")], name="own")
    model.compile("sgd", "mse")
    assert capture_model(model).model.custom_train_step
    assert not capture_model(mlp(keras)).model.custom_train_step
    assert not capture_model(mlp(tf_keras)).model.custom_train_step


def test_an_inner_trace_that_an_older_fit_calls_too() -> None:
    """Rows of two sizes widen the inner function's type; for open batches the outer one is traced anew and calls that."""
    model = mlp(keras)
    x, y, weights = batch(4, weights=True)
    model.train_on_batch(x, y, sample_weight=weights)
    model.fit(dataset(4, weights=True, static=True, size=2), verbose=0)
    capture = capture_model(model, data=dataset(6, weights=True, size=3))
    assert trained(capture) == [("train_on_batch/1", False), ("fit/1", False), ("train_on_batch/2", True)]
    before = trace_count(model)
    model.fit(dataset(6, weights=True, size=3), verbose=0)
    assert trace_count(model) == before  # Keras traced the inner function no further


def trace_count(model: Any) -> int:
    return len(list_live(find_functions(model, "keras").inner))
