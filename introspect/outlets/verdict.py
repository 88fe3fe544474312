"""What a report says in one sentence, and where each variable stands: the words that all outlets share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal

from introspect.outlets.setting import count, number
from introspect.records import Finding, Report, Severity, VariableReport

Status = Literal["error", "warning", "differs", "unknown", "agrees"]
"""Of the findings that name a variable the worst; without one, whether the facts agree with the flags."""
Trouble = Literal["idle", "moving", "partial", "drifting", "unknown", "named"]

STATUSES: tuple[Status, ...] = ("error", "warning", "differs", "unknown", "agrees")
TROUBLES: tuple[Trouble, ...] = ("idle", "moving", "partial", "drifting", "unknown", "named")
EFFECTS = {
    "statistics": "statistics move",
    "average": "is averaged",
    "decay": "decays only",
    "constraint": "is constrained",
    "accumulate": "accumulates",
    "other": "is assigned",
    "state": "keeps count",
}
"""What a step does to a variable that it does not train, by the kind of write, the most telling first."""
CLAUSES: dict[Trouble, tuple[str, str]] = {
    "idle": ("{size} of {trained} that you set trainable {do} not train", "{size} of {trained} {do} not train"),
    "moving": ("{size} of {frozen} that should be frozen {train}", "{size} of {frozen} {train} though frozen"),
    "partial": ("{size} {train} in some traces only", "{size} {train} in some traces only"),
    "drifting": ("{size} that should be frozen {change} without a gradient", "{size} {change} though frozen"),
    "unknown": ("{size} cannot be decided", "{size} cannot be decided"),
}
"""Each kind of trouble as a whole clause and as a brief one."""
SOURCES = {
    "compiled": "read from the compiled step",
    "traced": "traced apart, as fit would build it",
    "eager": "run_eagerly: traced apart",
}


def describe_effect(row: VariableReport) -> str:
    """What the step does to a variable, in two words."""
    if row.updated == "yes":
        return "trains"
    if row.updated == "some":
        return "trains in part"
    if row.updated == "unknown":
        return "unknown"
    kinds = {write.kind for write in row.writes}
    return next((words for kind, words in EFFECTS.items() if kind in kinds), "stays")


def describe_change(row: VariableReport, status: Status, arrow: str) -> str:
    """What the flags say and what the step does; statistics and counters that behave have no flag to hold against."""
    effect = describe_effect(row)
    if status == "agrees" and not row.expected and effect != "stays":
        return effect
    return f"{'trainable' if row.expected else 'frozen'} {arrow} {effect}"


def judge_variables(report: Report) -> dict[str, Status]:
    """The status of each variable by its path."""
    worst = find_severities(report.findings)
    return {row.path: judge_variable(row, worst.get(row.path)) for row in report.variables}


def find_severities(findings: Iterable[Finding]) -> dict[str, Severity]:
    """For each path that a finding names, the severity of the worst."""
    worst: dict[str, Severity] = {}
    for severity in ("info", "warning", "error"):
        for finding in findings:
            if finding.severity == severity:
                worst.update(dict.fromkeys(finding.variables, severity))
    return worst


def judge_variable(row: VariableReport, worst: Severity | None) -> Status:
    """The status of one variable; an info finding says that it is well."""
    if worst == "error":
        return "error"
    if worst == "warning":
        return "warning"
    if row.updated == "unknown":
        return "unknown"
    trains = row.updated != "no"
    return "differs" if worst is None and trains != row.expected else "agrees"


def find_trouble(row: VariableReport) -> Trouble:
    """In which way a variable that does not agree differs from its flags."""
    if row.updated == "unknown":
        return "unknown"
    if row.updated == "some":
        return "partial"
    if row.expected:
        return "idle" if row.updated == "no" else "named"
    if row.updated == "yes":
        return "moving"
    return "named" if describe_effect(row) in ("stays", "keeps count") else "drifting"


def describe_troubles(tally: Mapping[Trouble, int], trained: int, frozen: int, brief: bool = False) -> list[str]:
    """One clause for each kind of trouble, the gravest first.

    `trained` and `frozen` count the variables that should be so; `brief` leaves the nouns to the context.
    """
    whole = {"trained": count(trained, "variable"), "frozen": count(frozen, "variable")}
    if brief:
        whole = {"trained": number(trained), "frozen": number(frozen)}
    said = []
    for trouble, clauses in CLAUSES.items():
        size = tally.get(trouble, 0)
        if size:
            clause = clauses[brief]
            lead = number(size) if brief or clause.startswith("{size} of") else count(size, "variable")
            said.append(clause.format(size=lead, **whole, **conjugate(size)))
    return said


def conjugate(size: int) -> dict[str, str]:
    """Verbs in the number that `size` asks for."""
    if size == 1:
        return {"do": "does", "train": "trains", "change": "changes"}
    return {"do": "do", "train": "train", "change": "change"}


def state_verdict(report: Report) -> str:
    """The whole report in one sentence."""
    if not report.variables and report.ok:
        return "There are no variables in this report."
    statuses = judge_variables(report)
    troubles = Counter(find_trouble(row) for row in report.variables if statuses[row.path] != "agrees")
    expected = sum(row.expected for row in report.variables)
    clauses = describe_troubles(troubles, expected, len(report.variables) - expected)
    if report.ok and set(troubles) <= {"unknown"} and not is_unknown(report):
        return f"The step does what the flags say: {describe_calm(report)}{join_more(clauses)}"
    lead = report.findings[0] if report.findings else None
    if lead is None or lead.severity == "info" or (clauses and explains(lead, report)):
        return capitalise("; ".join(clauses)) + "."
    return lead.message.strip().splitlines()[0] if lead.message.strip() else lead.name


def judge_report(report: Report) -> Status:
    """The status of the report as a whole."""
    worst = report.findings[0].severity if report.findings else "info"
    if worst != "info":
        return worst
    return "unknown" if is_unknown(report) else "agrees"


def is_unknown(report: Report) -> bool:
    """Whether it is known of no variable what the step does to it."""
    return bool(report.variables) and all(row.updated == "unknown" for row in report.variables)


def explains(finding: Finding, report: Report) -> bool:
    """Whether the finding is about variables whose facts tell the trouble by themselves."""
    named = set(finding.variables)
    return any(find_trouble(row) != "named" for row in report.variables if row.path in named)


def describe_calm(report: Report) -> str:
    """How many train and how many do not."""
    trains = sum(row.updated in ("yes", "some") for row in report.variables)
    rest = sum(row.updated == "no" for row in report.variables)
    verb = "trains" if trains == 1 else "train"
    return f"{count(trains, 'variable')} {verb}, {number(rest)} {'does' if rest == 1 else 'do'} not."


def join_more(clauses: list[str]) -> str:
    """Clauses as sentences that follow another one."""
    return "".join(f" {capitalise(clause)}." for clause in clauses)


def capitalise(text: str) -> str:
    """The first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def count_findings(findings: Iterable[Finding]) -> str:
    """`1 error, 2 warnings, 1 info`; what is not there is left out."""
    sizes = Counter(finding.severity for finding in findings)
    nouns: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
    parts = [count(sizes[severity], noun) for severity, noun in nouns.items() if sizes[severity]]
    return ", ".join(parts) or "no findings"


def tell_score(report: Report) -> str:
    """How many of the variables that should train do."""
    expected = [row for row in report.variables if row.expected]
    train = sum(row.updated in ("yes", "some") for row in expected)
    if is_unknown(report):
        return f"what trains is not known of {count(len(expected), 'trainable variable')}"
    return f"{number(train)} of {count(len(expected), 'trainable variable')} {'trains' if 1 in (train, len(expected)) else 'train'}"


def tell_time(report: Report) -> str:
    """How long the inspection took."""
    seconds = sum(value for _, value in report.timings)
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
