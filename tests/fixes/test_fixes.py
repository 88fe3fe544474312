"""A fix that is called verified is one that mends the model when it is really applied, and no other."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import introspect
from introspect.errors import IntrospectError
from introspect.records import Report
from tests.capture.observing import observe
from tests.fixes.steps import make_data, make_model, path_of, same, step_moves, train, values
from tests.fixes.test_recompile import make_optimizer

pytestmark = pytest.mark.tf


def freeze_late(library: str = "keras") -> Any:
    model = make_model(library)
    model.compile("adam", "mse")
    train(model, 1)
    model.get_layer("d2").trainable = False
    return model


def unfreeze_late(library: str = "keras") -> Any:
    model = make_model(library)
    model.get_layer("d1").trainable = False
    model.compile("adam", "mse")
    train(model, 1)
    model.get_layer("d1").trainable = True
    return model


def freeze_norm_late() -> Any:
    model = make_model(norm=True)
    model.compile("sgd", "mse")
    train(model, 1)
    model.get_layer("bn").trainable = False
    return model


def reuse_optimizer(library: str = "keras") -> Any:
    model = unfreeze_late(library)
    model.compile(model.optimizer, "mse")
    return model


def load_and_unfreeze(folder: Path) -> Any:
    import keras

    model = make_model()
    model.get_layer("d1").trainable = False
    model.compile("adam", "mse")
    train(model, 1)
    model.save(folder / "frozen.keras")
    model = keras.models.load_model(folder / "frozen.keras")
    model.trainable = True
    model.get_layer("d1").trainable = True
    return model


def cut_gradient() -> Any:
    import keras
    import tensorflow as tf

    class Cut(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, x: Any) -> Any:
            return tf.stop_gradient(x)

    keras.utils.set_random_seed(7)
    inputs = keras.Input((4,))
    hidden = Cut()(keras.layers.Dense(3, name="d1")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="d2")(hidden), name="net")
    model.compile("sgd", "mse")
    train(model, 1)
    return model


def cut_and_unfreeze_late() -> Any:
    """Both faults: the variables left out of the step would get no gradient from a new one either."""
    model = cut_gradient()
    model.get_layer("d1").trainable = False
    model.compile("sgd", "mse")
    train(model, 1)
    model.get_layer("d1").trainable = True
    return model


def assign_optimizer() -> Any:
    import keras

    model = make_model()
    model.compile("adam", "mse")
    train(model, 1)
    model.optimizer = keras.optimizers.Adam(0.5)
    return model


def ignore_flags() -> Any:
    """A train_step of its own that takes all weights: compiling again cannot mend it."""
    import keras
    import tensorflow as tf

    class Stubborn(keras.Model):  # type: ignore[misc,name-defined]
        def train_step(self, data: Any) -> Any:
            x, y = data[:2]
            with tf.GradientTape() as tape:
                error = tf.reduce_mean(tf.square(self(x) - y))
            weights = self.weights
            self.optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
            return {"loss": error}

    plain = make_model()
    model = Stubborn(plain.inputs, plain.outputs, name="net")
    model.compile("sgd", "mse")
    train(model, 1)
    model.get_layer("d2").trainable = False
    return model


def mix_traces() -> Any:
    model = make_model()
    model.compile("sgd", "mse")
    model.train_on_batch(*make_data())
    model.get_layer("d2").trainable = False
    x, y = make_data()
    model.train_on_batch(x[:4], y[:4])
    return model


SCENARIOS: list[tuple[Callable[..., Any], str, bool]] = [
    (freeze_late, "INT101", True),
    (unfreeze_late, "INT103", True),
    (freeze_norm_late, "INT102", True),
    (reuse_optimizer, "INT201", True),
    (cut_gradient, "INT104", False),
    (cut_and_unfreeze_late, "INT104", False),
    (assign_optimizer, "INT203", True),
    (ignore_flags, "INT101", False),
    (mix_traces, "INT106", True),
]


def judge_applied(report: Report, rule: str, model: Any) -> bool:
    """What the finding names does what its flag says, in one real step after `recompile`."""
    (finding,) = [f for f in report.findings if f.rule == rule]
    introspect.recompile(model, keep_optimizer_state=False)
    moved = step_moves(model)
    trained = {path_of(v) for v in model.trainable_variables}
    return all((path in moved) == (path in trained) for path in finding.variables)


@pytest.mark.parametrize(("make", "rule", "mends"), SCENARIOS, ids=lambda part: getattr(part, "__name__", None))
def test_verified_is_what_applying_it_shows(make: Callable[[], Any], rule: str, mends: bool) -> None:
    report = introspect.inspect(make(), try_fixes=True)
    (finding,) = [f for f in report.findings if f.rule == rule]
    assert finding.verified == judge_applied(report, rule, make()) == mends
    result = finding.fix_result
    assert result is not None
    wanted = [p for p in finding.variables if report.variable(p).expected]
    assert set(result.still_not) == (set() if mends else set(wanted))
    if wanted and mends:
        assert set(result.trains) == set(wanted)


@pytest.mark.parametrize(
    ("make", "rule"), [(freeze_late, "INT101"), (unfreeze_late, "INT103"), (reuse_optimizer, "INT201")]
)
def test_tf_keras(make: Callable[[str], Any], rule: str) -> None:
    report = introspect.inspect(make("tf_keras"), try_fixes=True)
    (finding,) = [f for f in report.findings if f.rule == rule]
    assert finding.verified
    assert judge_applied(report, rule, make("tf_keras"))


def test_load_and_unfreeze(tmp_path: Path) -> None:
    report = introspect.inspect(load_and_unfreeze(tmp_path), try_fixes=True)
    (finding,) = [f for f in report.findings if f.rule == "INT201"]
    assert finding.verified
    assert finding.fix_result is not None
    assert len(finding.fix_result.trains) == 2
    assert judge_applied(report, "INT201", load_and_unfreeze(tmp_path))


def make_misaligned() -> Any:
    import keras

    model = make_model()
    model.get_layer("d1").trainable = False
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    train(model, 1)
    model.get_layer("d2").trainable = False
    return model


def test_averages() -> None:
    """The end of fit: each variable ends as its own average once the fix is applied."""
    report = introspect.inspect(make_misaligned(), try_fixes=True)
    wrong = [f for f in report.findings if f.rule in ("INT205", "INT202")]
    assert wrong
    assert all(f.verified for f in wrong)
    model = make_misaligned()
    introspect.recompile(model)
    train(model, 2)
    averages = model.optimizer._model_variables_moving_average
    assert same(values(model.trainable_variables), values(averages))


def test_reports_without_a_fault_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from introspect.capture.renewal import trial

    monkeypatch.setattr(trial, "capture_trial", pytest.fail)
    model = make_model()
    model.compile("sgd", "mse")
    train(model, 1)
    report = introspect.inspect(model, try_fixes=True)
    assert report.ok
    assert "fixes" not in dict(report.timings)


def test_a_trial_is_no_flag_write_of_the_users() -> None:
    """Neither its flags nor its compile are told as things that the user's code did."""
    with introspect.trace_flags():
        model = cut_gradient()
        plain = introspect.inspect(model)
        tried = introspect.inspect(model, try_fixes=True)
        after = introspect.inspect(model)
    (finding,) = tried.findings
    (trial,) = finding.trials
    assert trial.note.startswith("d1 frozen")
    assert "test_fixes.py" not in trial.note
    assert after.findings == plain.findings


def test_what_cannot_be_tried_says_why() -> None:
    model = unfreeze_late()
    bad = (np.zeros((8, 5), "float32"), np.zeros((8, 2), "float32"))
    report = introspect.inspect(model, data=bad, try_fixes=True)
    (finding,) = [f for f in report.findings if f.rule == "INT202"]
    assert not finding.verified
    assert finding.fix_result is not None
    assert "cannot be traced" in finding.fix_result.note


def make_kept(name: str) -> Callable[[], Any]:
    """A layer unfrozen late, with an optimizer that keeps state of its own beside the slots."""

    def make() -> Any:
        model = make_model()
        model.get_layer("d1").trainable = False
        model.compile(make_optimizer("keras", name), "mse")
        train(model, 2)
        model.get_layer("d1").trainable = True
        return model

    return make


@pytest.mark.parametrize("name", ["ema", "accumulate", "scaled", "multi", "schedule_free", "muon"])
def test_state_is_carried_into_the_trial(name: str) -> None:
    """The step tried is that of `recompile`: its optimizer has the state, and nothing of it is found wrong."""
    report = introspect.inspect(make_kept(name)(), try_fixes=True)
    (finding,) = [f for f in report.findings if f.rule == "INT103"]
    assert finding.verified
    assert finding.fix_result is not None
    assert "optimizer state kept" in finding.fix_result.note
    model = make_kept(name)()
    introspect.recompile(model)
    assert introspect.inspect(model).ok


def test_state_that_cannot_be_kept_is_said() -> None:
    import keras

    class Odd(keras.optimizers.SGD):  # type: ignore[misc,name-defined]
        def get_config(self) -> dict[str, Any]:
            return {"unknown": 1}

    model = make_model()
    model.get_layer("d1").trainable = False
    model.compile(Odd(0.1), "mse")
    train(model, 1)
    model.get_layer("d1").trainable = True
    (finding,) = introspect.inspect(model, try_fixes=True).findings
    assert finding.fix_result is not None
    assert "with a new optimizer, for its state cannot be kept" in finding.fix_result.note
    with pytest.raises(IntrospectError):
        introspect.recompile(model)


@pytest.mark.parametrize(
    "make",
    [
        *(unfreeze_late, freeze_norm_late, reuse_optimizer, cut_gradient, make_misaligned, mix_traces),
        *(make_kept("ema"), make_kept("scaled"), make_kept("multi")),
    ],
)
def test_the_model_is_not_touched(make: Callable[[], Any]) -> None:
    model = make()
    before, whole = record_state(model), observe(model, model.optimizer)
    introspect.inspect(model, try_fixes=True)
    assert record_state(model) == before
    assert observe(model, model.optimizer) == whole


def record_state(model: Any) -> list[Any]:
    """All that a trial could disturb."""
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    optimizer = model.optimizer
    function = model.train_function
    cells = {} if function is None else dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
    traces = len(cells["multi_step_on_iterator"].cell_contents._function_cache._primary) if cells else 0
    return [
        [a.tobytes() for a in values(model.variables)],
        [a.tobytes() for a in values(optimizer.variables)],
        [id(v) for v in (*model.variables, *optimizer.variables, *optimizer._trainable_variables)],
        [bool(v.trainable) for v in model.variables],
        [(layer.name, layer.trainable, layer.built) for layer in model._flatten_layers()],
        [id(metric) for metric in model.metrics],
        sorted(vars(model)),
        [id(value) for _, value in sorted(vars(optimizer).items()) if not isinstance(value, list)],
        id(function),
        traces,
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        context.context()._rng.getstate() if context.context()._rng is not None else None,
        sorted(global_state.get_global_attribute("object_name_uids", {}).items()),
    ]


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_whole_model_that_is_frozen_late_is_tried(library: str) -> None:
    """A step that trains nothing any more is a step; the twin, frozen before its compile, has nothing to mend."""
    module = importlib.import_module(library)
    model = module.Sequential([module.layers.Dense(3), module.layers.Dense(1)], name="net")
    model.build((None, 4))
    model.compile("adam", "mse")
    train(model, 1)
    model.trainable = False
    (finding,) = introspect.inspect(model, try_fixes=True).findings
    assert (finding.rule, finding.verified) == ("INT101", True)
    assert finding.fix_result is not None
    assert not finding.fix_result.still_not
    introspect.recompile(model)
    assert step_moves(model) == set()
    assert introspect.inspect(model).ok


class TwoSteps:
    """Its train_step cannot be traced with its first layer frozen: there is nothing to hand over."""

    def train_step(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        x, y = data
        with tf.GradientTape(persistent=True) as tape:
            loss = tf.reduce_mean(tf.square(y - self(x, training=True)))  # type: ignore[operator]
        for layer in self.layers:  # type: ignore[attr-defined]
            gradients, variables = zip(*[(tape.gradient(loss, v), v) for v in layer.trainable_variables], strict=True)
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))  # type: ignore[attr-defined]
        return {"loss": loss}


def test_what_could_not_be_tried_says_of_frozen_variables_no_word_of_training() -> None:
    import keras

    class Net(TwoSteps, keras.Sequential):  # type: ignore[misc]
        pass

    model = Net([keras.layers.Dense(3, name="hid"), keras.layers.Dense(1, name="out")], name="net")
    model.build((None, 4))
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, "mse")
    train(model, 1)
    model.layers[0].trainable = False
    (finding,) = introspect.inspect(model, try_fixes=True).findings
    assert finding.rule == "INT101"
    assert finding.fix_result is not None
    assert "could not be tried" in finding.fix_result.note
    assert finding.fix_result.still_not == ()


@pytest.mark.parametrize("late", [True, False])
def test_tf_keras_compiled_again_is_not_blamed_on_the_last_compile(late: bool) -> None:
    """A layer that does not ask its flag, frozen after and before compile."""
    import tensorflow as tf
    import tf_keras

    class Restless(tf_keras.layers.Dense):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            super().build(shape)
            self.seen = self.add_weight(name="seen", shape=(), initializer="zeros", trainable=False)

        def call(self, inputs: Any) -> Any:
            self.seen.assign_add(0.1 * tf.reduce_mean(inputs))
            return super().call(inputs)

    model = tf_keras.Sequential([Restless(3, name="hid"), tf_keras.layers.Dense(1, name="out")], name="net")
    model.build((None, 4))
    model.layers[0].trainable = late
    model.compile("sgd", "mse")
    model.layers[0].trainable = False
    (finding,) = (one for one in introspect.inspect(model, try_fixes=True).findings if one.rule == "INT102")
    assert not finding.verified
    assert finding.fix_result is not None
    assert "last compile" not in finding.fix_result.note
