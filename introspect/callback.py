"""`IntrospectCallback`: says during training when what trains is not what the flags say."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from introspect.errors import IntrospectError
from introspect.following import Follower
from introspect.proof import Proof
from introspect.records import Report
from introspect.telling import OnMismatch, Teller
from introspect.training import Training, Trainings

if TYPE_CHECKING:
    from introspect.capture.live.watch import Watch

Every = int | Literal["epoch"] | None
_LOG = logging.getLogger("introspect")


class IntrospectCallback:
    """A callback of Keras 3 and tf_keras that reads the compiled step when it is traced and whenever it changes.

    After the first reading a batch costs microseconds until something changes: a flag, a compile, a trace, the
    optimizer. It is looked for before each batch and at the end of each epoch, so that a flag which a callback flips
    without effect is told before the next step runs. Of a step that runs first while it watches, TensorFlow keeps the
    graph that its devices run, so that the reports say where each write took place (`placed`); later steps cost nothing
    for it. An internal failure is logged once, and training goes on.

    Args:
        log_dir: what `tensorboard --logdir` is given; reports go to `<log_dir>/introspect` on change and at the end of
            `fit`, by the chief worker alone. None writes nothing.
        on_mismatch: what becomes of a finding, once for as long as it lasts. "warn" issues an `IntrospectWarning`,
            "log" writes to the logger `introspect`, "raise" raises `MismatchError` for errors and warns of warnings.
        every: read again though nothing has changed: "epoch", or after so many batches; None for never.
        measure: run one step on a copy at each reading, each epoch where `every` is None, for the norms of gradients
            and updates: on the first batch of what `fit` was given, or on one made up where that cannot be copied.
        proof: look at the values themselves, each "epoch" or after so many batches, and say which variables and slots
            really changed, to the bit: three sums of each are taken where it lies, and nothing is copied. A look costs
            a pass over the memory and 0.1 to 0.2 ms a variable; at each change of the step there is one more.

    Attributes:
        report: the latest report, None before the first; its `reason` says why it was made.
        reports: those made on a change, at an epoch if `every` is so, and at an end; oldest first.
        proof: the latest look at the values, None before the second: `.changed`, `.unchanged`, `.moved`, `.still`.

    Raises:
        IntrospectError: an argument is none of these.
        BackendError: Keras or TensorFlow is not installed.
    """

    def __new__(cls, *_: Any, **__: Any) -> IntrospectCallback:
        from introspect.capture.live.callbacks import bind_callback

        return cast("IntrospectCallback", object.__new__(cls if "unbound" in vars(cls) else bind_callback(cls)))

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        on_mismatch: OnMismatch = "warn",
        every: Every = None,
        measure: bool = False,
        proof: Every = None,
    ) -> None:
        self.every = check_every("epoch" if measure and every is None else every)
        self.prove_every = check_every(proof, "proof")
        self.params: dict[str, Any] | None = None
        self._follower = Follower(check_directory(log_dir), measure, Teller(on_mismatch), proof is not None)
        self._supports_tf_logs = True
        self._chief_worker_only = False
        self._failed = False
        self._model: Any = None
        self._trainings = Trainings()
        self._batches = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return make_empty, (vars(type(self))["unbound"],), {**self.__dict__, "_model": None, "_trainings": Trainings()}

    @property
    def report(self) -> Report | None:
        """The latest report."""
        return self._follower.report

    @property
    def reports(self) -> list[Report]:
        """The reports kept, oldest first."""
        return self._follower.reports

    @property
    def proof(self) -> Proof | None:
        """The latest look at the values."""
        return self._follower.proof

    @property
    def on_mismatch(self) -> OnMismatch:
        """What becomes of a finding."""
        return self._follower.teller.on_mismatch

    @property
    def model(self) -> Any:
        """The model in training."""
        return self._model

    @model.setter
    def model(self, model: Any) -> None:
        self._model = model

    def set_model(self, model: Any) -> None:
        """Called by Keras."""
        self._model = model

    def set_params(self, params: dict[str, Any] | None) -> None:
        """Called by Keras."""
        self.params = params

    def inspect(self, model: Any, step: Any = None, **options: Any) -> Report | None:
        """The report of a model in a loop of one's own, to be asked after each step: it reads again on a change alone.

        Args:
            model: the model, compiled where `train_on_batch` trains it.
            step: a tf.function of one's own that trains it; `options` are then `args`, `kwargs` and `optimizer` of
                `introspect.inspect`.

        Returns:
            The latest report of this model; None where reading it failed, which is logged once.

        Raises:
            MismatchError: as `on_mismatch` says.
        """
        fit = self._trainings.find()
        if not (fit.begun and fit.caller is not None):
            return self._inspect(model, step, options)
        kept, watched = self._model, fit.watch
        try:
            return self._inspect(model, step, options)
        finally:
            self._model, fit.watch = kept, watched

    def _inspect(self, model: Any, step: Any, options: dict[str, Any]) -> Report | None:
        self._guard(lambda: self._follow(model, step))
        watch = self._trainings.current.watch
        if watch is None:
            return None
        self._batches += 1
        watch.batches += 1
        watch.note_optimizer(options.get("optimizer"))
        due = self._take_due() or (None if watch.read else "asked")
        if due or watch.has_moved():
            self._guard(lambda: self._follower.look(watch, None, due, step, options))
        self._prove(watch)
        return watch.report

    def on_train_begin(self, logs: Any = None) -> None:
        """Called by Keras."""
        self._trainings.begin(self.params)
        self._guard(lambda: self._follow(self._model))
        watch = self._trainings.current.watch
        if not self._trainings.nested:
            self._follower.teller.forget()
        if watch is not None:
            if self._trainings.nested:
                self._follower.teller.forget(watch)
            self._guard(lambda: watch.note_fit(self._trainings.find_flags(watch)))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Called by Keras."""
        fit = self._trainings.find()
        fit.epoch, fit.looked = epoch, False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Called by Keras before each batch; whatever was traced, flipped or compiled before is seen here."""
        fit = self._trainings.find()
        watch = fit.watch
        if watch is None:
            return
        if not fit.ran:  # before its first step it is not known which trace this fit will use
            fit.ran = True
            watch.batches += 1
            return
        self._batches += 1
        due = self._take_due() if isinstance(self.every, int) else None
        if due or not fit.looked or watch.has_moved():
            fit.looked = True
            self._look(fit, watch, due)
        self._prove(watch)
        watch.batches += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Called by Keras."""
        fit = self._trainings.find()
        watch = fit.watch
        if watch is not None and fit.ran:
            self._look(fit, watch, "epoch" if self.every == "epoch" else None)
            if self.prove_every == "epoch":
                self._guard(lambda: self._follower.prove(watch, fit.epoch))

    def on_train_end(self, logs: Any = None) -> None:
        """Called by Keras; a loop of one's own may call it at its end."""
        fit = self._trainings.find()
        try:
            if (watch := fit.watch) is not None:
                self._guard(lambda: self._follower.end(watch, fit.epoch))
                watch.note_end()
            if not self._trainings.nested:
                self._guard(self._follower.close)
        finally:
            around = self._trainings.end()
            if around is not None:
                self.params = around.params
                self._model = around.watch.model if around.watch is not None else None

    def _implements_train_batch_hooks(self) -> bool:
        return True

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False

    def _look(self, fit: Training, watch: Watch, due: str | None) -> None:
        first, fit.entered = not fit.entered, True
        self._guard(lambda: self._follower.look(watch, fit.epoch, due, first=first))

    def _prove(self, watch: Watch) -> None:
        if isinstance(self.prove_every, int) and watch.batches >= self.prove_every:
            self._guard(lambda: self._follower.prove(watch, self._trainings.current.epoch))

    def _follow(self, model: Any, step: Any = None) -> None:
        fit = self._trainings.current
        self._model, fit.watch = model, None
        fit.watch = self._follower.enter(model, step)

    def _take_due(self) -> str | None:
        if not isinstance(self.every, int) or self._batches < self.every:
            return None
        self._batches = 0
        return "interval"

    def _guard(self, act: Callable[[], object]) -> None:
        """Do something of introspect's own, which may fail and not harm; then tell what it found, which may raise."""
        try:
            act()
        except Exception as error:
            if not self._failed:
                log_failure(error)
            self._failed = True
        self._follower.teller.tell()


def log_failure(error: Exception) -> None:
    """One line for what introspect refuses, which says what to do; all of it for what it did not foresee."""
    if isinstance(error, IntrospectError):
        _LOG.warning("introspect: %s. Training goes on, this is said once", str(error).rstrip("."))
    else:
        _LOG.warning("introspect: the callback failed; training goes on, this is said once", exc_info=True)


def check_every(every: Every, name: str = "every") -> Every:
    whole = isinstance(every, int) and not isinstance(every, bool)
    if every is None or every == "epoch" or (whole and every > 0):
        return every
    raise IntrospectError(f"{name}={every!r} is no interval; pass 'epoch' or a number of batches")


def check_directory(log_dir: object) -> str | None:
    path = log_dir.__fspath__() if isinstance(log_dir, os.PathLike) else log_dir
    if path is None or isinstance(path, str):
        return path
    raise IntrospectError(f"log_dir={log_dir!r} is no directory; pass a path, or None to write nothing")


def make_empty(kind: type[IntrospectCallback]) -> IntrospectCallback:
    """An instance without state, bound to the Keras that is loaded where it is unpickled."""
    return kind.__new__(kind)
