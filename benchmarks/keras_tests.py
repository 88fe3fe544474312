"""Runs Keras' own tests with an observer around training and prints how often introspect agreed with what happened.

    python benchmarks/keras_tests.py                                 the selection below
    python benchmarks/keras_tests.py keras.src.layers.core ...       modules or packages of Keras
    python benchmarks/keras_tests.py --look keras.src.trainers       only inspect; no further step is run

After each `fit` and `train_on_batch` the model is inspected and a further real step is run on the same data; what moved
and which gradients arrived is held against the report, and the state from before is put back.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SELECTION = (
    "keras.src.layers",
    "keras.src.models",
    "keras.src.optimizers",
    "keras.src.trainers.trainer_test",
    "keras.src.callbacks.swap_ema_weights_test",
    "keras.src.callbacks.learning_rate_scheduler_test",
    "keras.src.callbacks.reduce_lr_on_plateau_test",
    "keras.src.distillation",
    "keras.src.backend.common.remat_test",
    "keras.src.metrics",
    "keras.src.losses",
)
MOCKED = ("test_fit_sparse",)
"""Tests that replace the optimizer's own update by a mock: what the optimizer is handed goes nowhere there."""
STAND_IN = "jax, stood in for"
ANSWER, MODE = "INTROSPECT_KERAS_TESTS_ANSWER", "INTROSPECT_KERAS_TESTS_MODE"


class Observer:
    """Counts, and the faults that were seen."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.failed: list[str] = []
        self.test = ""
        self.busy = False

    def watch(self, model: Any, method: str, original: Any, args: Any, kwargs: Any) -> Any:
        """Run the original, then look."""
        if self.busy or any(name in self.test for name in MOCKED):
            return original(model, *args, **kwargs)
        args, kwargs, again = _record_batches(args, kwargs)
        result = original(model, *args, **kwargs)
        args, kwargs = again()
        self.busy = True
        try:
            self.look(model, method, original, args, kwargs)
        except Exception:
            self.counts["crashes"] += 1
            last = traceback.format_exc().strip().splitlines()
            self.faults.append(f"{self.test}: crash: {' / '.join(last[-3:])}"[:600])
        finally:
            self.busy = False
        return result

    def look(self, model: Any, method: str, original: Any, args: Any, kwargs: Any) -> None:
        """Inspect, run a further step, compare, and put everything back."""
        import introspect
        from tests.oracle import Asked, hold

        self.counts["trainings"] += 1
        if self.mode == "look":
            self.counts["only inspected"] += 1
            with contextlib.suppress(introspect.IntrospectError):
                introspect.inspect(model)
            return

        def step(model: Any, data: Any) -> None:
            original(model, *args, **_again(method, kwargs))

        with _restored(model):
            before = _count_steps(model)
            asked = Asked(numeric=True, data=False, raises=None)
            outcome = hold(model, lambda: introspect.inspect(model), None, asked, step)
            if before is not None and before == _count_steps(model) and outcome.error is None:
                self.counts["ran no step"] += 1
                return
        self.counts["compared"] += 1
        self.counts["right"] += not outcome.faults
        self.counts["variables"] += len(outcome.truth)
        self.counts["variables right"] += len(outcome.truth) - len(outcome.wrong & set(outcome.truth))
        self.counts["unknown"] += outcome.unknown
        self.counts["false alarms"] += outcome.alarms
        self.faults += [f"{self.test}: {fault}"[:600] for fault in outcome.faults]


def _count_steps(model: Any) -> int | None:
    iterations = getattr(getattr(model, "optimizer", None), "iterations", None)
    return None if iterations is None else int(iterations.numpy())


def _record_batches(args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any], Callable[[], Any]]:
    """The arguments with a generator of data replaced by one that notes its batches, and the way to have them again."""
    given = args[0] if args else kwargs.get("x")
    if not isinstance(given, types.GeneratorType):
        return args, kwargs, lambda: (args, kwargs)
    seen: list[Any] = []

    def note() -> Iterator[Any]:
        for batch in given:
            seen.append(batch)
            yield batch

    def put(data: Any) -> tuple[Any, dict[str, Any]]:
        return ((data, *args[1:]), kwargs) if args else (args, {**kwargs, "x": data})

    return *put(note()), lambda: put(batch for batch in seen)


def _again(method: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    if method != "fit":
        return kwargs
    gone = ("epochs", "initial_epoch", "callbacks", "validation_data", "validation_split", "verbose")
    kept = {key: value for key, value in kwargs.items() if key not in gone}
    split = {"validation_split": kwargs["validation_split"]} if kwargs.get("validation_split") else {}
    return {**kept, **split, "epochs": 1, "verbose": 0}


@contextlib.contextmanager
def _restored(model: Any) -> Iterator[None]:
    """Values of all variables, and random state, as they were."""
    import random

    import numpy as np

    optimizer = getattr(model, "optimizer", None)
    held = [*model.variables, *model.metrics_variables, *(optimizer.variables if optimizer is not None else ())]
    values = [(variable, variable.numpy()) for variable in held]
    state = (random.getstate(), np.random.get_state(), model.stop_training)
    history = model.__dict__.get("history")
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)
        random.setstate(state[0])
        np.random.set_state(state[1])
        model.stop_training = state[2]
        model.__dict__["history"] = history


def pytest_configure(config: Any) -> None:
    """Put the observer around training. This file is also the pytest plugin that its own main starts."""
    from keras.src.backend.tensorflow.trainer import TensorFlowTrainer

    from tests import recording

    recording.install()
    _stand_in_for_jax()
    for marker in ("requires_trainable_backend", "multi_device"):
        config.addinivalue_line("markers", f"{marker}: of Keras' own tests")
    observer = config.introspect_observer = Observer(os.environ.get(MODE, "compare"))
    for method in ("fit", "train_on_batch"):
        _wrap(TensorFlowTrainer, method, observer)


def _stand_in_for_jax() -> None:
    """trainer_test imports jax on top, and uses it with the backend of that name alone."""
    if importlib.util.find_spec("jax") is None:
        sys.modules["jax"] = types.ModuleType(STAND_IN)


def pytest_collection_finish(session: Any) -> None:
    """Take the stand-in away before anything runs: Keras asks whether jax is there."""
    if getattr(sys.modules.get("jax"), "__name__", None) == STAND_IN:
        del sys.modules["jax"]


def pytest_collectreport(report: Any) -> None:
    """A module that cannot be imported counts as failed."""
    if report.failed:
        _CONFIG[0].introspect_observer.failed.append(f"{report.nodeid or report.fspath}: collection")


def _wrap(kind: Any, method: str, observer: Observer) -> None:
    original = getattr(kind, method)

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        return observer.watch(self, method, original, args, kwargs)

    setattr(kind, method, watched)


def pytest_runtest_logstart(nodeid: str, location: Any) -> None:
    """Remember which test runs."""
    if _CONFIG:
        _CONFIG[0].introspect_observer.test = nodeid


_CONFIG: list[Any] = []


def pytest_sessionstart(session: Any) -> None:
    """Remember the session."""
    _CONFIG.append(session.config)


def pytest_runtest_logreport(report: Any) -> None:
    """Count tests that passed and failed."""
    if report.when == "call":
        observer = _CONFIG[0].introspect_observer
        observer.counts[f"tests {report.outcome}"] += 1
        if report.failed:
            observer.failed.append(report.nodeid)


def pytest_sessionfinish(session: Any) -> None:
    """Hand the figures to main."""
    observer = session.config.introspect_observer
    Path(os.environ[ANSWER]).write_text(
        json.dumps({"counts": observer.counts, "faults": observer.faults, "failed": observer.failed})
    )


def main(arguments: list[str]) -> int:
    """Run the selection; 0 where nothing disagreed."""
    mode = "look" if "--look" in arguments else "compare"
    options = [a for a in arguments if a.startswith("-") and a != "--look"]
    modules = [a for a in arguments if not a.startswith("-")] or list(SELECTION)
    total: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for module in modules:
            answer = os.path.join(folder, "answer.json")
            run_pytest(module, options, {ANSWER: answer, MODE: mode})
            if not os.path.exists(answer):
                faults.append(f"{module}: pytest did not finish")
                continue
            found = json.loads(Path(answer).read_text())
            os.remove(answer)
            total.update(found["counts"])
            faults += found["faults"]
            print("".join(f"{test} failed\n" for test in found["failed"]), end="")
            print(f"{module}: {format_counts(found['counts'])}", flush=True)
    print("\n".join(faults))
    print(f"all: {format_counts(total)}; {len(faults)} faults")
    return 1 if faults else 0


def run_pytest(module: str, options: list[str], environment: dict[str, str]) -> None:
    """One process for each module, with this file as a plugin."""
    paths = os.pathsep.join((str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--pyargs",
        module,
        "-p",
        "keras_tests",
        "-q",
        "--continue-on-collection-errors",
    ]
    quiet = [
        "--no-header",
        "-p",
        "no:cacheprovider",
        "--tb=no",
        "-W",
        "ignore",
        "-c",
        os.devnull,
        "--rootdir",
        tempfile.gettempdir(),
    ]
    subprocess.run(
        [*command, *quiet, *options],
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONPATH": paths,
            **environment,
        },
        stdout=None if "-s" in options else subprocess.DEVNULL,
        stderr=None if "-s" in options else subprocess.DEVNULL,
        check=False,
    )


def format_counts(counts: dict[str, int]) -> str:
    """`12 trainings, 11 right, …`"""
    return ", ".join(f"{number} {what}" for what, number in counts.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
