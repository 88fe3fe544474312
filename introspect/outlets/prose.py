"""The parts of a finding as plain text: places, code, what a trial of the fix showed."""

from __future__ import annotations

import ast
import os
import textwrap
from collections.abc import Iterable, Iterator

from introspect.devices import shorten_device
from introspect.outlets.setting import count, number
from introspect.outlets.verdict import SOURCES, capitalise, is_unknown
from introspect.records import (
    EvidenceStep,
    Finding,
    FixResult,
    FixTrial,
    Location,
    ModelSummary,
    OptimizerReport,
    Report,
    TraceReport,
)

CODE_INDENT = "    "


def split_code(text: str) -> list[tuple[bool, str]]:
    """Pieces of a fix as (is code, text).

    Code stands between fences, or on lines indented by four spaces, or is what Python takes for a statement.
    """
    if is_code(text):
        return [(True, text.strip())]
    pieces: list[tuple[bool, list[str]]] = []
    fenced = False
    for line in text.expandtabs(4).splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
            pieces.append((fenced, []))
            continue
        goes_on = not line.strip() and bool(pieces) and pieces[-1][0]
        code = fenced or line.startswith(CODE_INDENT) or goes_on or is_code(line)
        if not pieces or pieces[-1][0] != code:
            pieces.append((code, []))
        pieces[-1][1].append(line)
    joined = ((code, join_lines(lines)) for code, lines in pieces)
    return [(code, text) for code, text in joined if text.strip()]


def is_code(text: str) -> bool:
    """Whether Python takes the text for statements that do something; one word or a number does nothing."""
    try:
        body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    acts = [node for node in body if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call | ast.Await)]
    return bool(body) and len(acts) == len(body)


def join_lines(lines: list[str]) -> str:
    """Lines without blank ones at the ends and without an indent that all share."""
    return textwrap.dedent("\n".join(lines)).strip("\n").rstrip()


def split_paragraphs(text: str) -> Iterator[str]:
    """Lines of prose, each a paragraph of its own."""
    return (line.strip() for line in text.splitlines() if line.strip())


def relate_file(file: str) -> str:
    """The path as seen from the current folder, where it lies below it."""
    try:
        relative = os.path.relpath(file)
    except (ValueError, OSError):
        return file
    return file if relative.startswith(os.pardir) else relative


def describe_place(location: Location) -> str:
    """`finetune.py:41 in unfreeze`."""
    inside = f" in {location.function}" if location.function else ""
    return f"{relate_file(location.file)}:{location.line}{inside}"


def describe_step(step: EvidenceStep) -> str:
    """A step of the evidence without its place."""
    parts = [step.op_type, f"'{step.op}'" if step.op else None]
    if step.layer:
        parts.append(f"in {step.layer}")
    if step.device:
        parts.append(f"on {shorten_device(step.device)}")
    said = " ".join(part for part in parts if part)
    return f"{step.note} ({said})" if said and step.note else step.note or said


def find_locations(finding: Finding) -> list[tuple[Location, str]]:
    """Places in the user's code with what happens there, each place once."""
    places: dict[tuple[str, int], tuple[Location, str]] = {}
    for step in finding.evidence:
        if step.location is not None:
            places.setdefault((step.location.file, step.location.line), (step.location, step.note))
    return list(places.values())


def describe_trial(finding: Finding) -> str | None:
    """What the trial of the fix on a copy showed, without the names; None where no fix was tried."""
    result = finding.fix_result
    if result is None:
        return "then the mismatch is gone." if finding.verified else None
    return describe_result(result, finding.verified, finding)


def describe_result(result: FixResult, verified: bool, finding: Finding) -> str:
    """What one trial showed, without the names."""
    size = len(result.trains)
    named = set(result.trains) <= set(finding.variables)
    which = ("this " if size == 1 else "these ") if named else ""
    said = [f"then {which}{count(size, 'variable')} {'trains' if size == 1 else 'train'}"] if size else []
    if result.still_not:
        still = len(result.still_not)
        said.append(f"{count(still, 'variable')} still {'does' if still == 1 else 'do'} not{'' if size else ' train'}")
    if not verified and not result.still_not:
        said.append("the mismatch stays")
    return f"{'; '.join(said) or 'then nothing trains'}."


def list_further(finding: Finding) -> tuple[FixTrial, ...]:
    """Trials of what the fix proposes beside that of which `fix_result` tells."""
    first = finding.trials[:1]
    told = bool(first) and finding.fix_result == FixResult(first[0].trains, first[0].still_not, first[0].note)
    return finding.trials[1:] if told else finding.trials


def name_proposal(trial: FixTrial) -> str:
    """ "or, freeze it": the comment line with which a further proposal begins."""
    line = trial.code.partition("\n")[0]
    return line.lstrip("# ").rstrip(": ") if line.startswith("#") else "or"


def tell_trial(finding: Finding) -> str | None:
    """The same with the trial's note, what was done and why something stays, and with the further trials."""
    trial = describe_trial(finding)
    if trial is None or finding.fix_result is None:
        return trial
    said = [f"{trial} {end_sentence(finding.fix_result.note)}".rstrip()]
    said += [tell_further(one, finding) for one in list_further(finding)]
    return "\n".join(said)


def tell_further(trial: FixTrial, finding: Finding) -> str:
    """ "Or, freeze it: then 2 variables train. …"."""
    told = f"{name_proposal(trial)}: {describe_result(trial, trial.verified, finding)} {end_sentence(trial.note)}"
    return capitalise(told.rstrip())


def end_sentence(text: str) -> str:
    """A note as a sentence."""
    text = capitalise(text.strip())
    return f"{text}." if text and text[-1] not in ".!?`" else text


def describe_model(model: ModelSummary) -> str:
    """`name (Class) from file`."""
    file = f" from {relate_file(model.file)}" if model.file else ""
    return f"{model.name or '(no name)'} ({model.class_name}){file}"


def describe_source(report: Report) -> str:
    """Where the step was read, how it is compiled, and with which optimizers."""
    model = report.model
    loop = report.source == "traced" and not model.compiled
    made = "traced apart, as a call would" if loop else SOURCES[report.source]
    untold = not report.traces and is_unknown(report)
    parts = ["not known, no trace of it can be read" if untold else made]
    parts += ["jit_compile"] if model.jit_compile else []
    parts += [f"{model.steps_per_execution} steps per execution"] if model.steps_per_execution > 1 else []
    parts += [describe_optimizers(report.optimizers)] if report.optimizers else []
    return "; ".join(parts)


def describe_occasion(report: Report) -> str:
    """Why and when a callback made the report; empty for any other."""
    at = f"at step {number(report.step)}" if report.step is not None and report.reason else ""
    return ", ".join(part for part in (report.reason, at) if part)


def describe_optimizers(optimizers: Iterable[OptimizerReport]) -> str:
    """`Adam, learning rate 0.001`; several with their names."""
    optimizers = list(optimizers)
    return "; ".join(describe_optimizer(optimizer, len(optimizers) > 1) for optimizer in optimizers)


def describe_optimizer(optimizer: OptimizerReport, named: bool) -> str:
    """One optimizer with its learning rate and what else is set."""
    rate = optimizer.learning_rate
    said = [f"{optimizer.class_name} '{optimizer.name}'" if named else optimizer.class_name]
    if rate is not None:
        said.append(f"learning rate {rate:.4g}" if isinstance(rate, float | int) else f"learning rate {rate}")
    said += [f"{name} {value}" for name, value in optimizer.settings]
    return ", ".join(said)


def describe_versions(report: Report) -> str:
    """introspect, Keras, TensorFlow and the devices."""
    env = report.environment
    keras = "tf_keras" if report.model.keras == "tf_keras" else "Keras"
    parts = [f"introspect {env.introspect}"]
    parts += [f"{keras} {env.keras}"] if env.keras else []
    parts += [f"TensorFlow {env.tensorflow}"] if env.tensorflow else []
    parts += [env.strategy] if env.strategy else []
    return ", ".join(parts)


def describe_trace(trace: TraceReport) -> str:
    """Who calls a trace, and how many variables it trains."""
    size = len(trace.updated)
    trains = f"{count(size, 'variable')} {'trains' if size == 1 else 'train'}"
    made = [f"traced at {relate_file(trace.location.file)}:{trace.location.line}"] if trace.location is not None else []
    return ", ".join([f"{trace.caller}: {trains}", *(["jit"] if trace.jit else []), count(trace.nodes, "node"), *made])
