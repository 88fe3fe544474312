"""A `fit` of the user's own that trains without the step that Keras compiles."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from inspect import unwrap
from types import CodeType, FunctionType, MethodType
from typing import Any, cast

from introspect.capture.frames import list_owners, name_file, rank_module
from introspect.capture.slots import count_iterations, find_optimizers
from introspect.capture.trace.step import read_cells
from introspect.records import Location

ENTRANCES = frozenset({"train_function", "make_train_function", "train_on_batch"})
"""What leads to Keras' step beside the `fit` of a base class."""


def find_own_fit(model: Any) -> str | None:
    """Why the step that Keras would compile tells nothing of how the model trains; None where it does, or may.

    So it is where an optimizer of the model has made steps, Keras has made no train function, and a `fit` of the user's
    own stands in the way that does not lead to one, as far as its code shows. Before its first step such a model is
    told of as any other.
    """
    if model.train_function is not None or not count_iterations(find_optimizers(model)):
        return None
    kind = type(model)
    own = next((found for found in list_fits(model) if not leads_to_step(found, kind, set())), None)
    if own is None:
        return None
    code = own.__code__
    place = Location(name_file(code.co_filename), code.co_firstlineno, code.co_name)
    return (
        f"fit() of class {kind.__name__} ({place}) is a loop of its own that does not lead to Keras' step; inspect the "
        "step of that loop: introspect.inspect(step, args=..., model=model)"
    )


def list_fits(model: Any) -> Iterator[FunctionType]:
    """The user's own definitions of `fit` that stand before Keras', the one that runs first; those without code left out."""
    owners = list_owners(cast(Hashable, type(model)))
    for holder in (model, *type(model).__mro__):
        found = vars(holder).get("fit")
        if found is None:
            continue
        if holder is not model and holder not in owners:
            return
        function = open_function(found)
        if function is not None:
            yield function


def open_function(value: Any) -> FunctionType | None:
    """The plain function of a method, and what a decorator says that it wraps; None for anything else."""
    found = value.__func__ if isinstance(value, (MethodType, staticmethod, classmethod)) else value
    found = unwrap(found) if isinstance(found, FunctionType) else found
    return found if isinstance(found, FunctionType) else None


def leads_to_step(function: FunctionType, kind: type, seen: set[CodeType]) -> bool:
    """Whether a function, or what it calls of the class or its module, names a way to Keras' step."""
    if function.__code__ in seen:
        return False
    seen.add(function.__code__)
    names = {name for code in open_code(function.__code__) for name in code.co_names}
    values = list_named(function, kind, names - {"fit"})
    if names & ENTRANCES or ("fit" in names and goes_upward(names, values, kind)):
        return True
    return any(leads_to_step(called, kind, seen) for called in pick_functions(values))


def goes_upward(names: set[str], values: list[Any], kind: type) -> bool:
    """Whether code names `super` or a class that the model descends from."""
    bases = kind.__mro__
    named = not names.isdisjoint({"super", *(base.__name__ for base in bases)})
    return named or any(value is base for value in values for base in bases)


def open_code(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from open_code(constant)


def list_named(function: FunctionType, kind: type, names: set[str]) -> list[Any]:
    """What stands under these names in the function's module or the user's classes, and what it closes over."""
    holders = [function.__globals__, *map(vars, list_owners(cast(Hashable, kind)))]
    found = [holder[name] for holder in holders for name in names if name in holder]
    return [*found, *read_cells(function).values()]


def pick_functions(values: Iterable[Any]) -> Iterator[FunctionType]:
    """Functions that are none of a framework's, methods and what is wrapped by a decorator among them."""
    for value in values:
        inner = open_function(value)
        if inner is not None and rank_module(inner.__module__ or ""):
            yield inner
