"""State that lies apart from a model's own attributes is left alone as well: generators, arrays, packages, memory, data sets."""

from __future__ import annotations

import gc
import importlib
import random
import sys
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model  # noqa: E402
from introspect.capture.slots import is_built  # noqa: E402
from introspect.capture.trace.guard import preserve  # noqa: E402
from introspect.capture.trace.inputs import copy_dataset  # noqa: E402
from introspect.capture.trace.snapshot import MOST_FOREIGN, take_snapshot  # noqa: E402
from tests.capture import zoo  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = (keras, tf_keras)
AGENT = """
import tensorflow as tf

STEPS = 0
SEEN = []


class Agent:
    def __init__(self, net, optimizer):
        self.net, self.optimizer, self.count, self.notes = net, optimizer, 0, []

    def learn(self, x, y):
        global STEPS
        STEPS += 1
        SEEN.append(x)
        self.count += 1
        self.notes.append(x)
        weights = self.net.trainable_variables
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self.net(x) - y) ** 2)
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss
"""


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that stands where packages are installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "agents_for_a_test.py").write_text(AGENT)
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module("agents_for_a_test")
    sys.modules.pop("agents_for_a_test")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_object_of_an_installed_package(package: Any, agents: Any) -> None:
    class Learner(package.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = package.Sequential([package.layers.Input((4,)), package.layers.Dense(1)])
            self.agent = agents.Agent(self.net, package.optimizers.Adam())

        def call(self, x: Any) -> Any:
            return self.net(x)

        def train_step(self, data: Any) -> Any:
            return {"loss": self.agent.learn(*data)}

    model = Learner()
    x, y = zoo.arrays()
    model(x)
    model.compile("sgd")
    agent, names = model.agent, list(vars(model.agent.optimizer))
    captured = capture_model(model)
    assert sum(trace.current for trace in captured.traces) == 1
    assert (agent.count, agent.notes, agents.STEPS, agents.SEEN) == (0, [], 0, [])
    assert list(vars(agent.optimizer)) == names
    assert not is_built(agent.optimizer)
    model.fit(x, y, verbose=0)
    assert agent.count > 0
    assert agents.STEPS > 0
    assert is_built(agent.optimizer)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_optimizer_that_no_walk_reaches(package: Any) -> None:
    optimizer = package.optimizers.Adam()
    weight = package.layers.Dense(1)
    weight.build((None, 2))
    count = len(optimizer.variables)
    with preserve():
        optimizer.build(weight.trainable_variables)
        assert is_built(optimizer)
        assert len(optimizer.variables) > count
    assert len(optimizer.variables) == count
    assert not is_built(optimizer)


def test_a_large_package_is_not_walked_through(agents: Any) -> None:
    nodes = [agents.Agent(None, None) for _ in range(3 * MOST_FOREIGN)]
    for node, after in pairwise(nodes):
        node.next = after
    snapshot = take_snapshot([nodes[0]])
    assert MOST_FOREIGN // 2 < len(snapshot.attributes) <= MOST_FOREIGN
    nodes[0].count = 7
    snapshot.restore()
    assert nodes[0].count == 0


class Drawing(keras.layers.Layer):
    """Draws, counts and remembers in Python whenever it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.recent = deque([1, 2], maxlen=2)
        self.numbers = np.random.default_rng(0)
        self.legacy = np.random.RandomState(0)
        self.bits = np.random.PCG64(3)
        self.python = random.Random(0)
        self.own = random.SystemRandom()
        self.array = np.zeros(3)
        self.objects = np.array([None, None], dtype=object)

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(4,), name="kernel")

    def call(self, x: Any) -> Any:
        self.recent.append("traced")
        self.array[0] += 1
        self.objects[1] = self
        scale = self.numbers.random() + self.legacy.random_sample() + self.python.random() + self.own.random()
        return x * self.kernel * (scale + self.bits.random_raw() % 3)

    def state(self) -> tuple[Any, ...]:
        legacy = self.legacy.get_state()
        return (
            list(self.recent),
            self.recent.maxlen,
            self.numbers.bit_generator.state,
            (legacy[1].tobytes(), *legacy[2:]),
            self.bits.state,
            self.python.getstate(),
            self.array.tobytes(),
            list(self.objects),
        )


def test_generators_deques_and_arrays_below_a_layer() -> None:
    layer = Drawing()
    model = keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    layer.recent.extend([1, 2])
    before = layer.state()
    capture_model(model)
    assert layer.state() == before
    model.fit(*zoo.arrays(), verbose=0)
    after = layer.state()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True] + [False] * 5 + [True]


def count_graphs() -> int:
    gc.collect()
    return sum(type(value).__name__ == "FuncGraph" for value in gc.get_objects())


@pytest.mark.slow  # it counts what lives in the process, which other tests change
@pytest.mark.parametrize("fitted", [False, True], ids=["untrained", "fitted"])
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_traced_graph_goes_with_its_capture(package: Any, fitted: bool) -> None:
    model, (x, y) = zoo.plain(package)
    if fitted:
        model.fit(x, y, batch_size=4, verbose=0)
    data = (x[:3], y[:3]) if fitted else None
    capture_model(model, data)
    before = count_graphs()
    captured = capture_model(model, data)
    assert captured.retraces == fitted
    assert captured.probes[-1].root.get_operations()
    del captured
    for _ in range(2):
        capture_model(model, data)
    assert count_graphs() <= before


class Stubborn(np.ndarray):
    """An array that refuses to be copied."""

    def __deepcopy__(self, memo: Any) -> Any:
        raise MemoryError("too large")


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_data_set_is_copied_without_its_arrays(package: Any, tmp_path: Path) -> None:
    base = package.utils.PyDataset if package is keras else package.utils.Sequence

    class Rows(base):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            if package is keras:
                super().__init__()
            self.parts = {"x": [np.zeros((64, 4), "float32").view(Stubborn)]}
            self.mapped = np.memmap(tmp_path / "y", dtype="float32", mode="w+", shape=(64, 1))
            self.large = np.zeros(2**19)
            self.order = np.arange(64)
            self.numbers = np.random.default_rng(0)
            self.asked: list[int] = []

        def __len__(self) -> int:
            return 8

        def __getitem__(self, index: int) -> Any:
            self.asked.append(index)
            self.numbers.shuffle(self.order)
            rows = self.order[8 * index : 8 * index + 8]
            return np.asarray(self.parts["x"][0][rows]), np.asarray(self.mapped[rows])

    model, _ = zoo.plain(package)
    data = Rows()
    copied = copy_dataset(data)
    assert copied is not data
    assert copied.parts["x"] is not data.parts["x"]
    assert copied.parts["x"][0] is data.parts["x"][0]
    assert copied.mapped is data.mapped
    assert copied.large is data.large
    assert copied.order is not data.order
    draws = data.numbers.bit_generator.state
    capture_model(model, data)
    assert (data.asked, data.order.tolist()) == ([], list(range(64)))
    assert data.numbers.bit_generator.state == draws


def test_a_data_set_that_cannot_be_copied_is_put_back() -> None:
    class Held(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.endless = (number for number in range(3))
            self.asked: list[int] = []

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            self.asked.append(index)
            return zoo.arrays()[0][:4], zoo.arrays()[1][:4]

    model, _ = zoo.plain(keras)
    data = Held()
    assert copy_dataset(data) is data
    capture_model(model, data)
    assert data.asked == []
