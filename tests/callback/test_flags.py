"""`trace_flags`: what is recorded, and that nothing else happens."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

import pytest

import introspect
from tests.fixes.steps import make_data, make_model, train

pytestmark = pytest.mark.tf
HERE = __file__


def line_of(mark: str) -> int:
    with open(HERE) as file:
        return next(n for n, line in enumerate(file, 1) if line.rstrip().endswith(f"# {mark}"))


def read_writes(model: Any) -> Any:
    from introspect.capture import capture_model

    return capture_model(model).flag_writes


def patched(library: str) -> list[Any]:
    keras = importlib.import_module(library)
    from tensorflow.core.function.polymorphism.function_cache import FunctionCache

    owners = [*keras.layers.Layer.__mro__, *keras.Model.__mro__, FunctionCache]
    owners += [*keras.Variable.__mro__] if library == "keras" else []
    names = ("__setattr__", "compile", "trainable", "add")
    return [vars(owner).get(name) for owner in owners for name in names]


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_stale_step_tells_where(library: str) -> None:
    importlib.import_module(library)
    before = patched(library)
    with introspect.trace_flags():
        model = make_model(library)
        base = model.get_layer("d1")
        base.trainable = False
        model.compile("sgd", "mse")  # compiled
        train(model, 1)
        base.trainable = True  # unfrozen
    assert all(a is b for a, b in zip(before, patched(library), strict=True))
    (finding,) = [f for f in introspect.inspect(model).findings if f.severity == "error"]
    assert finding.rule == "INT103"
    said = f"d1.trainable was set to True at test_flags.py:{line_of('unfrozen')}, after the step was compiled at"
    assert f"{said} test_flags.py:{line_of('compiled')} and traced at steps.py:" in finding.cause
    places = [(step.location.file, step.location.line) for step in finding.evidence if step.location is not None]
    assert (HERE, line_of("unfrozen")) in places
    assert (HERE, line_of("compiled")) in places


def test_a_record_begun_after_the_fit_tells_where_the_step_was_traced() -> None:
    model = make_model()
    model.get_layer("d1").trainable = False
    model.compile("sgd", "mse")
    model.fit(*make_data(0), verbose=0)  # fitted
    with introspect.trace_flags():
        model.get_layer("d1").trainable = True  # unfrozen in time
    (finding,) = [f for f in introspect.inspect(model).findings if f.severity == "error"]
    said = f"d1.trainable was set to True at test_flags.py:{line_of('unfrozen in time')}, after the step was traced at"
    assert f"{said} test_flags.py:{line_of('fitted')};" in finding.cause


def test_an_optimizer_that_is_too_old_tells_where() -> None:
    """While the record is taken too: the trace that introspect makes itself is no part of it."""
    with introspect.trace_flags():
        model = make_model()
        model.get_layer("d1").trainable = False
        model.compile("sgd", "mse")
        train(model, 1)
        model.get_layer("d1").trainable = True  # again unfrozen
        model.compile(model.optimizer, "mse")
        (finding,) = [f for f in introspect.inspect(model).findings if f.severity == "error"]
    assert finding.rule == "INT201"
    assert f"d1.trainable was set to True at test_flags.py:{line_of('again unfrozen')}, after" in finding.cause
    assert "holds the flags" not in finding.cause


def test_writes_in_order_with_values() -> None:
    with introspect.trace_flags():
        model = make_model()
        d1 = model.get_layer("d1")
        d1.trainable = False
        d1.trainable = False  # again
        d1.kernel.trainable = True
        d1.kernel.trainable = True
        model.trainable = False
        setattr(d1, "trainable", True)  # noqa: B010
        model.compile("sgd", "mse")
    writes = read_writes(model)
    said = [(w.kind, w.target.rpartition("/")[2], w.value, w.effective) for w in writes]
    assert said == [
        ("trainable", "d1", False, True),
        ("trainable", "d1", False, False),
        ("trainable", "kernel", True, True),
        ("trainable", "kernel", True, False),
        ("trainable", "net", False, True),
        ("trainable", "d1", True, True),
        ("compile", "", None, True),
    ]
    assert [w.order for w in writes] == sorted(w.order for w in writes)
    assert writes[1].location is not None
    assert (writes[1].location.file, writes[1].location.line) == (HERE, line_of("again"))


def test_a_write_that_the_trace_has_seen_is_no_cause() -> None:
    """Frozen by a step of its own that ignores the flags: the flag was set before the step was traced."""
    import keras

    class Stubborn(keras.Model):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            import tensorflow as tf

            x, y = data
            with tf.GradientTape() as tape:
                error = tf.reduce_mean(tf.square(self(x) - y))
            weights = self.weights
            self.optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
            return {"loss": error}

    with introspect.trace_flags():
        plain = make_model()
        model = Stubborn(plain.inputs, plain.outputs)
        model.compile("sgd", "mse")
        model.get_layer("d1").trainable = False
        train(model, 1)
    (finding,) = [f for f in introspect.inspect(model).findings if f.rule == "INT101"]
    assert "was set to" not in finding.cause


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_semantics_stay(library: str) -> None:
    """Flags end up the same with and without the record, no-ops included."""

    def play(model: Any) -> list[bool]:
        model.trainable = False
        model.get_layer("d1").trainable = True
        model.trainable = False
        model.get_layer("d2").trainable = True
        model.trainable = True
        model.get_layer("d3").trainable = False
        model.get_layer("d3").note = "any other attribute"
        return [layer.trainable for layer in model.layers] + [bool(v.trainable) for v in model.weights]

    alone = play(make_model(library))
    with introspect.trace_flags():
        assert play(make_model(library)) == alone


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_setter_of_the_users_own(library: str) -> None:
    """It writes the flags of layers within: these are written where it stands, the outer one where it was called."""
    keras = importlib.import_module(library)

    class Block(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="block")
            self.inner = keras.layers.Dense(2, name="inner")

        @property
        def trainable(self) -> bool:
            return bool(self._trainable)

        @trainable.setter
        def trainable(self, value: bool) -> None:
            if hasattr(self, "inner"):
                self.inner.trainable = value  # within
            self._trainable = value

        def call(self, x: Any) -> Any:
            return self.inner(x)

    with introspect.trace_flags():
        inputs = keras.Input((4,))
        block = Block()
        model = keras.Model(inputs, block(inputs), name="net")
        block.trainable = False  # called
        model.compile("sgd", "mse")
        block.trainable = True
        train(model, 1)
    writes = [
        (w.target, w.value, w.location.line if w.location else 0) for w in read_writes(model) if w.kind == "trainable"
    ]
    assert writes[:2] == [("net/block/inner", False, line_of("within")), ("net/block", False, line_of("called"))]


def test_nested_and_in_threads() -> None:
    import keras

    before = patched("keras")
    model = make_model()
    model.compile("sgd", "mse")
    with introspect.trace_flags():
        with introspect.trace_flags():
            pass
        model.get_layer("d1").trainable = False
        thread = threading.Thread(target=lambda: setattr(model.get_layer("d2"), "trainable", False))
        thread.start()
        thread.join()
        with pytest.raises(AttributeError):
            keras.layers.Dense(1).input = 3  # a property that cannot be set: the error is Keras' own
    model.get_layer("d3").trainable = False
    assert [w.target for w in read_writes(model)] == ["net/d1", "net/d2"]
    assert all(a is b for a, b in zip(before, patched("keras"), strict=True))


def test_another_patch_on_top_is_left_alone() -> None:
    import keras

    layer = keras.layers.Layer
    original = vars(layer)["__setattr__"]
    try:
        with introspect.trace_flags():
            ours = vars(layer)["__setattr__"]

            def theirs(self: Any, name: str, value: Any) -> None:
                ours(self, name, value)

            layer.__setattr__ = theirs
        assert vars(layer)["__setattr__"] is theirs
        model = make_model()
        model.get_layer("d1").trainable = False
        model.compile("sgd", "mse")
        assert read_writes(model) == ()
    finally:
        layer.__setattr__ = original


def test_what_keras_carries_on_is_not_written_by_anyone() -> None:
    """tf_keras sets flags itself around `fit`; a container's setter sets those of its layers."""
    with introspect.trace_flags():
        model = make_model("tf_keras")
        model.compile("sgd", "mse")
        model.trainable = False
        train(model, 1)
    said = [(w.kind, w.target) for w in read_writes(model)]
    assert said == [("compile", ""), ("trainable", "net"), ("trace", "fit/1")]
    (finding,) = [f for f in introspect.inspect(model).findings if f.rule == "INT101"]
    assert "net.trainable was set to False at test_flags.py" in finding.cause
    assert "traced" not in finding.cause


def test_objects_are_not_kept_alive() -> None:
    import gc
    import weakref

    with introspect.trace_flags():
        model = make_model()
        model.trainable = False
        gone = weakref.ref(model.get_layer("d1"))
        del model
        gc.collect()
    assert gone() is None
    assert "introspect.capture.live.flags" in sys.modules
