"""Whether a step after a fix does what the fix is for, and in what words that is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from introspect.records import Finding, Report, VariableReport
from introspect.remedies import Action, Compile, Hold, Recompile, RenewOptimizer, SetFlag

MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a trial shows of one finding.

    Attributes:
        done: what was done on the copy, in words.
        why: what is left, where the mismatch stays; empty where the report does not say.
        kept: how many of the finding's variables are frozen then.
    """

    done: str
    verified: bool
    trains: tuple[str, ...]
    still_not: tuple[str, ...]
    why: str
    kept: int = 0
    failure: str = ""
    """Why the trial could not be made."""

    def tell(self, blamed: str = "") -> str:
        """What was done, and what came of it; `blamed` is a cause that needs no saying again."""
        if self.failure:
            return f"{self.done}, could not be tried: {self.failure.rstrip('.')}"
        if self.verified:
            stay = "1 variable stays as it is" if self.kept == 1 else f"{self.kept} variables stay as they are"
            return f"{self.done}, which mends it{f'; {stay}' if self.kept else ''}"
        if not self.why or self.why == blamed:
            return f"{self.done}, which does not mend it; the code has to change"
        return f"{self.done}, which does not mend it: {self.why.rstrip('.')}"


def judge(finding: Finding, before: Report, after: Report, done: str) -> Judgement:
    """Whether the finding is gone from the report of the step after the fix, and nothing that trained is lost."""
    rows = {row.path: row for row in after.variables}
    named = [rows[path] for path in finding.variables if path in rows]
    wanted = [row for row in named if row.expected]
    left, lost = find_left(finding, after), find_lost(finding, before, rows)
    return Judgement(
        done=done,
        verified=not left and not lost and all(agrees(row) for row in named),
        trains=tuple(row.path for row in wanted or after.variables if row.updated == "yes"),
        still_not=tuple(row.path for row in wanted if row.updated != "yes"),
        why=explain(left, lost, named),
        kept=len(named) - len(wanted),
    )


def list_wanted(finding: Finding, report: Report) -> tuple[str, ...]:
    """Those of a finding's variables that the flags let train, and that do not."""
    idle = {row.path for row in report.variables if row.expected and row.updated != "yes"}
    return tuple(path for path in finding.variables if path in idle)


def find_left(finding: Finding, after: Report) -> list[Finding]:
    """What is still found wrong with the variables named; or the same once more, where none is named."""
    names = set(finding.variables)
    alike = (other for other in after.findings if other.severity != "info" or other.rule == finding.rule)
    return [
        other for other in alike if names.intersection(other.variables) or (other.rule == finding.rule and not names)
    ]


def find_lost(finding: Finding, before: Report, rows: dict[str, VariableReport]) -> list[str]:
    """Variables that the finding does not name, that trained as they should, and do not any more."""
    trained = [row.path for row in before.variables if row.expected and row.updated == "yes"]
    return [path for path in trained if path in rows and path not in finding.variables and rows[path].updated == "no"]


def agrees(row: VariableReport) -> bool:
    """Whether the step does with a variable what its flags say."""
    return row.updated == ("yes" if row.expected else "no")


def explain(left: Sequence[Finding], lost: Sequence[str], named: Sequence[VariableReport]) -> str:
    reasons = [row.reason for row in named if row.reason and row.updated == "unknown"]
    if reasons:
        return f"as far as can be told, {reasons[0]}"
    causes = [other.cause or other.message for other in left]
    if causes:
        return causes[0]
    return f"{name_some(lost)} would not train any more" if lost else ""


def say_done(actions: Sequence[Action], warnings: Sequence[str] = ()) -> str:
    """ "base frozen, then compiled again, with the optimizer's state"."""
    held = ["held by the model"] if any(isinstance(action, Hold) for action in actions) else []
    return ", then ".join(part for part in (*held, *say_flags(actions), say_made(actions, warnings)) if part)


def say_flags(actions: Sequence[Action]) -> list[str]:
    """Layers by the flag that they end with, in the order in which they are set."""
    ends: dict[str, bool] = {}
    for action in actions:
        if isinstance(action, SetFlag):
            ends[action.describe() or "the model"] = action.value
    groups = {value: [name for name, flag in ends.items() if flag == value] for value in ends.values()}
    return [f"{name_some(names)} {'unfrozen' if value else 'frozen'}" for value, names in groups.items()]


def say_made(actions: Sequence[Action], warnings: Sequence[str]) -> str:
    if any(isinstance(action, Recompile | Hold) for action in actions):
        kept = (
            f"with a new optimizer, for its state cannot be kept ({warnings[0]})"
            if warnings
            else "optimizer state kept"
        )
        return f"compiled again, {kept}"
    compiles = [action for action in actions if isinstance(action, Compile)]
    if compiles:
        return f"compiled again, with {'a new optimizer' if compiles[-1].renew else 'model.optimizer'}"
    renewed = any(isinstance(action, RenewOptimizer) for action in actions)
    return f"traced anew{', with a new optimizer' if renewed else ''}"


def name_some(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMES:
        return f"{len(names)} layers ({names[0]} to {names[-1]})"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
