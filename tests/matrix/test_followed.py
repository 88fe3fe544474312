"""Steps that run eagerly and ask for values of tensors in Python: followed on one batch, on copies."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import executing_eagerly

import introspect
from tests.fuzz.pieces import branch_layer
from tests.matrix.cells import Cell
from tests.matrix.models import freeze, make_data, unfreeze
from tests.oracle import PLAIN, Asked, ask, randomize

pytestmark = [pytest.mark.tf, pytest.mark.slow]

KERAS = ("keras", "tf_keras")


FORMS: dict[str, Callable[[Any, Any], bool]] = {
    "numpy": lambda model, x: hasattr(x, "numpy"),
    "eager": lambda model, x: tf.executing_eagerly(),
    "eager by name": lambda model, x: executing_eagerly(),
    "function": lambda model, x: not tf.inside_function(),
    "symbolic": lambda model, x: not tf.is_symbolic_tensor(x),
    "setting": lambda model, x: bool(model.run_eagerly),
    "in a branch": lambda model, x: bool(tf.cond(tf.size(x) > 0, lambda: tf.executing_eagerly(), lambda: False)),
}
"""What a step may ask of its own form, true where it runs eagerly."""


def ask_form(form: str, trains: str) -> Callable[[Any, Any], Any]:
    """A `train_step` that trains all, or layer c alone where it runs eagerly (`trains` is "c")."""

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
        eager, variables = FORMS[form](self, loss), self.trainable_variables
        self.seen.append(eager)
        variables = self.c.trainable_variables if eager and trains == "c" else variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    return train_step


def make_step(way: str) -> Callable[[Any, Any], Any]:
    """A `train_step` that needs numbers."""

    def apply(model: Any, tape: Any, loss: Any, variables: Any) -> Any:
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    def train_step(self: Any, data: Any) -> Any:
        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            hidden = self.norm(self.a(x), training=True)
            if way == "cut":
                hidden = tf.constant(hidden.numpy())
            loss = tf.reduce_mean((self.c(self.b(self.drop(hidden, training=True))) - y) ** 2)
        weights = self.trainable_variables
        if way == "logged":
            self.seen.append((float(loss), f"{loss:.3f}", np.array(hidden).shape, len(x), hidden.numpy().tolist()))
        elif way == "branch":
            weights = weights if loss > 1e9 else self.c.trainable_variables
        elif way == "counted":
            self.count.assign_add(1)
            if int(self.count) % 2 == 0:  # what was just written counts
                return {"loss": loss}
        elif way == "rows":
            total = sum(float(row[0]) for row in y) + float(self.optimizer.iterations)
            assert np.isfinite(total)
        elif way == "after":
            told = apply(self, tape, loss, weights)
            self.seen.append((int(self.optimizer.iterations), self.c.kernel.numpy().sum()))
            return told
        return apply(self, tape, loss, weights)

    return train_step


def build(package: str, way: str, **arguments: Any) -> tuple[Any, Any]:
    keras = importlib.import_module(package)
    layers = keras.layers

    def create(self: Any) -> None:
        keras.Model.__init__(self, name="net")
        self.a, self.b = layers.Dense(4, activation="tanh", name="a"), layers.Dense(4, activation="tanh", name="b")
        self.norm, self.drop = layers.BatchNormalization(name="norm"), layers.Dropout(0.2, seed=3, name="drop")
        self.c = layers.Dense(1, name="c")
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="count")
        self.seen: list[Any] = []

    def call(self: Any, x: Any, training: Any = None) -> Any:
        return self.c(self.b(self.drop(self.norm(self.a(x), training=training), training=training)))

    step = ask_form(*way.split("/")) if "/" in way else make_step(way)
    kind = type("Net", (keras.Model,), {"__init__": create, "call": call, "train_step": step})
    model = kind()
    model(np.zeros((2, 3), "float32"))
    randomize(model)
    model.compile(**{"optimizer": keras.optimizers.Adam(0.05), "run_eagerly": True, **arguments})
    return model, make_data()


FOLLOWED = Asked(rules=("INT507",))
HEALTHY = replace(FOLLOWED, kinds={"norm/moving_*": "statistics", "c/*": "gradient"})
STARVED = replace(FOLLOWED, rules=("INT507", "INT104"))
WAYS: dict[str, tuple[Asked, Any, Asked | None]] = {
    "logged": (HEALTHY, freeze("b"), HEALTHY),
    "rows": (HEALTHY, None, None),
    "after": (HEALTHY, None, None),
    "cut": (STARVED, None, None),
    "branch": (STARVED, None, None),
}


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("way", WAYS)
def test_way(package: str, way: str) -> None:
    """Right before the first step and before the second; in Keras 3 a flag is live at each step."""
    asked, act, after = WAYS[way]
    if package == "tf_keras" and act is not None:  # the flags of `compile` rule there
        after = Asked(rules=("INT101", "INT507"))
    assert Cell(lambda: build(package, way), asked, act, after).run() == []


@pytest.mark.parametrize("package", KERAS)
def test_without_data(package: str) -> None:
    """A batch is made up, and the report says so."""
    model, _ = build(package, "logged")
    report = introspect.inspect(model)
    (finding,) = report.findings
    assert finding.rule == "INT507"
    assert "a made-up batch" in finding.message
    assert {step.location.file for step in finding.evidence} == {__file__}
    assert list(model.seen) == []
    assert report.source == "eager"
    assert all(row.updated == ("yes" if row.trainable else "no") for row in report.variables)


def test_what_the_step_writes_counts_for_its_own_numbers() -> None:
    """Every other step trains: the counter is read after it was moved, on copies, and the model's own stands still."""
    model, data = build("keras", "counted")
    for turn in (1, 2, 3):
        report = introspect.inspect(model, data=data)
        assert int(model.count.numpy()) == turn - 1
        trained = {row.updated for row in report.variables if row.trainable}
        assert trained == ({"yes"} if turn % 2 else {"no"})
        assert {finding.certainty for finding in report.findings if finding.severity != "info"} <= {"likely"}
        before = model.c.kernel.numpy()
        model.fit(data, verbose=0)
        assert (model.c.kernel.numpy() != before).any() == bool(turn % 2)


def test_an_unknown_variable_is_told() -> None:
    """The optimizer of an eager step is built in its first step; unfreezing after that raises."""
    model, data = build("keras", "logged")
    model.a.trainable = False
    model.fit(data, verbose=0)
    unfreeze("a")(model, data)
    report = introspect.inspect(model, data=data)
    assert {finding.rule for finding in report.findings} >= {"INT201", "INT507"}
    with pytest.raises(ValueError, match="Unknown variable"):
        model.fit(data, verbose=0)


def test_a_step_that_runs_python_is_refused_with_its_line() -> None:
    """A py_function would run outside of the copies, so that no number of it is had."""
    model, data = build("keras", "logged")

    def train_step(data: Any) -> Any:
        value = tf.py_function(lambda x: x, [data[0]], tf.float32)
        return {"loss": float(tf.reduce_sum(value))}

    model.train_step = train_step
    with pytest.raises(introspect.IntrospectError, match=r"test_followed\.py:\d+: .*EagerPyFunc"):
        introspect.inspect(model, data=data)


def test_a_compiled_step_has_no_numbers() -> None:
    """Without run_eagerly the step itself fails, and the line says how to run it."""
    model, data = build("keras", "logged", run_eagerly=False)
    with pytest.raises(introspect.IntrospectError, match=r"test_followed\.py:\d+: .*run_eagerly=True"):
        introspect.inspect(model, data=data)
    with pytest.raises(Exception, match=r"float\(\)|SymbolicTensor|numpy"):
        model.fit(data, verbose=0)


def test_nothing_stays_patched() -> None:
    """After a look a symbolic tensor has no value again."""
    model, data = build("keras", "logged")
    introspect.inspect(model, data=data)
    other, data = build("keras", "eager/c")
    introspect.inspect(other, data=data)

    @tf.function(autograph=False)
    def look(x: Any) -> Any:
        return tf.constant([tf.executing_eagerly(), hasattr(x, "numpy"), not tf.is_symbolic_tensor(x)])

    assert not look(tf.constant(1.0)).numpy().any()
    assert tf.executing_eagerly()
    assert tf.executing_eagerly.__code__.co_filename.endswith("context.py")

    @tf.function(autograph=False)
    def number(x: Any) -> Any:
        return float(x)

    with pytest.raises(TypeError):
        number(tf.constant(1.0))


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "in a branch"])
def test_a_step_that_asks_whether_it_runs_eagerly(package: str, form: str) -> None:
    """It is told that it does, and is healthy where it trains all the same; no number was asked for."""
    asked = Asked(rules=("INT104",), kinds={"c/*": "gradient"})
    assert Cell(lambda: build(package, f"{form}/c"), asked, None).run() == []
    assert Cell(lambda: build(package, f"{form}/all"), act=None).run() == []
    model, data = build(package, f"{form}/c", run_eagerly=False)
    assert Cell(lambda: (model, data), act=None).run() == []
    assert not any(model.seen)


@pytest.mark.parametrize("package", KERAS)
def test_a_question_in_a_branch(package: str) -> None:
    """A branch of the graph's stands for what an eager step runs at once."""
    model, data = build(package, "in a branch/c")
    assert ask(model, data, Asked(rules=("INT104", "INT507"))).faults == []


@pytest.mark.parametrize("package", KERAS)
def test_all_functions_run_eagerly(package: str) -> None:
    """Under TensorFlow's own switch a tf.function is part of the step; without it, it asks in its own graph."""
    model, data = build(package, "logged")
    inner = tf.function(lambda x: tf.constant(tf.executing_eagerly() and hasattr(x, "numpy")), autograph=False)

    def train_step(data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        variables = model.c.trainable_variables if inner(loss).numpy() else model.trainable_variables
        model.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return {"loss": loss}

    model.train_step = train_step
    assert ask(model, data, FOLLOWED).faults == []
    tf.config.run_functions_eagerly(True)
    try:
        assert ask(model, data, STARVED).faults == []
        assert tf.config.functions_run_eagerly()
    finally:
        tf.config.run_functions_eagerly(False)


def test_a_question_that_cannot_be_answered_is_told() -> None:
    """Of replicas no batch is followed: no verdict is better than that of the other way."""
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model, data = build("keras", "eager/c")
    with pytest.raises(introspect.IntrospectError, match=r"asks whether it runs eagerly \(.*test_followed\.py:\d+"):
        introspect.inspect(model, data=data)


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("eager", [True, False])
def test_a_branch_of_an_eager_step_is_unknown(package: str, eager: bool) -> None:
    """A tape sees the branch that a batch takes; compiled, it has zeros for the other."""
    keras = importlib.import_module(package)

    branch = branch_layer(package == "tf_keras")(name="b")
    model = keras.Sequential([keras.Input((3,)), branch, keras.layers.Dense(1, name="d")])
    model.compile("sgd", "mse", run_eagerly=eager)
    x = np.ones((4, 3), "float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(4)
    outcome = ask(model, data, Asked(opaque=eager, numeric=True))
    assert outcome.faults == []
    found = {row.path.split("/")[-1].removesuffix(":0"): row.updated for row in outcome.report.variables}
    chosen = "unknown" if eager else "yes"
    assert found == {"left": chosen, "right": chosen, "kernel": "yes", "bias": "yes"}


@pytest.mark.parametrize("package", KERAS)
@pytest.mark.parametrize("frozen", [True, False])
def test_eager_steps_of_which_several_run_at_once(package: str, frozen: bool) -> None:
    """Those after the first stand in a branch as a whole: where one runs, it trains."""
    keras = importlib.import_module(package)

    dense = keras.layers.Dense(2, name="c", trainable=not frozen)
    model = keras.Sequential([keras.Input((3,)), dense, keras.layers.Dense(1, name="d")])
    model.compile("sgd", "mse", run_eagerly=True, steps_per_execution=2)
    x = np.ones((6, 3), "float32")
    data = tf.data.Dataset.from_tensor_slices((x, x[:, :1])).batch(2)
    for _ in range(2):
        outcome = ask(model, data, PLAIN)
        assert outcome.faults == []
        trained = [row.updated for row in outcome.report.variables]
        assert trained == ["no" if frozen else "yes"] * 2 + ["yes"] * 2


def test_a_value_in_a_branch_is_refused() -> None:
    """An eager step has it there, and a trace has none."""
    model, data = build("keras", "logged")

    def train_step(data: Any) -> Any:
        return {"loss": tf.cond(tf.size(data[0]) > 0, lambda: float(hasattr(data[0] * 1.0, "numpy")), lambda: 0.0)}

    model.train_step = train_step
    with pytest.raises(introspect.IntrospectError, match="inside of a branch"):
        introspect.inspect(model, data=data)
