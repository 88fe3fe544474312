"""The type of the batches, read without taking one."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture.trace.inputs import empty_dataset, read_spec  # noqa: E402
from introspect.capture.trace.invented import invent_specs  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)


def model_of(package: Any) -> Any:
    model = package.Sequential([package.layers.Input((4,)), package.layers.Dense(1)], name="m")
    model.compile("sgd", "mse")
    return model


def spec_of_fit(package: Any, model: Any, *arrays: Any) -> Any:
    """What `fit` itself iterates over."""
    if package is tf_keras:
        from tf_keras.src.engine.data_adapter import get_data_handler

        return get_data_handler(*arrays, model=model)._dataset.element_spec
    from keras.src.backend.tensorflow.trainer import TFEpochIterator

    return TFEpochIterator(tf.distribute.get_strategy(), *arrays)._distributed_dataset.element_spec


@pytest.mark.parametrize("rows", [1, 7, 31, 32, 33, 64, 70])
@pytest.mark.parametrize("dtype", ["float64", "int32"])
@PACKAGES
def test_arrays_have_the_type_that_fit_makes(package: Any, dtype: str, rows: int) -> None:
    model = model_of(package)
    x, y = np.zeros((rows, 4), dtype), np.zeros((rows, 1), "int64")
    for arrays in ((x, y), (x, y, np.ones(rows))):
        assert read_spec(model, arrays, package.__name__) == spec_of_fit(package, model, *arrays)


@PACKAGES
def test_structures_of_arrays(package: Any) -> None:
    model = model_of(package)
    x = {"a": np.zeros((5, 2), "float32"), "b": [np.zeros((5, 3), "float32"), np.zeros((5,), "int32")]}
    assert read_spec(model, (x, [np.zeros((5, 1))]), package.__name__) == spec_of_fit(
        package, model, x, [np.zeros((5, 1))]
    )
    assert read_spec(model, np.zeros((5, 4)), package.__name__) == spec_of_fit(package, model, np.zeros((5, 4)))


@PACKAGES
def test_a_data_set_is_read_by_its_element_spec_alone(package: Any) -> None:
    taken = []

    def generate() -> Any:
        taken.append(1)
        yield np.zeros((2, 4), "float32"), np.zeros((2, 1), "float32")

    signature = (tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None, 1), tf.float32))
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    assert read_spec(model_of(package), data, package.__name__) == signature
    assert taken == []


def empty(queue: SimpleQueue[Any]) -> list[Any]:
    return [queue.get() for _ in range(queue.qsize())]


def test_a_py_dataset_is_read_by_one_item() -> None:
    asked: SimpleQueue[Any] = SimpleQueue()  # a list here would be put back

    class Items(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            asked.put((index, np.random.rand()))
            return np.zeros((5, 4), "float32"), np.zeros((5, 1), "float32")

    np.random.seed(3)
    before = repr(np.random.get_state())
    spec = read_spec(model_of(keras), Items(), "keras")
    assert [index for index, _ in empty(asked)] == [0]
    assert repr(np.random.get_state()) == before
    assert [tuple(part.shape) for part in spec] == [(None, 4), (None, 1)]


def test_a_sequence_of_tf_keras_is_read_by_one_item() -> None:
    asked: SimpleQueue[Any] = SimpleQueue()  # a list here would be put back

    class Items(tf_keras.utils.Sequence):  # type: ignore[misc,name-defined]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            asked.put(index)
            return np.zeros((5, 4), "float32"), np.zeros((5, 1), "float32")

    model = model_of(tf_keras)
    spec = read_spec(model, Items(), "tf_keras")
    assert empty(asked) == [0]
    assert spec == spec_of_fit(tf_keras, model, Items())


@pytest.mark.parametrize(
    "spec",
    [
        (tf.TensorSpec((None, 4)), tf.TensorSpec((8,), tf.int64)),
        {"a": tf.RaggedTensorSpec((None, None), tf.int32), "b": tf.SparseTensorSpec((None, 3))},
        (tf.TensorSpec(None, tf.string),),
    ],
    ids=["tensors", "composites", "unknown rank"],
)
def test_an_empty_data_set_lends_its_type(spec: Any) -> None:
    data = empty_dataset(spec)
    assert tf.nest.map_structure(lambda a, b: a.is_compatible_with(b), data.element_spec, spec)
    assert list(data) == []


def test_made_up_specs_of_several_inputs_and_outputs() -> None:
    a, b = keras.Input((2,), name="a"), keras.Input((3,), dtype="int32", name="b")
    joined = keras.layers.Concatenate()([a, keras.ops.cast(b, "float32")])
    outputs = {"p": keras.layers.Dense(3, name="p")(joined), "q": keras.layers.Dense(1, name="q")(joined)}
    model = keras.Model({"a": a, "b": b}, outputs, name="m")
    model.compile("sgd", {"p": "sparse_categorical_crossentropy", "q": "mse"})
    x, y = next(invent_specs(model, "keras"))
    assert {name: (tuple(spec.shape), spec.dtype.name) for name, spec in x.items()} == {
        "a": ((None, 2), "float32"),
        "b": ((None, 3), "int32"),
    }
    assert {name: (tuple(spec.shape), spec.dtype.name) for name, spec in y.items()} == {
        "p": ((None,), "int64"),
        "q": ((None, 1), "float32"),
    }


@PACKAGES
def test_made_up_specs_of_a_subclassed_model(package: Any) -> None:
    class Net(package.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.dense = package.layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Net()
    model(np.zeros((2, 4), "float32"))
    model.compile("sgd", "mse")
    x, y = next(invent_specs(model, package.__name__))
    assert (tuple(x.shape), tuple(y.shape)) == ((None, 4), (None, 3))
