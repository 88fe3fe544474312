"""Plays a plan with the real Keras 3 or tf_keras and asks the oracle at its end."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.autograph.impl.api import StagingError

import introspect
from tests.fuzz.parts import WIDTH, add_part, make_optimizer
from tests.fuzz.pieces import around, make_loop, step_classes
from tests.fuzz.plans import Act, Plan
from tests.oracle import Asked, ask, ask_loop, fit_once, randomize

RAISED = (
    ValueError,
    LookupError,
    TypeError,
    RuntimeError,
    AttributeError,
    StopIteration,
    introspect.IntrospectError,
    tf.errors.OpError,
    StagingError,
)
"""What a history may raise: an unknown variable, a batch too few for steps_per_execution, a model that cannot be cloned."""
UNSAVED = {"stopped", "rounded", "chosen", "unused", "embedding", "tied", "branch", "own", "cut", "reversed"}
"""Parts with a lambda, or a class that is not registered."""


class Listener(logging.Handler):
    """Takes what introspect's callback says of its own failures."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__()
        self.faults = faults

    def emit(self, record: logging.LogRecord) -> None:
        """Note failures that were not foreseen."""
        if record.exc_info:
            last = traceback.format_exception(*record.exc_info)[-2:]
            self.faults.append(f"the callback fails: {' / '.join(last)}")


@contextlib.contextmanager
def listening(faults: list[str]) -> Iterator[None]:
    """Meanwhile failures of introspect's callback are faults."""
    log, listener = logging.getLogger("introspect"), Listener(faults)
    log.addHandler(listener)
    try:
        yield
    finally:
        log.removeHandler(listener)


def play(plan: Plan) -> list[str]:
    """Faults of the report on the plan's last fit; empty where all is right."""
    return Player(plan).run()


class Player:
    """One plan, its framework and its model."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.old = plan.keras == 2
        if self.old:
            import tf_keras

            self.k: Any = tf_keras
        else:
            self.k = keras
        self.generator = np.random.default_rng(11)
        self.faults: list[str] = []
        self.assigned = False

    def run(self) -> list[str]:
        """Build, compile, do all acts, ask."""
        self.k.backend.clear_session()
        self.k.utils.set_random_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.set_policy(self.plan.policy)
            try:
                self.model = self.make_model()
            finally:
                self.set_policy("float32")
            randomize(self.model)
            self.compile(make_optimizer(self.k, self.plan))
            self.start_loop()
            with listening(self.faults):
                for act in self.plan.acts:
                    # What a history raises (Unknown variable) leaves the model as it stands: that is part of it.
                    with contextlib.suppress(*RAISED):
                        self.act(act)
            return [*self.faults, *self.ask()]

    def start_loop(self) -> None:
        """A loop of one's own on the model as it is now."""
        self.loop_optimizer = make_optimizer(self.k, self.plan)
        self.loop = make_loop(self.model, self.loop_optimizer)

    def ask(self) -> list[str]:
        """What the oracle says of the next step."""
        eager = getattr(self.model, "run_eagerly", False) and any(part.kind == "branch" for part in self.plan.parts)
        asked = Asked(
            numeric=True,
            arguable=bool({"ema", "ema end"} & {self.plan.setting, self.plan.more}),
            opaque=eager,  # a batch takes one branch
            raises=None,
        )
        rows = self.plan.rows
        if self.plan.loop:
            args = tuple(tf.constant(part) for part in self.make_arrays(rows))
            return ask_loop(self.loop, args, self.model, self.loop_optimizer, asked).faults
        before = self.count_steps()
        if self.plan.arrays:
            fit = lambda model, data: model.fit(*data, batch_size=rows, verbose=0)  # noqa: E731
            faults = ask(self.model, self.make_arrays(4 * rows), asked, fit).faults
        else:
            faults = ask(self.model, self.make_data(rows, self.plan.fixed, self.plan.weighted), asked, fit_once).faults
        idle = self.assigned and self.count_steps() == before
        return [fault for fault in faults if not (idle and fault.startswith("false alarm: INT203"))]

    def count_steps(self) -> int:
        """Steps of an optimizer that was assigned; a legacy one of others would make its counter when asked."""
        return int(self.model.optimizer.iterations) if self.assigned else 0

    def set_policy(self, name: str) -> None:
        """The policy of layers that are made from now on."""
        (self.k.mixed_precision.set_global_policy if self.old else self.k.config.set_dtype_policy)(name)

    def make_model(self) -> Any:
        """The parts as a functional model, or that as the core of another one."""
        if self.plan.shape == "functional":
            return self.make_core(self.model_class())
        core = self.make_core(self.k.Model, "core")
        if self.plan.shape == "sequential" and self.plan.step in ("plain", "own"):
            return self.k.Sequential([self.k.Input((WIDTH,)), core], name="net")
        model = around(self.model_class(), self.old)(core)
        model(np.zeros((2, WIDTH), "float32"))
        return model

    def make_core(self, kind: Any, name: str = "net") -> Any:
        k = self.k
        inputs = k.Input((WIDTH,))
        h = k.layers.Dense(WIDTH, activation="tanh", name="first")(inputs)
        for number, part in enumerate(self.plan.parts):
            h = add_part(k, part, h, f"p{number}")
        outputs = k.layers.Dense(1, name="last", dtype="float32")(h)
        if self.has_heads():
            outputs = [outputs, k.layers.Dense(1, name="beside", dtype="float32")(h)]
        return kind(inputs, outputs, name=name)

    def model_class(self) -> Any:
        """The functional model, or one with a train_step of its own."""
        base = self.k.Model
        if self.plan.step in ("plain", "own"):
            return base
        return step_classes(self.old, self.plan.shape)[self.plan.step]

    def compile(self, optimizer: Any) -> None:
        arguments = dict(self.plan.compile)
        if self.plan.step not in ("plain", "own", "super"):
            # Keras 3 raises at the end of the epoch where a step of one's own leaves the metrics alone.
            arguments.pop("metrics", None)
            arguments.pop("weighted_metrics", None)
        if arguments.get("run_eagerly"):
            arguments.pop("jit_compile", None)
        self.model.compile(optimizer, **{"loss": "mse", **self.find_losses(arguments), **arguments})
        if self.plan.step == "two optimizers":
            self.model.second = self.k.optimizers.SGD(0.01, momentum=0.5)

    def has_heads(self) -> bool:
        """Whether there are two outputs: a step of one's own and a Sequential take one."""
        return (
            self.plan.heads != "one" and self.plan.step in ("plain", "own", "super") and self.plan.shape != "sequential"
        )

    def find_losses(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Losses of two outputs; their metrics are put into `arguments`."""
        if not self.has_heads():
            return {}
        for name in ("metrics", "weighted_metrics"):
            if name in arguments:
                arguments[name] = [arguments[name], arguments[name]]
        weights = {"weighted": [1.0, 0.5], "zero": [1.0, 0.0]}.get(self.plan.heads)
        return {
            "loss": ["mse", None if self.plan.heads == "silent" else "mae"],
            **({"loss_weights": weights} if weights else {}),
        }

    def make_data(self, rows: int, fixed: bool, weighted: bool = False) -> Any:
        x, y = self.make_arrays(4 * rows)
        weights = np.ones(len(x), "float32")
        parts = (x, y, (weights, weights) if self.has_heads() else weights) if weighted else (x, y)
        # More than one batch, so that a whole number of executions fits.
        return tf.data.Dataset.from_tensor_slices(parts).batch(rows, drop_remainder=fixed)

    def make_arrays(self, rows: int) -> tuple[Any, Any]:
        x = self.generator.normal(size=(rows, WIDTH)).astype("float32")
        y = x[:, :1] * 2.0
        return x, (y, -y) if self.has_heads() else y

    def act(self, act: Act) -> None:
        model = self.model
        match act.name:
            case "layer":
                found = model.layers[1:] or model.layers
                found[act.number % len(found)].trainable = act.flag
            case "inner":
                found = [layer for layer in model._flatten_layers(include_self=False) if layer is not model]
                found[act.number % len(found)].trainable = act.flag
            case "variable" if not self.old:
                variables = [v for v in model.variables if v.dtype == "float32"]
                chosen = variables[act.number % len(variables)]
                chosen.trainable = act.flag
            case "root":
                model.trainable = act.flag
            case "fit":
                model.fit(self.make_data(act.number, act.flag), verbose=0)
            case "fit weighted":
                model.fit(self.make_data(act.number, act.flag, weighted=True), verbose=0)
            case "fit arrays":
                model.fit(*self.make_arrays(act.number), verbose=0)
            case "batch":
                x, y = self.make_arrays(act.number)
                weights = {"sample_weight": np.ones(len(x), "float32")} if act.flag else {}
                model.train_on_batch(x, y, **weights)
            case "compile":
                self.compile(make_optimizer(self.k, self.plan) if act.flag else model.optimizer)
            case "evaluate":
                model.evaluate(self.make_data(4, False), verbose=0)
            case "predict":
                model.predict(self.make_data(4, False), verbose=0)
            case "force":
                model.make_train_function(force=True)
            case "save":
                self.save()
            case "eager":
                model.run_eagerly = not model.run_eagerly
            case "recompile":
                self.guard(lambda: introspect.recompile(model))
            case "build":
                model.optimizer.build(model.trainable_variables)
            case "assign":
                model.optimizer = make_optimizer(self.k, self.plan)
                self.assigned = True
            case "head":
                self.replace_head()
            case "half":
                self.train_half(act)
            case "quantize" if not self.old:
                model.quantize("float8" if act.flag else "int8")
            case "callback":
                model.fit(self.make_data(3, True), epochs=2, verbose=0, callbacks=[self.make_flipping(act)])
            case "watched":
                watching = introspect.IntrospectCallback(measure=act.flag, proof=1 if act.flag else None)
                model.fit(self.make_data(act.number, act.flag), verbose=0, callbacks=[watching])
            case "look":
                self.guard(lambda: introspect.inspect(model, measure=not act.flag, try_fixes=act.flag))
            case "rate":
                model.optimizer.learning_rate = 0.0
            case "lora" if not self.old:
                found = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
                found[act.number % len(found)].enable_lora(2)
            case "clone":
                self.clone()
            case "loop":
                self.loop(*(tf.constant(part) for part in self.make_arrays(act.number)))

    def guard(self, act: Callable[[], Any]) -> None:
        """Do something of introspect's own, which may refuse and raise nothing else."""
        try:
            act()
        except introspect.IntrospectError:
            pass
        except Exception:
            last = traceback.format_exc().strip().splitlines()[-3:]
            self.faults.append(f"introspect raises {' / '.join(last)}")

    def make_flipping(self, act: Act) -> Any:
        """A callback that flips a layer's flag in the middle of a fit, and may make the step anew."""
        layer = self.model.layers[act.number % len(self.model.layers)]

        def flip(epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                layer.trainable = act.flag
                if act.number % 3 == 0:
                    self.model.make_train_function(force=True)

        return self.k.callbacks.LambdaCallback(on_epoch_begin=flip)

    def replace_head(self) -> None:
        """Another model on the same layers with a new last one, as in transfer learning."""
        if self.plan.shape != "functional" or self.has_heads():
            return
        below = self.model.layers[-2].output
        self.model = self.model_class()(self.model.inputs, self.k.layers.Dense(1, dtype="float32")(below), name="net2")
        self.compile(make_optimizer(self.k, self.plan))
        self.start_loop()

    def train_half(self, act: Act) -> None:
        """Another model of the first layers alone, with a flag and an optimizer of its own, trains once."""
        if self.plan.shape != "functional":
            return
        layers = self.model.layers[1:]
        half = self.k.Model(self.model.inputs, layers[act.number % len(layers)].output)
        half.compile(make_optimizer(self.k, self.plan), "mse")
        half.fit(self.make_arrays(4)[0], np.zeros((4, 1), "float32"), verbose=0)
        half.trainable = act.flag

    def clone(self) -> None:
        """Another model of the same layers' configurations, compiled anew."""
        if self.plan.step not in ("plain", "own") or self.plan.shape == "subclassed":
            return
        self.model = self.k.models.clone_model(self.model)
        randomize(self.model)
        self.compile(make_optimizer(self.k, self.plan))
        self.start_loop()

    def save(self) -> None:
        if self.plan.step not in ("plain", "own"):
            return
        kinds = {part.kind for part in self.plan.parts}
        if self.plan.shape == "subclassed" or kinds & UNSAVED:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.keras")
            self.model.save(path)
            self.model = self.k.models.load_model(path)
        self.start_loop()
