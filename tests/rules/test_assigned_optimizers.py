"""Optimizers of a model that were assigned after the step was traced, wherever the model holds them."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")
tf_keras = pytest.importorskip("tf_keras")

import introspect  # noqa: E402
from tests.oracle import Asked, ask  # noqa: E402
from tests.rules.exchanged import PACKAGES, X, Y, count, make_layers, make_loop  # noqa: E402
from tests.rules.reported import batches  # noqa: E402
from tests.rules.test_held_optimizers import fitted, make_optimizer  # noqa: E402

pytestmark = pytest.mark.tf
Pick = Callable[[Any], Any]


def make_model(package: Any, pick: Pick, **held: Any) -> Any:
    """One whose own step takes its optimizer by `pick`; `held` are its attributes. It is fitted once."""

    class Picky(package.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.hid, self.out = package.layers.Dense(3), package.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.out(self.hid(x))

        def train_step(self, batch: Any) -> Any:
            x, y = batch
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x) - y) ** 2)
            weights = self.trainable_variables
            pick(self).apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

    model = Picky()
    model.compile(package.optimizers.Adam(1e-3))
    for name, value in held.items():
        setattr(model, name, value)
    model.fit(batches(), verbose=0)
    return model


def give_own(model: Any, optimizer: Any) -> None:
    model.optimizer = optimizer


def give_first(model: Any, optimizer: Any) -> None:
    model.first = optimizer


def give_part(model: Any, optimizer: Any) -> None:
    model.parts[1] = optimizer


def give_named(model: Any, optimizer: Any) -> None:
    model.named["late"] = optimizer


WAYS: dict[str, tuple[Pick, Callable[[Any, Any], None]]] = {
    "optimizer": (lambda model: model.optimizer, give_own),
    "first": (lambda model: model.first, give_first),
    "parts[1]": (lambda model: model.parts[1], give_part),
    "named['late']": (lambda model: model.named["late"], give_named),
}


def make_way(package: Any, way: str) -> tuple[Any, Any]:
    """(a fitted model, the optimizer that its step uses)"""
    adam = package.optimizers.Adam
    pick = WAYS[way][0]
    held = {"first": adam(), "parts": [adam(), adam()], "named": {"late": adam()}}
    model = make_model(package, pick, **(held if way != "optimizer" else {}))
    return model, pick(model)


@PACKAGES
@pytest.mark.parametrize("gone", [False, True], ids=["alive", "gone"])
@pytest.mark.parametrize("way", WAYS)
def test_one_that_was_assigned_later_does_nothing(package: Any, way: str, gone: bool) -> None:
    model, old = make_way(package, way)
    WAYS[way][1](model, package.optimizers.SGD(0.5))
    if gone:
        old = None
        gc.collect()
    outcome = ask(model, batches(), Asked(rules=("INT203",), arguable=True))
    assert outcome.faults == []
    assert outcome.rules == {"INT203"}
    report = introspect.inspect(model, try_fixes=True)
    (finding,) = [one for one in report.findings if one.rule == "INT203"]
    assert f"does not use model.{way} (SGD " in finding.message
    assert finding.certainty == "proven"
    assert finding.verified
    model.fit(batches(), verbose=0)
    assert count(WAYS[way][0](model)) == 0
    assert old is None or count(old) > 1
    introspect.recompile(model)
    assert ask(model, batches()).rules == set()
    model.fit(batches(), verbose=0)
    assert count(WAYS[way][0](model)) > 0


@PACKAGES
def test_one_that_the_step_never_means_to_use(package: Any) -> None:
    """An optimizer that only the step's closure holds trains, whatever the model holds beside it."""
    held = [package.optimizers.Adam()]
    model = make_model(package, lambda _: held[0], first=package.optimizers.SGD(0.5))
    assert ask(model, batches()).faults == []
    assert ask(model, batches()).rules == set()


@PACKAGES
def test_a_part_that_took_anothers_place(package: Any) -> None:
    model = fitted(package, make_optimizer(package, False))
    assert ask(model, batches()).rules == set()
    model.optimizer.optimizers[0] = package.optimizers.SGD(0.5)
    gc.collect()
    outcome = ask(model, batches(), Asked(rules=("INT203",), arguable=True))
    assert outcome.rules == {"INT203"}
    (finding,) = introspect.inspect(model).findings
    assert "does not use model.optimizer.optimizers[0] (SGD " in finding.message
    model.fit(batches(), verbose=0)
    assert count(model.optimizer.optimizers[0]) == 0


@PACKAGES
@pytest.mark.parametrize("gone", [False, True], ids=["alive", "gone"])
def test_the_optimizer_of_a_loop_that_was_assigned_later(package: Any, gone: bool) -> None:
    model, step, held = make_loop(package)
    old = None if gone else held["optimizer"]
    optimizer = held["optimizer"] = package.optimizers.SGD(0.5)
    gc.collect()
    given: dict[str, Any] = {"args": (X, Y), "model": model, "optimizer": optimizer}
    (finding,) = introspect.inspect(step, **given, try_fixes=True).findings
    assert finding.rule == "INT203"
    assert "does not use optimizer (SGD " in finding.message
    assert finding.verified
    step(X, Y)
    assert count(optimizer) == 0
    assert old is None or count(old) == 2
    names = {"step": step, "tf": tf}
    exec(finding.fix, names)
    assert introspect.inspect(names["step"], **given).findings == ()
    names["step"](X, Y)
    assert count(optimizer) == 1


@PACKAGES
def test_optimizers_that_a_loop_is_not_meant_to_use(package: Any) -> None:
    """One of two is for another step; one belongs to no step at all."""
    model, step, held = make_loop(package)
    other = package.optimizers.SGD(0.5)
    for named in ([held["optimizer"], other], other):
        report = introspect.inspect(step, args=(X, Y), model=model, optimizer=named)
        assert "INT203" not in {finding.rule for finding in report.findings}


def make_rates(package: Any, kind: str) -> Any:
    """A compiled model by the kind of its optimizer; "own": with a step of the user's."""
    package.utils.set_random_seed(3)
    if kind == "own":
        return make_model(package, lambda model: model.optimizer)
    optimizers = package.optimizers.legacy if kind == "legacy" else package.optimizers
    model = make_layers(package)
    model.compile(
        {"momentum": lambda: optimizers.SGD(0.1, momentum=0.9)}.get(kind, lambda: optimizers.SGD(0.1))(), "mse"
    )
    model.fit(batches(), verbose=0)
    return model


def give_schedule(package: Any, model: Any) -> None:
    """One by which nothing would move: what moves goes by the rate from before."""
    model.optimizer.learning_rate = package.optimizers.schedules.ExponentialDecay(0.0, 10, 0.9)


@pytest.mark.parametrize(
    ("package", "kind"),
    [(package, kind) for package in (keras, tf_keras) for kind in ("plain", "momentum", "own")]
    + [(tf_keras, "legacy")],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_schedule_that_was_assigned_later_does_nothing(package: Any, kind: str) -> None:
    model = make_rates(package, kind)
    assert ask(model, batches()).rules == set()
    give_schedule(package, model)
    outcome = ask(model, batches(), Asked(rules=("INT203",), arguable=True))
    assert outcome.faults == []
    assert outcome.rules == {"INT203"}
    (finding,) = introspect.inspect(model, try_fixes=True).findings
    assert finding.message.endswith("does not use the ExponentialDecay of model.optimizer.")
    assert finding.verified
    introspect.recompile(model)
    assert ask(model, batches(), Asked(numeric=True)).rules == set()
    before = model.get_weights()
    model.fit(batches(), verbose=0)
    still = [(one == other).all() for one, other in zip(before, model.get_weights(), strict=True)]
    assert all(still) == (kind != "momentum")


@PACKAGES
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "Nadam"])
def test_a_schedule_that_the_model_was_compiled_with(package: Any, optimizer: str) -> None:
    model = make_layers(package)
    rate = package.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model.compile(getattr(package.optimizers, optimizer)(rate), "mse")
    model.fit(batches(), verbose=0)
    report = introspect.inspect(model)
    assert report.findings == ()
    assert "second step" not in dict(report.timings)


@PACKAGES
def test_a_rate_of_0_is_set_where_it_is_used(package: Any) -> None:
    model = package.Sequential([package.layers.Input((4,)), package.layers.Dense(1)])
    model.compile(package.optimizers.SGD(0.0), "mse")
    model.fit(batches(), verbose=0)
    (idle,) = introspect.inspect(model).findings
    assert (idle.rule, idle.fix) == ("INT501", "model.optimizer.learning_rate = 1e-3")
    old = model.optimizer
    model.optimizer = package.optimizers.SGD(0.5)
    found = {finding.rule: finding for finding in introspect.inspect(model).findings}
    assert set(found) == {"INT203", "INT501"}
    assert found["INT501"].fix == "introspect.recompile(model)"
    assert "not stale" not in found["INT501"].cause
    assert count(old) > 0


@PACKAGES
def test_the_optimizer_below_a_loss_scale_is_named_as_users_reach_it(package: Any) -> None:
    scales = package.optimizers if package is keras else package.mixed_precision
    model = make_layers(package)
    model.compile(scales.LossScaleOptimizer(package.optimizers.SGD(0.1)), "mse")
    model.fit(batches(), verbose=0)
    assert introspect.inspect(model).findings == ()
    model.optimizer.inner_optimizer.learning_rate = package.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    (finding,) = introspect.inspect(model).findings
    assert finding.rule == "INT203"
    assert finding.message.endswith("does not use the ExponentialDecay of model.optimizer.inner_optimizer.")
