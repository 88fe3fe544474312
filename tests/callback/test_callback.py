"""The callback in `fit`, in loops of one's own, and where something fails."""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest

import introspect
from introspect.errors import IntrospectError, IntrospectWarning, MismatchError
from tests.fixes.steps import make_data, make_model, same, values

pytestmark = pytest.mark.tf
LIBRARIES = ["keras", "tf_keras"]


def make_flip(library: str, epoch: int, recompile: bool = False, layer: str = "d1", flag: bool = True) -> Any:
    keras = importlib.import_module(library)

    class Flip(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_epoch_begin(self, now: int, logs: Any = None) -> None:
            if now == epoch:
                self.model.get_layer(layer).trainable = flag
                if recompile:
                    introspect.recompile(self.model)

    return Flip()


def make_frozen(library: str = "keras") -> Any:
    model = make_model(library)
    model.get_layer("d1").trainable = False
    model.compile("sgd", "mse")
    return model


def fit(model: Any, callbacks: list[Any], epochs: int = 1, **options: Any) -> Any:
    x, y = make_data()
    return model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, shuffle=False, callbacks=callbacks, **options)


def reasons(callback: Any) -> list[Any]:
    return [report.reason for report in callback.reports]


@pytest.mark.parametrize("library", LIBRARIES)
def test_warns_at_the_very_epoch(library: str) -> None:
    """Also where it stands before the callback that flips."""
    model = make_frozen(library)
    callback = introspect.IntrospectCallback()
    with pytest.warns(IntrospectWarning) as caught:
        fit(model, [callback, make_flip(library, 2)], epochs=4)
    ours = [w for w in caught if w.category is IntrospectWarning]
    assert len(ours) == 1
    assert "INT103" in str(ours[0].message)
    assert "epoch 3" in str(ours[0].message)
    assert "introspect.recompile(model)" in str(ours[0].message)
    assert ours[0].filename == __file__
    assert reasons(callback) == ["first trace", "flag changed", "train end"]
    assert callback.report is callback.reports[-1]
    assert [report.ok for report in callback.reports] == [True, False, False]
    assert callback.reports[1].step == 4  # before the first step of that epoch


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_flip_with_recompile_is_healthy(library: str) -> None:
    model = make_frozen(library)
    callback = introspect.IntrospectCallback()
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback, make_flip(library, 1, recompile=True)], epochs=3)
    assert reasons(callback) == ["first trace", "recompiled", "train end"]
    assert callback.report.ok
    assert len(callback.reports[0].traces[0].updated) == 4
    assert len(callback.report.traces[0].updated) == 6


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_flag_set_between_two_fits(library: str) -> None:
    """tf_keras puts the flags of compile in place while it fits; what counts is what the user set."""
    model = make_frozen(library)
    callback = introspect.IntrospectCallback()
    fit(model, [callback])
    model.get_layer("d1").trainable = True
    with pytest.warns(IntrospectWarning, match="INT103"):
        fit(model, [callback])
    assert model.get_layer("d1").trainable
    assert reasons(callback) == ["first trace", "train end", "flag changed", "train end"]
    assert callback.reports[2].variable("d1/kernel" + (":0" if library == "tf_keras" else "")).expected
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback])  # it lasts: told once
    assert reasons(callback)[-1] == "train end"


def test_a_retrace_heals_without_a_false_alarm() -> None:
    """Freeze, then fit batches of another structure: the new trace does what the flags say."""
    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback()
    fit(model, [callback])
    model.get_layer("d1").trainable = False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", IntrospectWarning)
        fit(model, [callback], class_weight={0: 1.0, 1: 2.0})
    assert not [w for w in caught if "INT101" in str(w.message)]
    assert reasons(callback)[2] == "flag changed"


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_trace_that_this_fit_uses(library: str) -> None:
    """Of two traces the older one is in use: what it does is told, and nothing that the other one would do."""
    import tensorflow as tf

    x, y = make_data()
    eight, four = (tf.data.Dataset.from_tensor_slices((x, y)).batch(n, drop_remainder=True) for n in (8, 4))
    model = make_model(library)
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback()
    model.fit(eight.repeat(2), verbose=0)
    model.get_layer("d1").trainable = False
    if library == "tf_keras":
        model.compile("sgd", "mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error", IntrospectWarning)
        model.fit(four, verbose=0, callbacks=[callback])  # traced anew, and frozen
    assert callback.report.ok
    if library == "tf_keras":
        return
    with pytest.warns(IntrospectWarning, match="INT101"):
        model.fit(eight.repeat(2), verbose=0, callbacks=[callback])
    assert [trace.current for trace in callback.report.traces] == [True, False]


def test_new_batch_signature() -> None:
    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback()
    fit(model, [callback])
    fit(model, [callback], class_weight={0: 1.0, 1: 2.0})
    assert reasons(callback) == ["first trace", "train end", "new batch signature", "train end"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_raises(library: str) -> None:
    model = make_frozen(library)
    callback = introspect.IntrospectCallback(on_mismatch="raise")
    before = None
    with pytest.raises(MismatchError, match="INT103") as caught:
        fit(model, [make_flip(library, 1), callback], epochs=3)
    assert caught.value.report is callback.report
    assert not callback.report.ok
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert again.report == caught.value.report
    before = values(model.variables)
    with pytest.raises(MismatchError):
        fit(model, [callback])  # each training raises anew
    assert not same(before, values(model.variables))  # after its first step


def test_logs(caplog: pytest.LogCaptureFixture) -> None:
    model = make_frozen()
    callback = introspect.IntrospectCallback(on_mismatch="log")
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING, "introspect"):
        warnings.simplefilter("error", IntrospectWarning)
        fit(model, [callback, make_flip("keras", 1)], epochs=2)
    assert [record.name for record in caplog.records] == ["introspect"]
    assert "INT103" in caplog.text


def test_a_warning_is_told_and_never_raised() -> None:
    import keras
    import tensorflow as tf

    inputs = keras.Input((4,))
    cut = keras.layers.Lambda(tf.stop_gradient)(keras.layers.Dense(3, name="d1")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(cut))
    model.compile("sgd", "mse")
    with pytest.warns(IntrospectWarning, match="INT104"):
        fit(model, [introspect.IntrospectCallback(on_mismatch="raise")])


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_are_the_same_to_the_bit(library: str, tmp_path: Path) -> None:
    keras = importlib.import_module(library)
    models = []
    for watched in (False, True):
        keras.utils.set_random_seed(3)
        model = make_model(library)
        model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
        flip = make_flip(library, 2, layer="d2", flag=False)
        callbacks = [introspect.IntrospectCallback(str(tmp_path), "log", every=1)] if watched else []
        history = fit(model, [*callbacks, flip], epochs=4, validation_data=make_data(1)).history
        models.append((model, history))
    (plain, one), (seen, other) = models
    assert same(values(plain.variables), values(seen.variables))
    variables = [m.optimizer.variables for m in (plain, seen)]
    assert same(*[values(part) for part in variables])
    assert one == other


def test_every_epoch() -> None:
    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback(every="epoch")
    fit(model, [callback], epochs=3)
    assert reasons(callback) == ["first trace", "epoch", "epoch", "epoch", "train end"]


def test_every_so_many_batches_keeps_what_changed_alone() -> None:
    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback(every=2)
    fit(model, [callback], epochs=4)
    assert reasons(callback) == ["first trace", "train end"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_mismatch": "shout"},
        {"every": 0},
        {"every": True},
        {"every": "day"},
        {"proof": True},
        {"log_dir": 5},
        {"log_dir": b"logs"},
    ],
)
def test_arguments(wrong: dict[str, Any]) -> None:
    with pytest.raises(IntrospectError, match="pass"):
        introspect.IntrospectCallback(**wrong)


def test_one_batch_an_epoch() -> None:
    model = make_frozen()
    callback = introspect.IntrospectCallback()
    x, y = make_data()
    with pytest.warns(IntrospectWarning, match="INT103.*epoch 2"):
        model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[callback, make_flip("keras", 1)])
    assert reasons(callback) == ["first trace", "flag changed", "train end"]


def test_a_fit_that_stops_at_once_leaves_no_report() -> None:
    import keras

    class Stop(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback()
    with pytest.raises(KeyboardInterrupt):
        fit(model, [callback, Stop()])
    assert callback.report is None
    fit(model, [callback])
    assert reasons(callback) == ["first trace", "train end"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_run_eagerly(library: str) -> None:
    model = make_model(library)
    model.compile("sgd", "mse", run_eagerly=True)
    callback = introspect.IntrospectCallback()
    fit(model, [callback, make_flip(library, 1, flag=False)], epochs=2)
    assert callback.reports[0].source == "eager"
    assert reasons(callback)[:2] == ["first trace", "flag changed"]
    assert callback.report.ok or library == "tf_keras"


@pytest.mark.parametrize("library", LIBRARIES)
def test_train_on_batch(library: str) -> None:
    model = make_frozen(library)
    callback = introspect.IntrospectCallback()
    x, y = make_data()
    for step in range(6):
        model.train_on_batch(x, y)
        if step == 3:
            model.get_layer("d1").trainable = True
            with pytest.warns(IntrospectWarning, match="INT103"):
                callback.inspect(model)
        else:
            assert callback.inspect(model) is callback.report
    callback.on_train_end()
    assert reasons(callback) == ["first trace", "flag changed", "train end"]


def test_a_function_of_ones_own() -> None:
    import keras
    import tensorflow as tf

    model = make_model()
    model.get_layer("d1").trainable = False
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(model(x, training=True) - y))
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(error, weights), weights, strict=True))
        return error

    callback = introspect.IntrospectCallback()
    x, y = (tf.constant(part) for part in make_data())
    for number in range(4):
        step(x, y)
        if number == 2:
            model.get_layer("d1").trainable = True
            with pytest.warns(IntrospectWarning):
                callback.inspect(model, step, args=(x, y), optimizer=optimizer)
        callback.inspect(model, step, args=(x, y), optimizer=optimizer)
    assert reasons(callback) == ["first trace", "flag changed"]


def test_several_models_share_one() -> None:
    models = [make_frozen(), make_model()]
    models[1].compile("sgd", "mse")
    callback = introspect.IntrospectCallback()
    for model in (*models, *models):
        fit(model, [callback])
    assert reasons(callback) == ["first trace", "train end"] * 2 + ["train end"] * 2


def test_each_of_many_models_is_told() -> None:
    """One after the other, so that objects come to lie where others lay."""
    callback = introspect.IntrospectCallback()
    for _ in range(3):
        model = make_frozen()
        with pytest.warns(IntrospectWarning, match="INT103"):
            fit(model, [callback, make_flip("keras", 1)], epochs=2)
        del model
        callback.set_model(None)


@pytest.mark.parametrize("library", LIBRARIES)
def test_is_a_callback_of_keras(library: str) -> None:
    keras = importlib.import_module(library)
    callback = introspect.IntrospectCallback()
    assert isinstance(callback, keras.callbacks.Callback)
    assert isinstance(callback, introspect.IntrospectCallback)
    keras.callbacks.CallbackList([callback], model=make_frozen(library))


class Mine(introspect.IntrospectCallback):
    """A subclass of the user's."""

    def __init__(self) -> None:
        super().__init__(on_mismatch="log")


@pytest.mark.parametrize("make", [introspect.IntrospectCallback, Mine])
def test_pickles_and_copies(make: Any, tmp_path: Path) -> None:
    callback = make() if make is Mine else make(str(tmp_path), every=3)
    model = make_frozen()
    fit(model, [callback])
    for again in (pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)):
        assert isinstance(again, make)
        assert again.reports == callback.reports
        assert again.every == callback.every
        assert again.on_mismatch == callback.on_mismatch
        fit(model, [again])
        assert len(again.reports) == len(callback.reports) + 2


def test_a_failure_of_its_own_is_logged_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from introspect import api

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(api, "look_at", fail)
    model = make_frozen()
    callback = introspect.IntrospectCallback()
    with caplog.at_level(logging.WARNING, "introspect"):
        fit(model, [callback, make_flip("keras", 1)], epochs=3)
    assert [record.getMessage() for record in caplog.records] == [
        "introspect: the callback failed; training goes on, this is said once"
    ]
    assert "inside" in caplog.text
    assert callback.report is None


def test_a_directory_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    callback = introspect.IntrospectCallback(str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "introspect"):
        fit(make_frozen(), [callback])
    assert len(caplog.records) == 1
    assert reasons(callback) == ["first trace", "train end"]


def test_models_are_not_kept_alive() -> None:
    import gc
    import weakref

    callback = introspect.IntrospectCallback()
    model = make_frozen()
    fit(model, [callback])
    callback.set_model(None)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_writes_on_change_and_at_the_end(tmp_path: Path) -> None:
    from tests.report.reading import read_marks

    model = make_frozen()
    callback = introspect.IntrospectCallback(str(tmp_path), "log")
    fit(model, [callback, make_flip("keras", 1), make_flip("keras", 3, recompile=True)], epochs=5)
    marks = [mark for _, mark in read_marks(str(tmp_path))]
    assert [mark.reason for mark in marks] == ["first trace", "flag changed", "recompiled", "train end"]
    assert [mark.epoch for mark in marks] == [0, 1, 3, 4]
    assert marks[1].detail == "d1 → True"


def measure_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings that were asked to measure have numbers, as those of a real step would."""
    import dataclasses

    from introspect import api
    from introspect.records import Measured

    look_at = api.look_at

    def look_and_fill(target: Any, rules: Any, wanted: api.Wanted) -> Any:
        report = look_at(target, rules, dataclasses.replace(wanted, measure=False))
        if not wanted.measure:
            return report
        numbers = Measured(1.0, 0.5, 2.0, 0.0, True, True, None)
        rows = tuple(dataclasses.replace(row, measured=numbers) for row in report.variables)
        return dataclasses.replace(report, variables=rows)

    monkeypatch.setattr(api, "look_at", look_and_fill)


def test_norms_at_the_interval(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tests.report.reading import read_marks, read_norm_entries

    measure_everything(monkeypatch)
    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback(str(tmp_path), every=2, measure=True)
    fit(model, [callback], epochs=4)
    assert [mark.reason for _, mark in read_marks(str(tmp_path))] == ["first trace", "train end"]
    norms = read_norm_entries(str(tmp_path))
    assert len(norms) == 5  # with the first report, at three intervals, and with the last report
    assert norms[1][2][1, 0] == 0.5


def test_norms_each_epoch_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    measure_everything(monkeypatch)
    model = make_model()
    model.compile("sgd", "mse")
    callback = introspect.IntrospectCallback(measure=True)
    fit(model, [callback], epochs=2)
    assert reasons(callback) == ["first trace", "epoch", "epoch", "train end"]
    assert all(row.measured is not None for report in callback.reports for row in report.variables)


@pytest.mark.parametrize("library", LIBRARIES)
def test_measures_on_what_fit_was_given(library: str) -> None:
    """The first batch, without taking it or moving on the order of a shuffle; one is made up where that cannot be."""
    import tensorflow as tf

    def shuffle() -> Any:
        return tf.data.Dataset.from_tensor_slices(make_data()).shuffle(8, seed=5).batch(4)

    def generate() -> Any:
        x, y = make_data()
        while True:
            yield x, y

    results = []
    for watched in (False, True):
        model = make_model(library)
        model.compile("sgd", "mse")
        callback = introspect.IntrospectCallback(measure=True)
        history = model.fit(shuffle(), epochs=3, verbose=0, callbacks=[callback] if watched else []).history
        results.append((values(model.variables), history))
    assert same(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    norms = {report.variables[0].measured.gradient_norm for report in callback.reports[:4]}
    assert len(norms) == 4
    assert "INT506" not in {finding.rule for finding in callback.report.findings}
    model.fit(generate(), steps_per_epoch=2, epochs=1, verbose=0, callbacks=[callback])
    assert "INT506" in {finding.rule for finding in callback.report.findings}


def test_workers_that_are_not_chief_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from introspect.capture.live import watch

    monkeypatch.setattr(watch, "is_chief", lambda model: False)
    callback = introspect.IntrospectCallback(str(tmp_path))
    fit(make_frozen(), [callback])
    assert reasons(callback) == ["first trace", "train end"]
    assert not list(tmp_path.iterdir())


def test_the_class_comes_without_tensorflow() -> None:
    import subprocess
    import sys

    code = "import sys, introspect; introspect.IntrospectCallback; introspect.trace_flags; introspect.recompile"
    code += "; assert not {'tensorflow', 'keras'} & set(sys.modules); assert callable(introspect.recompile)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_directory_that_cannot_be_written_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "file"
    file.write_text("")
    model = make_frozen()
    with caplog.at_level(logging.WARNING, "introspect"):
        fit(model, [callback := introspect.IntrospectCallback(str(file / "logs"))], epochs=2)
    (record,) = caplog.records
    assert record.exc_info is None
    assert "choose another log directory. Training goes on, this is said once" in record.getMessage()
    assert callback.report.ok
