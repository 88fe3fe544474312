"""What a model does not see, held by a copy of it, trains as it does once the user's code holds it; where that alone mends nothing it is said."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.records import Finding
from tests.capture.observing import observe
from tests.fixes.steps import path_of, values

pytestmark = pytest.mark.tf

X = np.random.default_rng(0).random((8, 4), dtype="float32")
Y = np.random.default_rng(1).random((8, 2), dtype="float32")


@pytest.fixture(autouse=True)
def _fresh_names() -> Iterator[None]:
    for library in ("keras", "tf_keras"):
        importlib.import_module(library).backend.clear_session()
    yield
    importlib.import_module("keras").backend.clear_session()


class Bag:
    """An object that Keras does not look into."""

    def __init__(self, content: Any) -> None:
        self.content = content


def in_a_bag(library: str, held: bool) -> Any:
    """A subclassed model whose first layer is held by a helper object."""
    keras: Any = importlib.import_module(library)

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.bag = Bag(keras.layers.Dense(3, name="inner"))
            if held:
                self.inner = self.bag.content
            self.head = keras.layers.Dense(2, name="head")

        def call(self, h: Any) -> Any:
            return self.head(self.bag.content(h))

    return Net()


def make_around(library: str, held: bool) -> Any:
    """A layer with another one in a helper object."""
    keras: Any = importlib.import_module(library)
    inner = keras.layers.Dense(3, name="inner")
    inner.build((None, 4))

    class Around(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self, bag: Any) -> None:
            super().__init__(name="around")
            self.bag = bag
            if held:
                self.inner = bag.content

        def call(self, h: Any) -> Any:
            return self.bag.content(h)

    return Around(Bag(inner))


def in_a_lambda(library: str, held: bool) -> Any:
    """A functional model with a layer inside a function's closure."""
    keras: Any = importlib.import_module(library)
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(2, name="head")(make_around(library, held)(x)), name="net")


def in_a_sequential(library: str, held: bool) -> Any:
    """The same in a Sequential, which takes no layer from an attribute of its own."""
    keras: Any = importlib.import_module(library)
    return keras.Sequential(
        [keras.Input((4,)), make_around(library, held), keras.layers.Dense(2, name="head")], name="net"
    )


def chain(library: str, held: bool, layers: list[Any]) -> Any:
    """A subclassed model that runs layers which a helper object holds, one after another."""
    keras: Any = importlib.import_module(library)

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.bag = Bag(tuple(layers))
            if held:
                self.held = list(self.bag.content)
            self.head = keras.layers.Dense(2, name="head")

        def call(self, h: Any) -> Any:
            for layer in self.bag.content:
                h = layer(h)
            return self.head(h)

    return Net()


def frozen_beside(library: str, held: bool) -> Any:
    """One hidden layer that is to train and one that is frozen by its own flag."""
    dense: Any = importlib.import_module(library).layers.Dense
    return chain(library, held, [dense(3, name="inner"), dense(3, name="still", trainable=False)])


def loose_variable(library: str, held: bool) -> Any:
    """A variable of Keras' own kind in a helper object."""
    keras: Any = importlib.import_module(library)
    import tensorflow as tf

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            start = np.ones(2, "float32")
            loose = tf.Variable(start, name="loose") if library == "tf_keras" else keras.Variable(start, name="loose")
            self.bag = Bag(loose)
            if held:
                self.loose = loose
            self.head = keras.layers.Dense(2, name="head")

        def call(self, h: Any) -> Any:
            return self.head(h) * self.bag.content

    return Net()


def many(library: str, held: bool) -> Any:
    """Thirty layers that call() closes over."""
    keras: Any = importlib.import_module(library)
    layers = [keras.layers.Dense(4, name=f"block-{i}", use_bias=False) for i in range(30)]

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            if held:
                self.held = list(layers)
            self.head = keras.layers.Dense(2, name="head")

        def call(self, h: Any) -> Any:
            for layer in layers:
                h = layer(h)
            return self.head(h)

    return Net()


def test_many_are_held_in_a_list() -> None:
    finding = look(start(many, "keras", held=False))
    assert "self.held = [\n    block_0, block_1, " in finding.fix
    assert all(len(line) <= 100 for line in finding.fix.splitlines())
    (trial,) = finding.trials
    assert trial.verified
    assert len(trial.trains) == 30


MENDED = (in_a_bag, in_a_lambda, in_a_sequential, frozen_beside, loose_variable)


def start(make: Callable[[str, bool], Any], library: str, held: bool, fitted: bool = False) -> Any:
    model = make(library, held)
    model(X)
    model.compile("adam", "mse")
    if fitted:
        model.fit(X, Y, verbose=0)
    return model


def look(model: Any) -> Finding:
    report = introspect.inspect(model, data=(X, Y), try_fixes=True)
    (finding,) = [finding for finding in report.findings if finding.rule == "INT105"]
    return finding


def move(model: Any) -> set[str]:
    """Last parts of the paths of what one step moves."""
    before = values(model.variables)
    model.fit(X, Y, verbose=0)
    pairs = zip(model.variables, before, values(model.variables), strict=True)
    return {shorten(path_of(variable)) for variable, old, new in pairs if old.tobytes() != new.tobytes()}


def shorten(path: str) -> str:
    return "/".join(path.split("/")[-2:]) if "loose" not in path else "loose"


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("make", MENDED, ids=lambda part: part.__name__)
def test_what_is_held_trains_as_it_would(make: Callable[[str, bool], Any], library: str, fitted: bool) -> None:
    model = start(make, library, held=False, fitted=fitted)
    before = observe(model, model.optimizer)
    finding = look(model)
    assert observe(model, model.optimizer) == before
    (trial,) = finding.trials
    assert trial.verified
    assert finding.verified
    assert set(trial.trains) == set(finding.variables)
    assert not any("still" in path for path in finding.variables)
    assert "held by the model, then compiled again, optimizer state kept, which mends it" in trial.note
    moved = move(start(make, library, held=True))
    assert {shorten(path) for path in trial.trains} <= moved
    assert len(moved) == len(trial.trains) + 2


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_what_is_frozen_beside_is_no_finding(library: str) -> None:
    """A layer that nobody holds and whose own flag says frozen does what its flag says."""
    model = frozen_beside(library, held=False)
    inner, _ = model.bag.content
    inner.trainable = False
    model(X)
    model.compile("adam", "mse")
    assert introspect.inspect(model, data=(X, Y)).findings == ()
    assert len(move(model)) == 2


def test_a_cut_before_what_is_held_stays() -> None:
    """Held, it still gets no gradient: the trial says so, and why."""
    import keras
    import tensorflow as tf

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.bag = Bag(keras.layers.Dense(3, name="inner"))
            self.head = keras.layers.Dense(2, name="head")

        def call(self, h: Any) -> Any:
            return self.head(tf.stop_gradient(self.bag.content(h)))

    finding = look(start(lambda library, held: Net(), "keras", held=False))
    (trial,) = finding.trials
    assert not trial.verified
    assert set(trial.still_not) == set(finding.variables)
    assert "StopGradient (test_holding.py:" in trial.note


def test_a_bare_variable_is_not_held() -> None:
    """Keras 3 holds no tf.Variable: call() has to use another one, which is the user's to write."""
    import keras
    import tensorflow as tf

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.loose = tf.Variable(np.ones(2, "float32"), name="loose")
            self.head = keras.layers.Dense(2, name="head")

        def call(self, h: Any) -> Any:
            return self.head(h) * self.loose

    finding = look(start(lambda library, held: Net(), "keras", held=False))
    assert not finding.verified
    assert finding.fix_result is not None
    assert not finding.trials
    assert "self.add_weight(" in finding.fix
    assert "which does not mend it; the code has to change" in finding.fix_result.note


Part = Callable[[Any], Any]


def net(keras: Any) -> Any:
    return Bag(keras.Sequential([keras.layers.Dense(3, name="one"), keras.layers.Dense(4, name="two")]))


def several(keras: Any) -> Any:
    return [Bag(keras.layers.Dense(4, name="one")), {"deep": Bag(keras.layers.Dense(4, name="two"))}]


def listed(keras: Any) -> Any:
    return Bag([keras.layers.Dense(4, name="one"), keras.layers.Dense(4, name="two")])


def inside_another(keras: Any) -> Any:
    return Bag(Bag(keras.layers.Dense(4, name="one")))


def plenty(keras: Any) -> Any:
    return [Bag(keras.layers.Dense(4, name=f"layer{i}")) for i in range(4)]


CODES: dict[Part, list[str]] = {
    net: ["self.content = self.bag.content"],
    several: ["self.content = self.bag[0].content", "self.content_2 = self.bag[1]['deep'].content"],
    listed: ["self.content = self.bag.content"],
    inside_another: ["self.content = self.bag.content.content"],
    plenty: [f"self.held = [{', '.join(f'self.bag[{i}].content' for i in range(4))}]"],
}


def walk(content: Any) -> Iterator[Any]:
    """The layers in bags, lists and dicts, in order."""
    inner = content.content if isinstance(content, Bag) else content
    if isinstance(inner, (list, dict)):
        for item in inner.values() if isinstance(inner, dict) else inner:
            yield from walk(item)
    elif isinstance(inner, Bag):
        yield from walk(inner)
    else:
        yield inner


def with_code(library: str, part: Part, code: str = "") -> Any:
    """A model that runs what helper objects hold, with a fix's code at the end of its `__init__`."""
    keras: Any = importlib.import_module(library)

    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="net")
            self.bag = part(keras)
            self.head = keras.layers.Dense(2, name="head")
            exec(code, {"self": self})

        def call(self, h: Any) -> Any:
            for layer in walk(self.bag):
                h = layer(h)
            return self.head(h)

    return Net()


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
@pytest.mark.parametrize("part", CODES, ids=lambda part: part.__name__)
def test_the_code_of_the_fix_mends_what_a_helper_object_holds(part: Part, library: str) -> None:
    finding = look(start(lambda name, held: with_code(name, part), library, held=False))
    where, *lines = finding.fix.splitlines()
    assert where.startswith("# in __init__ of Net, as ")
    assert lines == CODES[part]
    assert "which Net reaches through self.bag" in finding.cause
    assert "objects of class Bag are no layers" in finding.cause
    assert finding.verified
    mended = start(lambda name, held: with_code(name, part, finding.fix), library, held=False)
    assert introspect.inspect(mended, data=(X, Y)).findings == ()
    assert len(move(mended)) == len(finding.variables) + 2


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_what_no_attribute_leads_to_is_told_as_before(library: str) -> None:
    finding = look(start(many, library, held=False))
    assert "which Keras does not see: it looks in the attributes of layers" in finding.cause
