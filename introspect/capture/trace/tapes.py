"""For which variables gradient tapes are asked while a step is traced, and what they answer.

Only watched, never answered otherwise: the call goes on as it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from introspect.capture.outputs import name_output
from introspect.capture.record import Asked, TapeValue
from introspect.capture.trace.eagerness import find_caller
from introspect.capture.trace.export import as_text
from introspect.capture.trace.guard import PATCHING
from introspect.capture.trace.replies import Reply, note_replies
from introspect.capture.trace.traces import find_kept, number_first, parse_suffix
from introspect.capture.variables import VariableTable, is_variable
from introspect.records import Location

Place = tuple[str, str, str, int]
"""(function, op, output argument, number in it)"""


@dataclass(frozen=True, slots=True)
class Question:
    """One call that asks for gradients.

    Attributes:
        graph: the one that was being made.
        targets: what is differentiated.
        sources: variables, their resource tensors, or other tensors.
        given: for each source its gradient, None where none came.
    """

    graph: Any
    targets: tuple[Any, ...]
    sources: tuple[Any, ...]
    given: tuple[Any, ...]
    location: Location | None


@dataclass(frozen=True, slots=True)
class TapeNotes:
    """What a step asked, and what gradients of the user's own handed back: None where that cannot be seen."""

    questions: list[Question]
    replies: list[Reply] | None


@contextmanager
def note_tapes() -> Iterator[TapeNotes]:
    """Both of what is traced meanwhile; inside `guard.preserve` only."""
    with note_questions() as questions, note_replies() as replies:
        yield TapeNotes(questions, replies)


@contextmanager
def note_questions() -> Iterator[list[Question]]:
    """What is asked meanwhile, by whichever thread; inside `guard.preserve` only. Seen on TensorFlow 2.19 to 2.21."""
    from tensorflow.python.eager import imperative_grad as tapes
    from tensorflow.python.ops import gradients_util as symbolic

    found: list[Question] = []
    with PATCHING:
        by_tape, by_graph = tapes.imperative_grad, symbolic._GradientsHelper
        tapes.imperative_grad = watch(by_tape, 1, ("target", "sources"), found)
        symbolic._GradientsHelper = watch(by_graph, 0, ("ys", "xs"), found)
        try:
            yield found
        finally:
            tapes.imperative_grad, symbolic._GradientsHelper = by_tape, by_graph


def watch(ask: Callable[..., Any], place: int, names: tuple[str, str], found: list[Question]) -> Callable[..., Any]:
    """The same function, with each call noted; targets and sources are its arguments `names`, at `place` and after it."""

    def ask_and_note(*args: Any, **kwargs: Any) -> Any:
        answers = ask(*args, **kwargs)
        targets, sources = (kwargs[name] if name in kwargs else args[place + at] for at, name in enumerate(names))
        note(found, targets, sources, answers)
        return answers

    return ask_and_note


def note(found: list[Question], targets: Any, sources: Any, answers: Any) -> None:
    import tensorflow as tf

    differentiated, asked = (
        tuple(values) if isinstance(values, (list, tuple)) else (values,) for values in (targets, sources)
    )
    graph = tf.compat.v1.get_default_graph()
    found.append(Question(graph, differentiated, asked, tuple(answers), find_caller()))


def read_notes(notes: TapeNotes, concrete: Any, kept: Sequence[Any], table: VariableTable) -> Asked | None:
    """What the step asked, by rows; `kept` are the concrete functions that were traced with it.

    None where it calls an older trace of a function of the user's, in which more may have been asked.
    """
    if find_kept(concrete.graph, number_first([concrete, *kept])):
        return None
    homes = {id(function.graph): function for function in kept}
    asked, given, unsure, places = set[int](), set[int](), set[int](), dict[Location, None]()
    answers: dict[Place, dict[int, None]] = {}
    targets: dict[Place | None, None] = {}
    for question in notes.questions:
        used = is_used(question.graph, concrete, homes)
        rows = [] if used is False else find_rows(question, table)
        (asked if used else unsure).update(row for row, _ in rows)
        given.update(row for row, answer in rows if answer is not None)
        for row, answer in rows:
            place = place_value(answer, concrete, homes)
            if place is not None:
                answers.setdefault(place, {})[row] = None
        if used is not False:
            targets.update(dict.fromkeys(place_value(one, concrete, homes) for one in question.targets))
        if rows and question.location is not None:
            places[question.location] = None
    told = tuple(TapeValue(*place, tuple(rows)) for place, rows in answers.items())
    known = () if None in targets else tuple(TapeValue(*place) for place in targets if place is not None)
    silent = None if notes.replies is None else list_silent(notes.replies, concrete, homes)
    return Asked(frozenset(asked), frozenset(given), frozenset(unsure), tuple(places), told, known, silent)


def list_silent(replies: Iterable[Reply], concrete: Any, homes: dict[int, Any]) -> tuple[TapeValue, ...]:
    """Ops whose gradient, written by the user, never answered for all arguments, by their first value."""
    found: dict[Place, bool] = {}
    for reply in replies:
        place = place_value(reply.value, concrete, homes)
        if place is not None:
            found[place] = found.get(place, False) or reply.full
    return tuple(TapeValue(*place) for place, full in found.items() if not full)


def place_value(value: Any, concrete: Any, homes: dict[int, Any]) -> Place | None:
    """Where a tensor stands, or the values of a sparse gradient; None where it is none of the step's."""
    tensor = getattr(value, "values", value)
    op = getattr(tensor, "op", None) if value is not None else None
    if op is None:
        return None
    if op.graph is concrete.graph:
        function = ""
    elif id(op.graph) in homes:
        function = as_text(homes[id(op.graph)].name)
    else:
        return None
    return (function, str(op.name), *name_output(op, int(tensor.value_index)))


def is_used(graph: Any, concrete: Any, homes: dict[int, Any]) -> bool | None:
    """Whether the step runs what stands in the graph: not the first trace that made variables and was thrown away.

    None where only its forward pass is known to be called, under another name.
    """
    while graph is not None and graph is not concrete.graph:
        home = homes.get(id(graph))
        if home is not None:
            names = [str(name) for name in concrete.graph._functions]
            if as_text(home.name) in names:
                return True
            forward = f"__forward_{graph.name}_"
            return None if any(name.startswith(forward) and parse_suffix(name, "_") for name in names) else False
        graph = getattr(graph, "outer_graph", None)
    return graph is not None


def find_rows(question: Question, table: VariableTable) -> list[tuple[int, Any]]:
    """(row, gradient) of the sources that are variables."""
    pairs = [(find_row(source, table), answer) for source, answer in zip(question.sources, question.given, strict=True)]
    return [(row, answer) for row, answer in pairs if row is not None]


def find_row(source: Any, table: VariableTable) -> int | None:
    """The variable's row, or that of the variable whose resource the tensor is."""
    if is_variable(source):
        return table.find(source)
    found = table.find_handle(source)
    return None if found is None else found[0]
