"""Facts of single ops: the user's line, the tape, the rank; alive and saved."""

from __future__ import annotations

import inspect
import os
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

from introspect.capture import capture_model, freeze, read_capture, write_capture  # noqa: E402
from introspect.capture.frames import pick_frame  # noqa: E402
from introspect.capture.record import Capture, Probe  # noqa: E402
from introspect.records import Location  # noqa: E402
from tests.capture import zoo  # noqa: E402

pytestmark = pytest.mark.tf

PACKAGES = pytest.mark.parametrize("package", [keras, tf_keras], ids=lambda package: package.__name__)


def ops(capture: Capture) -> list[tuple[str, Any]]:
    """(function, op) of the current trace."""
    probe: Any = next(p for p, trace in zip(capture.probes, capture.traces, strict=True) if trace.current)
    return [(name, op) for name, graph in probe.graphs().items() for op in graph.get_operations()]


def current(capture: Capture) -> Probe:
    found = next(p for p, trace in zip(capture.probes, capture.traces, strict=True) if trace.current)
    assert found is not None
    return found


def marked(package: Any) -> tuple[Any, dict[str, int]]:
    """A model with ops at known lines, in a layer and in a branch."""

    class Cut(package.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            y = tf.cond(tf.reduce_sum(x) > 0.0, lambda: tf.math.sinh(x), lambda: tf.math.cosh(x))
            return y + tf.stop_gradient(x)

    start = inspect.getsourcelines(Cut)[1]
    model = package.Sequential([package.layers.Input((4,)), Cut(name="cut"), package.layers.Dense(1)], name="m")
    model.compile("adam", "mse")
    return model, {"Sinh": start + 2, "Cosh": start + 2, "StopGradient": start + 3}


@pytest.mark.parametrize("fitted", [False, True], ids=["built", "fitted"])
@PACKAGES
def test_the_users_line_is_found(package: Any, fitted: bool) -> None:
    model, lines = marked(package)
    if fitted:
        model.fit(*zoo.arrays(), verbose=0)
    capture = capture_model(model)
    probe = current(capture)
    found: dict[str, set[int]] = {}
    for function, op in ops(capture):
        if op.type in lines and not probe.made_by_tape(function, op.name):
            location = probe.location(function, op.name)
            assert location is not None
            assert location.file == __file__
            found.setdefault(op.type, set()).add(location.line)
    assert found == {kind: {line} for kind, line in lines.items()}


@PACKAGES
def test_what_keras_made_is_at_no_line_of_the_users(package: Any) -> None:
    model, _ = zoo.plain(package)
    model.fit(*zoo.arrays(), verbose=0)
    capture = capture_model(model)
    probe = current(capture)
    places = {probe.location(function, op.name) for function, op in ops(capture)} - {None}
    # the oracle of other tests in this process wraps the optimizers
    assert {os.path.basename(place.file) for place in places} <= {"recording.py"}


@PACKAGES
def test_ops_of_the_tape_are_told(package: Any) -> None:
    model, _ = marked(package)
    capture = capture_model(model)
    probe = current(capture)
    for function, op in ops(capture):
        made = probe.made_by_tape(function, op.name)
        if op.name.startswith("gradient_tape/"):
            assert made is True
        if op.type in ("AssignSubVariableOp", "StopGradient", "Sinh"):
            assert made is False
    assert sum(bool(probe.made_by_tape(function, op.name)) for function, op in ops(capture)) > 10


def test_what_is_not_there_is_unknown() -> None:
    probe = current(capture_model(zoo.plain(keras)[0]))
    assert probe.location("", "no such op") is None
    assert probe.made_by_tape("no such function", "x") is None
    assert probe.rank("", "no such op", 0) is None


@pytest.mark.parametrize("build", [zoo.plain, zoo.recurrent, zoo.several_steps], ids=lambda build: build.__name__)
@PACKAGES
def test_the_saved_table_says_the_same(package: Any, build: zoo.Builder, tmp_path: Any) -> None:
    model, data = build(package)
    model.fit(*data, batch_size=4, verbose=0)
    live = capture_model(model, data)
    path = str(tmp_path / "step.capture")
    write_capture(live, path)
    count = 0
    for saved in (freeze(live), read_capture(path)):
        one, other = current(live), current(saved)
        for function, op in ops(live):
            count += 1
            assert one.location(function, op.name) == other.location(function, op.name)
            assert one.made_by_tape(function, op.name) == other.made_by_tape(function, op.name)
            for output in range(len(op.outputs)):
                assert one.rank(function, op.name, output) == other.rank(function, op.name, output)
    assert count > 200


def test_every_function_of_the_library_has_its_graph() -> None:
    model, data = zoo.several_steps(keras)
    model.fit(*data, verbose=0)
    capture = capture_model(model)
    probe: Any = capture.probes[0]
    library = tf.compat.v1.GraphDef.FromString(capture.traces[0].graph).library
    called = {function.signature.name for function in library.function} - {capture.traces[0].step}
    assert called
    assert called <= set(probe.graphs())


def test_a_cell_of_a_notebook_is_named_as_its_reader_knows_it() -> None:
    """Run by a real IPython: its cells are the user's own code, and go by their number."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    try:
        shell.run_cell("import sys", store_history=True)
        number = shell.execution_count
        shell.run_cell("def stand():\n    return sys._getframe()", store_history=True)
        frame = shell.user_ns["stand"]()
        place = pick_frame([("<frozen x>", 1, "call"), (frame.f_code.co_filename, frame.f_lineno, "stand")])
        assert place == Location(f"In[{number}]", 2, "stand")
    finally:
        InteractiveShell.clear_instance()
