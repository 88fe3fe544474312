"""What the callback does when the step may have changed: read it, keep the report, write it, tell what is wrong."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from introspect.records import Report
from introspect.telling import Teller

if TYPE_CHECKING:
    from introspect.capture.live.running import Running
    from introspect.capture.live.watch import Change, Watch
    from introspect.proof import Proof
    from introspect.report.writer import ReportWriter

MOST = 1000
"""Reports that are kept in memory."""


class Follower:
    """Follows the steps of one or more models; one reading for each change.

    Args:
        log_dir: where reports are written, by the chief worker; None for nowhere.
        measure: add numbers of one real step to each reading.
        teller: who tells what is found.
        proves: look at the values too: when a training begins, at each change, and whenever `prove` asks for it.
    """

    def __init__(self, log_dir: str | None, measure: bool, teller: Teller, proves: bool = False) -> None:
        self.log_dir = log_dir
        self.measure = measure
        self.proves = proves
        self.teller = teller
        self.reports: list[Report] = []
        self.report: Report | None = None
        self.proof: Proof | None = None
        self._watches: list[Watch] = []
        self._writer: ReportWriter | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_watches": []}

    def enter(self, model: Any, step: Any = None) -> Watch:
        """The watch of a model (and of the tf.function that trains it); those whose model is gone are forgotten."""
        from introspect.capture.live.watch import Watch

        self._watches = [watch for watch in self._watches if watch.model is not None]
        for watch in self._watches:
            if watch.is_of(model, step):
                return watch
        self._watches.append(Watch(model, step))
        return self._watches[-1]

    def look(
        self,
        watch: Watch,
        epoch: int | None,
        due: str | None = None,
        step: Any = None,
        options: dict[str, Any] | None = None,
        first: bool = False,
    ) -> None:
        """Read the step if it has changed, or if a reading is due: "epoch", "interval", "asked".

        `first` says that it is the first look of a fit, whose batches may lead to another trace than those before.
        """
        change = watch.find_change()
        if change is None and first:
            change = find_other_trace(watch)
        awaits = change is None and watch.awaits_trace()
        if awaits:
            watch.collect()
        else:
            watch.keep_executed()
        if change is None and (due is None or (due == "interval" and awaits)):
            if watch.report is not None:
                self.teller.note(watch.report, watch, epoch)
            if not watch.prover.begun:
                self.prove(watch, epoch)
            return
        before = watch.report
        report = self._read(watch, change, due, step, options or {})
        if change is not None:
            self.prove(watch, epoch, before)
            watch.prover.latest = None  # it is of the report before
            self._keep(report, watch, epoch, change.detail)
        elif due != "interval" or before is None or report.diff(before):
            self._keep(report, watch, epoch, None)
            self._prove_again(watch, epoch)
        elif self.measure:
            self._write_norms(report, watch)

    def end(self, watch: Watch, epoch: int | None) -> None:
        """The last report of a training, written whatever happened; the step is read again only if it has changed."""
        if watch.find_change() is not None:
            self.look(watch, epoch)
        if watch.report is not None:
            last = replace(watch.report, reason="train end", step=watch.count_steps(), created=time.time())
            self._keep(last, watch, epoch, None, last=True)
            self._prove_again(watch, epoch)

    def prove(self, watch: Watch, epoch: int | None, before: Report | None = None) -> None:
        """Look at the values, and hold what changed since the last look against the reports of that time.

        `before` is the report that was in force until now, where a newer one was just made and is not kept yet. Without
        an epoch the loop is the user's own, where other steps may write too: what moves is kept then, and not told.
        """
        model, latest = watch.model, watch.report
        if not self.proves or model is None or latest is None or not is_writing(model):
            return
        if not watch.prover.begun:
            watch.prover.begin(model, watch.list_optimizers())
        elif watch.batches > 0:
            report = latest if before is None else before
            self.proof = watch.prover.look(model, watch.list_optimizers(), watch.batches, report, (report, latest))
            if epoch is not None:
                self.teller.note_proof(self.proof, report, watch, epoch)
            if has_same_updates(report, latest):  # else the window holds steps of both, and shows neither
                self._write_proof(watch)
        watch.batches = 0

    def _prove_again(self, watch: Watch, epoch: int | None) -> None:
        """After a report that was made though nothing had changed: a look of its own, or the one that was just taken."""
        if watch.batches > 0 or not watch.prover.begun:
            self.prove(watch, epoch)
        else:
            self._write_proof(watch)

    def _write_proof(self, watch: Watch) -> None:
        writer, proof = self._open(watch), watch.prover.latest
        if writer is not None and proof is not None and watch.place is not None:
            writer.append_proof(proof, watch.place)

    def close(self) -> None:
        """Close the file that reports are written to; a later one opens another."""
        if self._writer is not None:
            self._writer.close()

    def _read(self, watch: Watch, change: Change | None, due: str | None, step: Any, options: dict[str, Any]) -> Report:
        from introspect.api import Wanted, choose_rules, inspect, look_at
        from introspect.capture.live.running import find_running
        from introspect.capture.live.watch import meant_flags

        model, before = watch.model, watch.report
        running = find_running(model) if step is None else None
        if running is not None:
            options = {"data": self._choose_data(watch, running)} | options
        # Before the reading, so that one that fails is not tried at each batch.
        watch.settle(running.concrete if running is not None else None)
        with meant_flags(model, watch.entry_flags):
            if running is not None:  # what runs is what the model's own fit has made of its data
                report = look_at(model, choose_rules(), Wanted(self.measure, **options))
            elif step is None:
                report = inspect(model, measure=self.measure, **options)
            else:
                report = inspect(step, model=model, measure=self.measure, **({"args": ()} | options))
        reason = change.reason if change is not None else due
        if reason == "new trace" and before is not None and has_new_signature(before, report):
            reason = "new batch signature"
        watch.report = self.report = replace(report, reason=reason)
        return watch.report

    def _choose_data(self, watch: Watch, running: Running) -> Any:
        """What stands for the running fit's data: the type of its batches, or one of them to measure on."""
        if not self.measure:
            return running.describe_batches()
        if watch.batch is None:
            watch.batch = running.copy_batch(watch.model)
        return watch.batch

    def _keep(self, report: Report, watch: Watch, epoch: int | None, detail: str | None, last: bool = False) -> None:
        self.report = watch.report = report
        self.reports.append(report)
        del self.reports[:-MOST]
        self.teller.note(report, watch, epoch)
        writer = self._open(watch)
        if writer is not None:
            watch.place = writer.append(report, epoch=epoch, detail=detail, last=last)

    def _write_norms(self, report: Report, watch: Watch) -> None:
        from introspect.report.norms import NormSample

        writer, rows = self._open(watch), [row.measured for row in report.variables]
        if writer is None or not any(rows):
            return
        names = ("gradient_norm", "update_norm", "weight_norm", "zero_fraction")
        norms: Any = {name: [None if row is None else getattr(row, name) for row in rows] for name in names}
        writer.append_norms(NormSample(tuple(row.path for row in report.variables), report.step, **norms))

    def _open(self, watch: Watch) -> ReportWriter | None:
        """The writer; None where nothing is to be written, or another worker writes."""
        if self.log_dir is None or not is_writing(watch.model):
            return None
        if self._writer is None:
            from introspect.capture.live.eventfiles import TensorFlowFiles
            from introspect.report.writer import ReportWriter

            self._writer = ReportWriter(self.log_dir, TensorFlowFiles())
        return self._writer


def has_same_updates(before: Report, after: Report) -> bool:
    """Whether two reports say of all variables that the step does the same to them."""
    rows = [[(row.path, row.updated) for row in report.variables] for report in (before, after)]
    return before is after or rows[0] == rows[1]


def is_writing(model: Any) -> bool:
    """Whether this process writes for all workers."""
    from introspect.capture.live.watch import is_chief

    return is_chief(model)


def find_other_trace(watch: Watch) -> Change | None:
    """A change, if the running fit uses another of the known traces than the last one read."""
    from introspect.capture.live.running import find_running
    from introspect.capture.live.watch import Change

    running = find_running(watch.model) if watch.read else None
    return Change("new batch signature") if running is not None and watch.uses_other(running.concrete) else None


def has_new_signature(before: Report, after: Report) -> bool:
    """Whether a trace of the later report was made for batches that no earlier trace was made for."""
    known = {trace.signature for trace in before.traces}
    return any(trace.signature not in known for trace in after.traces)
